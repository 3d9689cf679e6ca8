package simulation

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/state"
)

// Service is what a start of a node can be cut off from.
type Service int

// The services.
const (
	Leases Service = iota
	Claims
	States
	Reminders

	services
)

var errAway = errors.New("simulation: nobody answers")

// way is the way of one start of a node to the services. Its methods may be called concurrently.
type way struct {
	h *Hosting

	mu   sync.Mutex // guards what follows
	rand *rand.Rand
	cuts [services]int           // those that have not ended
	away [services]chan struct{} // closed when the last of them has; nil: there are none
	died chan struct{}           // closed when the process is dead
}

// cut cuts a start off from a service. mend ends that.
func (w *way) cut(s Service) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cuts[s]++; w.cuts[s] == 1 {
		w.away[s] = make(chan struct{})
	}
}

func (w *way) mend(s Service) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cuts[s]--; w.cuts[s] == 0 {
		close(w.away[s])
		w.away[s] = nil
	}
}

// kill cuts a start off from all services for ever.
func (w *way) kill() {
	for s := range services {
		w.cut(s)
	}
	close(w.died)
}

// isDead reports whether the process is dead.
func (w *way) isDead() bool {
	select {
	case <-w.died:
		return true
	default:
		return false
	}
}

// reach waits until a service can be reached.
func (w *way) reach(ctx context.Context, s Service) error {
	for {
		w.mu.Lock()
		away := w.away[s]
		w.mu.Unlock()
		if away == nil {
			return nil
		}
		select {
		case <-away:
		case <-ctx.Done():
			return errors.Join(errAway, ctx.Err())
		}
	}
}

// luck is what becomes of one write.
type luck struct {
	before, after time.Duration // how long it takes
	lost          bool          // nobody hears of its end
	late          time.Duration // it is made so long after that; 0: at once
}

// luck draws it.
func (w *way) luck() luck {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.h.luck(w.rand)
}

func (h *Hosting) luck(r *rand.Rand) (l luck) {
	pause := func(mean time.Duration) time.Duration { return time.Duration(r.ExpFloat64() * float64(mean)) }
	l.before, l.after = pause(h.Slow), pause(h.Slow)
	if l.lost = r.Float64() < h.Losses; l.lost && r.IntN(2) == 0 {
		l.late = pause(10*h.Slow + 100*time.Millisecond)
	}
	return l
}

// write makes a write with what luck it has. unknown reports that its end is not known.
func (w *way) write(ctx context.Context, s Service, do func(context.Context)) (unknown bool, err error) {
	if err = w.reach(ctx, s); err != nil {
		return false, err
	}
	l := w.luck()
	if err = rest(ctx, l.before); err != nil {
		return false, err
	}
	if err = w.reach(ctx, s); err != nil {
		return false, err
	}
	if l.late > 0 {
		w.h.late.Go(func() {
			time.Sleep(l.late)
			do(context.WithoutCancel(ctx))
		})
		return true, nil
	}
	do(ctx)
	if !l.lost {
		_ = rest(ctx, l.after)
		l.lost = ctx.Err() != nil || w.isDead()
	}
	return l.lost, nil
}

// leased is the registry for one start.
type leased struct {
	*static.Registry
	w *way
}

func (r leased) Lease() time.Duration { return r.w.h.Lease }

func (r leased) Register(ctx context.Context, n registry.Node) error {
	err := r.w.reach(ctx, Leases)
	if err == nil {
		if err = r.Registry.Register(ctx, n); err == nil {
			r.w.h.extend(n.Name, n.Epoch)
		}
	}
	return err
}

func (r leased) Update(ctx context.Context, n registry.Node) error {
	if err := r.w.reach(ctx, Leases); err != nil {
		return err
	}
	return r.Registry.Update(ctx, n)
}

func (r leased) Renew(ctx context.Context, name, epoch string) error {
	err := r.w.reach(ctx, Leases)
	if err == nil {
		if err = r.Registry.Renew(ctx, name, epoch); err == nil {
			r.w.h.extend(name, epoch)
		}
	}
	return err
}

func (r leased) Deregister(ctx context.Context, name, epoch string, last []byte) error {
	if err := r.w.reach(ctx, Leases); err != nil {
		return err
	}
	return r.Registry.Deregister(ctx, name, epoch, last)
}

func (r leased) Evict(ctx context.Context, name, epoch string) error {
	return r.Deregister(ctx, name, epoch, nil)
}

func (r leased) Refresh(ctx context.Context, _ string) error { return r.w.reach(ctx, Leases) }

// Watch reports nothing while the registry cannot be reached.
func (r leased) Watch(ctx context.Context) (<-chan registry.Event, error) {
	all, err := r.Registry.Watch(ctx)
	if err != nil {
		return nil, err
	}
	seen := make(chan registry.Event)
	go func() {
		defer close(seen)
		for e := range all {
			if r.w.reach(ctx, Leases) != nil {
				continue
			}
			select {
			case seen <- e:
			case <-ctx.Done():
			}
		}
	}()
	return seen, nil
}

