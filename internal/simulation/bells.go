package simulation

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/tandem-go/tandem/reminder"
	"github.com/tandem-go/tandem/reminder/memory"
)

// Bells is a store of reminders that writes down what it has stored, and what it has handed out.
type Bells struct {
	reminder.Store

	mu      sync.Mutex // guards what follows, and is held during a change
	book    []Bell
	resting bool
	changes map[bellName][]reminder.ID // that it has stored, in their order
}

// BellOp is what has happened to a reminder.
type BellOp string

// What may happen to one.
const (
	BellSet       BellOp = "set"
	BellForgotten BellOp = "forget"
	BellHanded    BellOp = "hand out"
)

// Bell is a change of a reminder that a store has stored, or a firing that it has handed out.
type Bell struct {
	Op     BellOp
	Actor  reminder.Actor
	Name   string
	When   reminder.When // of what was set
	ID     reminder.ID   // of the change; of a firing: its generation
	Number uint64        // of a firing
	Again  bool          // a change that it had stored before, and does not know any more, as it is one of many
	At     time.Time
}

type bellName struct {
	actor reminder.Actor
	name  string
}

// patience is how long a follower may have a firing in hand.
const patience = 20 * time.Second

// NewBells returns an empty store.
func NewBells() *Bells {
	return &Bells{Store: memory.New(memory.Config{Patience: patience}), changes: map[bellName][]reminder.ID{}}
}

// Book returns what has happened, in its order.
func (b *Bells) Book() []Bell {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.book)
}

// latest returns the latest change of a reminder; zero: there is none.
func (b *Bells) latest(n bellName) reminder.ID {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.latestLocked(n)
}

func (b *Bells) latestLocked(n bellName) (id reminder.ID) {
	if all := b.changes[n]; len(all) > 0 {
		id = all[len(all)-1]
	}
	return id
}

// change makes a change, and writes it down if the store does not know it.
func (b *Bells) change(e Bell, do func() error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changeLocked(e, do)
}

func (b *Bells) changeLocked(e Bell, do func() error) error {
	n := bellName{e.Actor, e.Name}
	known := b.changes[n]
	err := do()
	if err == nil && !slices.Contains(known[max(0, len(known)-reminder.MaxChanges):], e.ID) {
		e.At, e.Again = time.Now(), slices.Contains(known, e.ID)
		b.book, b.changes[n] = append(b.book, e), append(b.changes[n], e.ID)
	}
	return err
}

// changeAfter makes a change that comes late, unless another one than before was stored meanwhile.
func (b *Bells) changeAfter(before reminder.ID, e Bell, do func() error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.latestLocked(bellName{e.Actor, e.Name}) == before {
		_ = b.changeLocked(e, do)
	}
}

// Rest has it hand out nothing any more.
func (b *Bells) Rest() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.resting = true
}

// hands reports whether it hands out a firing, and writes down that it does.
func (b *Bells) hands(f *reminder.Firing) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.resting {
		b.book = append(b.book, Bell{Op: BellHanded, Actor: f.Actor, Name: f.Name, ID: f.Generation, Number: f.Number, At: time.Now()})
	}
	return !b.resting
}

// Follow implements reminder.Store.
func (b *Bells) Follow(ctx context.Context, handle func(context.Context, reminder.Firing) reminder.Outcome) error {
	return b.Store.Follow(ctx, func(ctx context.Context, f reminder.Firing) reminder.Outcome {
		if !b.hands(&f) {
			return reminder.Retry(time.Hour)
		}
		return handle(ctx, f)
	})
}

// reminders are the reminders for one start.
type reminders struct {
	*Bells
	w *way

	mu   sync.Mutex // guards what follows
	rand *rand.Rand // its own, so that reminders change nothing of what the other services draw
}

func (r *reminders) luck() luck {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.w.h.luck(r.rand)
}

func (r *reminders) Set(ctx context.Context, s reminder.Reminder, id reminder.ID) (reminder.Entry, error) {
	s = s.Clone()
	var made reminder.Entry // after an error it belongs to the change, which may come late
	err := r.put(ctx, Bell{Op: BellSet, Actor: s.Actor, Name: s.Name, When: s.When, ID: id}, func(ctx context.Context) (err error) {
		made, err = r.Store.Set(ctx, s, id)
		return err
	})
	if err != nil {
		return reminder.Entry{}, err
	}
	return made, nil
}

func (r *reminders) Forget(ctx context.Context, a reminder.Actor, name string, id reminder.ID) error {
	return r.put(ctx, Bell{Op: BellForgotten, Actor: a, Name: name, ID: id}, func(ctx context.Context) error { return r.Store.Forget(ctx, a, name, id) })
}

// put makes a change. One whose end is not known may be made later, but not after another one of the same reminder.
func (r *reminders) put(ctx context.Context, e Bell, do func(context.Context) error) error {
	unknown := func(err error) error {
		return &reminder.Error{Op: string(e.Op), Actor: e.Actor, Name: e.Name, ID: e.ID, Kind: reminder.ErrUnknown, Err: err}
	}
	if err := r.w.reach(ctx, Reminders); err != nil {
		return unknown(err)
	}
	l, before := r.luck(), r.latest(bellName{e.Actor, e.Name})
	if err := errors.Join(rest(ctx, l.before), r.w.reach(ctx, Reminders)); err != nil {
		return unknown(err)
	}
	if l.late > 0 {
		r.w.h.late.Go(func() {
			time.Sleep(l.late)
			r.changeAfter(before, e, func() error { return do(context.Background()) })
		})
		return unknown(errAway)
	}
	err := r.change(e, func() error { return do(ctx) })
	if !l.lost {
		_ = rest(ctx, l.after)
		l.lost = ctx.Err() != nil || r.w.isDead()
	}
	if l.lost {
		return unknown(errAway)
	}
	return err
}

func (r *reminders) List(ctx context.Context, a reminder.Actor) ([]reminder.Entry, error) {
	if err := errors.Join(r.w.reach(ctx, Reminders), rest(ctx, r.luck().before)); err != nil {
		return nil, &reminder.Error{Op: "list", Actor: a, Kind: reminder.ErrUnavailable, Err: err}
	}
	return r.Store.List(ctx, a)
}

// Follow hands out nothing to who is cut off, and hears no answer of who is; the store gives others what it has handed to
// who is dead.
func (r *reminders) Follow(ctx context.Context, handle func(context.Context, reminder.Firing) reminder.Outcome) error {
	lives, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-r.w.died:
			cancel()
		case <-lives.Done():
		}
	}()
	err := r.Bells.Follow(lives, func(ctx context.Context, f reminder.Firing) reminder.Outcome {
		if r.w.reach(ctx, Reminders) != nil || rest(ctx, r.luck().before) != nil {
			return reminder.Retry(0)
		}
		out := handle(ctx, f)
		if r.luck().lost || r.w.reach(ctx, Reminders) != nil {
			<-ctx.Done()
		}
		return out
	})
	<-ctx.Done() // nobody hears that the store does not speak to the dead
	return err
}
