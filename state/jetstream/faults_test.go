package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"github.com/tandem-go/tandem/state"
	"github.com/tandem-go/tandem/state/jetstream"
	"github.com/tandem-go/tandem/state/storetest"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// With each fault, Commit finds out by itself whether it is stored, if it has the time.
func TestFaultsAreHidden(t *testing.T) {
	t.Parallel()
	f := &servers.Faulty{JetStream: servers.Connect(t, servers.Start(t, embedded.Config{}))}
	s := open(t, f, jetstream.Config{})
	for what := servers.Lost; what <= servers.InFlight; what++ {
		for n, faults := range [][]servers.Fault{{what}, {what, what}, {what, servers.Lost}, {servers.AckLost, what}} {
			key := state.Key{Kind: fmt.Sprint(what), ID: fmt.Sprint(n)}
			rev := state.Revision{}
			for i := range 3 {
				f.Plan(faults...)
				rev = commit(t, s, key, fmt.Sprint(i), rev)
				holds(t, s, key, fmt.Sprint(i), rev)
			}
			f.Plan(faults...)
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
	f := &servers.Faulty{JetStream: servers.Connect(t, servers.Start(t, embedded.Config{}))}
	s := open(t, f, jetstream.Config{})
	for what := servers.Lost; what <= servers.Busy; what++ {
		key := state.Key{Kind: "k", ID: fmt.Sprint(what)}
		before := commit(t, s, key, "1", state.Revision{})
		rec := record("2")
		rec.ID = state.NewID()
		ctx, cancel := context.WithCancel(t.Context())
		f.Plan(what)
		f.After(cancel)
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
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	f := &servers.Faulty{JetStream: js}
	s, other := open(t, f, jetstream.Config{}), open(t, js, jetstream.Config{})
	for what := servers.Lost; what <= servers.Busy; what++ {
		for others := 1; others <= 2; others++ {
			key := state.Key{Kind: "k", ID: fmt.Sprint(what, others)}
			before := commit(t, s, key, "1", state.Revision{})
			found := ""
			f.Plan(what)
			f.After(func() {
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
			})
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
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	clusters := 0
	rapid.Check(t, func(rt *rapid.T) {
		clusters++
		f := &servers.Faulty{JetStream: js}
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
			faults := rapid.SliceOfN(rapid.Map(rapid.IntRange(0, int(servers.Busy)), func(i int) servers.Fault { return servers.Fault(i) }), 0, 2).Draw(rt, "faults")
			if rapid.Bool().Draw(rt, "gives up") {
				f.After(cancel)
			}
			f.Plan(faults...)
			return ctx
		})
	})
}

// Commits beyond the bounds wait, and enter in order; one that gives up was not stored.
func TestBounds(t *testing.T) {
	t.Parallel()
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	f := &servers.Faulty{JetStream: js}
	s := open(t, f, jetstream.Config{MaxCommits: 1})
	inside, leave, done := make(chan struct{}), make(chan struct{}), make(chan error)
	f.After(func() { close(inside); <-leave })
	key := func(id string) state.Key { return state.Key{Kind: "k", ID: id} }
	go func() {
		_, err := s.Commit(t.Context(), key("a"), record("x"), state.Revision{})
		done <- err
	}()
	<-inside
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for _, s := range []state.Store{s, storetest.Then(s)} {
		if _, err := s.Commit(short, key("b"), record("x"), state.Revision{}); !errors.Is(err, state.ErrNotStored) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	}
	close(leave)
	ok(t, <-done)
	commit(t, s, key("b"), "x", state.Revision{})
}

// Answers that do not arrive, or in part, do not make a walk miss a record. A message under the
// subject of no key is an error at the end.
func TestWalkLosesAnswers(t *testing.T) {
	t.Parallel()
	f := &servers.Faulty{JetStream: servers.Connect(t, servers.Start(t, embedded.Config{}))}
	s := open(t, f, jetstream.Config{})
	var want []string
	for i := range 600 {
		want = append(want, fmt.Sprint(i))
		commit(t, s, state.Key{Kind: "k", ID: want[i]}, "x", state.Revision{})
	}
	stream, err := f.Stream(t.Context(), "tandem_state")
	ok(t, err)
	_, err = f.Publish(t.Context(), strings.TrimSuffix(stream.CachedInfo().Config.Subjects[0], ">")+"k.=not=hex", nil)
	ok(t, err)
	commit(t, s, state.Key{Kind: "k", ID: "last"}, "x", state.Revision{})
	want = append(want, "last")
	f.Fetched(func([]natsjs.Msg) []natsjs.Msg { return nil },
		func(all []natsjs.Msg) []natsjs.Msg { return all },
		func(all []natsjs.Msg) []natsjs.Msg { return all[:100] },
		func(all []natsjs.Msg) []natsjs.Msg { return slices.Delete(all, 20, 30) })
	var got []string
	for id, err := range s.Walk(t.Context(), "k") {
		if err == nil {
			got = append(got, id)
		} else if !errors.Is(err, state.ErrFormat) {
			t.Error(err)
		} else if len(got) != len(want) {
			t.Errorf("%v, after %d", err, len(got))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %d, want %d", len(got), len(want))
	}
}

// The answer to the first attempt of a commit that nobody waits for is lost, or the connection is cut while it is
// under way. It is found out all the same whether it is stored.
func TestThenInDoubt(t *testing.T) {
	t.Parallel()
	relay := servers.Between(t, servers.Start(t, embedded.Config{}))
	s := open(t, relay.Connect(t), jetstream.Config{})
	rev := commit(t, s, alice, "0", state.Revision{})
	for n := range 3 {
		relay.Mute()
		text, done := fmt.Sprint(n), make(chan error)
		s.CommitThen(t.Context(), 20*time.Second, alice, record(text), rev, func(r state.Revision, err error) {
			rev = r
			done <- err
		})
		relay.Speak()
		ok(t, <-done)
		holds(t, s, alice, text, rev)
	}
}