// claims are the claims for one start.
type claims struct {
	placement.Claims
	w *way
}

func (c claims) fail(op string, key placement.Key, kind, cause error) error {
	return &placement.Error{Op: op, Key: key, Kind: kind, Err: cause}
}

func (c claims) Get(ctx context.Context, key placement.Key) (placement.Held, error) {
	if err := c.w.reach(ctx, Claims); err != nil {
		return placement.Held{}, c.fail("get", key, placement.ErrUnavailable, err)
	}
	if err := rest(ctx, c.w.luck().before); err != nil {
		return placement.Held{}, c.fail("get", key, placement.ErrUnavailable, err)
	}
	return c.Claims.Get(ctx, key)
}

func (c claims) Create(ctx context.Context, key placement.Key, claim placement.Claim) (placement.Token, error) {
	return c.put(ctx, "create", key, func(ctx context.Context) (placement.Token, error) { return c.Claims.Create(ctx, key, claim) })
}

func (c claims) Replace(ctx context.Context, key placement.Key, claim placement.Claim, before placement.Token) (placement.Token, error) {
	return c.put(ctx, "replace", key, func(ctx context.Context) (placement.Token, error) { return c.Claims.Replace(ctx, key, claim, before) })
}

func (c claims) put(ctx context.Context, op string, key placement.Key, do func(context.Context) (placement.Token, error)) (placement.Token, error) {
	var token placement.Token
	var err error
	unknown, away := c.w.write(ctx, Claims, func(ctx context.Context) { token, err = do(ctx) })
	switch {
	case away != nil:
		return 0, c.fail(op, key, placement.ErrUnavailable, away)
	case unknown:
		return 0, c.fail(op, key, placement.ErrUnknown, errAway)
	}
	return token, err
}

func (c claims) Release(ctx context.Context, key placement.Key, token placement.Token) error {
	var err error // and no result, which a late write would change
	unknown, away := c.w.write(ctx, Claims, func(ctx context.Context) { err = c.Claims.Release(ctx, key, token) })
	switch {
	case away != nil:
		return c.fail("release", key, placement.ErrUnavailable, away)
	case unknown:
		return c.fail("release", key, placement.ErrUnknown, errAway)
	}
	return err
}

func (c claims) Walk(ctx context.Context, kind string) iter.Seq2[placement.Entry, error] {
	if err := c.w.reach(ctx, Claims); err != nil {
		return func(yield func(placement.Entry, error) bool) {
			yield(placement.Entry{}, c.fail("walk", placement.Key{Kind: kind}, placement.ErrUnavailable, err))
		}
	}
	return c.Claims.Walk(ctx, kind)
}

// states are the stored states for one start.
type states struct {
	state.Store
	w *way
}

func (s states) Load(ctx context.Context, key state.Key) (state.Record, state.Revision, error) {
	err := s.w.reach(ctx, States)
	if err == nil {
		err = rest(ctx, s.w.luck().before)
	}
	if err != nil {
		return state.Record{}, state.Revision{}, &state.Error{Op: "load", Key: key, Kind: state.ErrUnavailable, Err: err}
	}
	return s.Store.Load(ctx, key)
}

func (s states) Commit(ctx context.Context, key state.Key, rec state.Record, after state.Revision) (state.Revision, error) {
	fresh := rec.ID == state.ID{}
	if fresh {
		rec.ID = state.NewID()
	}
	type result struct {
		rev state.Revision
		err error
	}
	var r result
	rec = rec.Clone() // a late write is made when the caller may have changed what it has passed
	unknown, away := s.w.write(ctx, States, func(ctx context.Context) {
		rev, err := s.Store.Commit(ctx, key, rec, after)
		r = result{rev, err}
	})
	kind := state.ErrUnknown
	switch {
	case away != nil && fresh:
		kind = state.ErrNotStored
	case away == nil && !unknown:
		if fresh && errors.Is(r.err, state.ErrUnknown) { // the store took it for a repetition
			return r.rev, fmt.Errorf("%w: %w", state.ErrConflict, r.err)
		}
		return r.rev, r.err
	}
	return state.Revision{}, &state.Error{Op: "commit", Key: key, ID: rec.ID, Kind: kind, Err: away}
}

func (s states) Walk(ctx context.Context, kind string) iter.Seq2[string, error] {
	if err := s.w.reach(ctx, States); err != nil {
		return func(yield func(string, error) bool) {
			yield("", &state.Error{Op: "walk", Key: state.Key{Kind: kind}, Kind: state.ErrUnavailable, Err: err})
		}
	}
	return s.Store.Walk(ctx, kind)
}
