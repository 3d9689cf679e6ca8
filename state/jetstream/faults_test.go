package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"github.com/tandem-go/tandem/state"
	"github.com/tandem-go/tandem/state/jetstream"
	"github.com/tandem-go/tandem/state/storetest"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// fault is what happens to one publish.
type fault int

const (
	none      fault = iota
	lost            // it never arrives
	ackLost         // it is stored, and its answer does not arrive
	late            // it arrives behind the next publish
	lateAgain       // it arrives, and a second copy behind the next publish
	busy            // as if another publish under its id were being stored; it is not
)

var errFault = errors.New("test: no answer")

// faulty is a JetStream that injects faults into publishes.
type faulty struct {
	natsjs.JetStream

	mu    sync.Mutex
	next  []fault // the faults of the next publishes
	later []func()
	after func() // called once, after the next publish, before its answer is there
}

func (f *faulty) plan(after func(), faults ...fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next, f.after = faults, after
}

func (f *faulty) PublishMsg(ctx context.Context, m *nats.Msg, opts ...natsjs.PublishOpt) (*natsjs.PubAck, error) {
	kept := &nats.Msg{Subject: m.Subject, Data: slices.Clone(m.Data), Header: nats.Header{}}
	for key, values := range m.Header {
		kept.Header[key] = values
	}
	resend := func() { _, _ = f.JetStream.PublishMsg(context.WithoutCancel(ctx), kept, opts...) }
	f.mu.Lock()
	now := none
	if len(f.next) > 0 {
		now, f.next = f.next[0], f.next[1:]
	}
	later, after := f.later, f.after
	f.later, f.after = nil, nil
	f.mu.Unlock()
	defer func() {
		for _, copy := range later {
			copy()
		}
		if after != nil {
			after()
		}
		if now == late || now == lateAgain {
			f.mu.Lock()
			f.later = append(f.later, resend)
			f.mu.Unlock()
		}
	}()
	switch now {
	case lost, late:
		return nil, errFault
	case busy:
		return nil, &natsjs.APIError{ErrorCode: 10158}
	case ackLost, lateAgain:
		resend()
		return nil, errFault
	}
	return f.JetStream.PublishMsg(ctx, m, opts...)
}

// With each fault, Commit finds out by itself whether it is stored, if it has the time.
func TestFaultsAreHidden(t *testing.T) {
	t.Parallel()
	f := &faulty{JetStream: connect(t, start(t, embedded.Config{}))}
	s := open(t, f, jetstream.Config{})
	for what := lost; what <= busy; what++ {
		for n, faults := range [][]fault{{what}, {what, what}, {what, lost}, {ackLost, what}} {
			key := state.Key{Kind: fmt.Sprint(what), ID: fmt.Sprint(n)}
			rev := state.Revision{}
			for i := range 3 {
				f.plan(nil, faults...)
				rev = commit(t, s, key, fmt.Sprint(i), rev)
				holds(t, s, key, fmt.Sprint(i), rev)
			}
			f.plan(nil, faults...)
			rev, err := s.Delete(t.Context(), key, 1, rev)
			if _, at, e := s.Load(t.Context(), key); err != nil || !errors.Is(e, state.ErrNone) || at != rev {
				t.Errorf("%v: deleted %v, %v; loaded %v, %v", faults, rev, err, at, e)
			}
		}
	}
}

// The ctx of a Commit ends while it is unknown whether it is stored. It says so, and the same
// Commit, made again, finds out.
func TestUnknown(t *testing.T) {
	t.Parallel()
	f := &faulty{JetStream: connect(t, start(t, embedded.Config{}))}
	s := open(t, f, jetstream.Config{})
	for what := lost; what <= busy; what++ {
		key := state.Key{Kind: "k", ID: fmt.Sprint(what)}
		before := commit(t, s, key, "1", state.Revision{})
		rec := record("2")
		rec.ID = state.NewID()
		ctx, cancel := context.WithCancel(t.Context())
		f.plan(cancel, what)
		_, err := s.Commit(ctx, key, rec, before)
		var e *state.Error
		if !errors.Is(err, state.ErrUnknown) || errors.Is(err, state.ErrNotStored) || !errors.As(err, &e) || e.ID != rec.ID {
			t.Fatalf("fault %d: %v", what, err)
		}
		rev, err := s.Commit(t.Context(), key, rec, before)
		ok(t, err)
		holds(t, s, key, "2", rev)
	}
}

// Somebody else commits while it is unknown whether a Commit is stored. It says that it is stored
// if, and only if, the other one found it.
func TestOvertakenInDoubt(t *testing.T) {
	t.Parallel()
	js := connect(t, start(t, embedded.Config{}))
	f := &faulty{JetStream: js}
	s, other := open(t, f, jetstream.Config{}), open(t, js, jetstream.Config{})
	for what := lost; what <= busy; what++ {
		for others := 1; others <= 2; others++ {
			key := state.Key{Kind: "k", ID: fmt.Sprint(what, others)}
			before := commit(t, s, key, "1", state.Revision{})
			found := ""
			f.plan(func() {
				for range others {
					rec, rev, err := other.Load(t.Context(), key)
					ok(t, err)
					if found == "" {
						found = string(rec.State)
					}
					rec.Token, rec.ID = 7, state.ID{}
					_, err = other.Commit(t.Context(), key, rec, rev)
					ok(t, err)
				}
			}, what)
			_, err := s.Commit(t.Context(), key, record("2"), before)
			switch {
			case others == 2 && errors.Is(err, state.ErrUnknown): // nothing is left that could tell
			case others == 2:
				t.Errorf("fault %d: %v", what, err)
			case found == "2" && err != nil:
				t.Errorf("fault %d: it is stored, and %v", what, err)
			case found == "1" && !errors.Is(err, state.ErrFenced):
				t.Errorf("fault %d: it is not stored, and %v", what, err)
			}
		}
	}
}

// Random commits of several holders, with and without faults, are compared with a map.
func TestModel(t *testing.T) {
	t.Parallel()
	js := connect(t, start(t, embedded.Config{}))
	clusters := 0
	rapid.Check(t, func(rt *rapid.T) {
		clusters++
		f := &faulty{JetStream: js}
		cfg := jetstream.Config{Cluster: fmt.Sprint("c", clusters)}
		a, b := open(t, f, cfg), open(t, js, cfg)
		defer func() {
			for _, name := range []string{"_state", "_state_made"} {
				ok(t, js.DeleteStream(context.Background(), cfg.Cluster+name))
			}
		}()
		storetest.Model(rt, []state.Store{a, b}, func(rt *rapid.T, ctx context.Context) context.Context {
			ctx, cancel := context.WithCancel(ctx)
			t.Cleanup(cancel)
			faults := rapid.SliceOfN(rapid.Map(rapid.IntRange(0, int(busy)), func(i int) fault { return fault(i) }), 0, 2).Draw(rt, "faults")
			after := func() {}
			if rapid.Bool().Draw(rt, "gives up") {
				after = cancel
			}
			f.plan(after, faults...)
			return ctx
		})
	})
}

// Commits beyond the bounds wait, and enter in order; one that gives up was not stored.
func TestBounds(t *testing.T) {
	t.Parallel()
	js := connect(t, start(t, embedded.Config{}))
	f := &faulty{JetStream: js}
	s := open(t, f, jetstream.Config{MaxCommits: 1})
	inside, leave, done := make(chan struct{}), make(chan struct{}), make(chan error)
	f.plan(func() { close(inside); <-leave })
	key := func(id string) state.Key { return state.Key{Kind: "k", ID: id} }
	go func() {
		_, err := s.Commit(t.Context(), key("a"), record("x"), state.Revision{})
		done <- err
	}()
	<-inside
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Commit(short, key("b"), record("x"), state.Revision{}); !errors.Is(err, state.ErrNotStored) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	close(leave)
	ok(t, <-done)
	commit(t, s, key("b"), "x", state.Revision{})
}
