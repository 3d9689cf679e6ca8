package actortest_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/actortest"
	"github.com/tandem-go/tandem/state"
	"github.com/tandem-go/tandem/state/memory"
)

// purse is the state of a stored actor.
type purse struct{ Sum int }

// add is answered with the new sum, and look with the node of the actor.
type (
	add  struct{ actor.Returns[int] }
	sum  struct{ actor.Returns[int] }
	look struct{ actor.Returns[string] }
)

// pass is handed on, as got.
type (
	pass struct{ To actor.Ref }
	got  struct{}
)

func (pass) WireName() string { return "actortest.pass" }
func (got) WireName() string  { return "actortest.got" }

func (add) WireName() string  { return "actortest.add" }
func (sum) WireName() string  { return "actortest.sum" }
func (look) WireName() string { return "actortest.look" }

var purseKind = actor.Define("purse", func() *purse { return new(purse) },
	actor.Answer(func(p *purse, _ *actor.Context, _ add) (int, error) { p.Sum++; return p.Sum, nil }),
	actor.Handle(func(p *purse, ctx *actor.Context, m pass) error { p.Sum--; return actor.Tell(ctx, m.To, got{}) }),
	actor.Handle(func(p *purse, _ *actor.Context, _ got) error { p.Sum++; return nil }),
	actor.Read(func(p *purse, _ *actor.Context, _ sum) (int, error) { return p.Sum, nil }),
	actor.Read(func(_ *purse, ctx *actor.Context, _ look) (string, error) { return ctx.System().Name(), nil })).
	With(actor.Virtual(), actor.Stored(func(p *purse) *purse { return p }))

// hangs is a store whose next commit hangs once it is made, or before, if that is wanted. From then on it answers
// the node that has made that commit nothing any more.
type hangs struct {
	state.Store
	before, after atomic.Bool
	hung          chan struct{}
}

// hangsFor is that store for one start of a node.
type hangsFor struct {
	*hangs
	gone atomic.Bool
}

func (s *hangsFor) Load(ctx context.Context, key state.Key) (state.Record, state.Revision, error) {
	if s.gone.Load() {
		<-ctx.Done()
		return state.Record{}, state.Revision{}, &state.Error{Op: "load", Key: key, Kind: state.ErrUnavailable}
	}
	return s.Store.Load(ctx, key)
}

func (s *hangsFor) Commit(ctx context.Context, key state.Key, rec state.Record, rev state.Revision) (made state.Revision, err error) {
	hangs := s.before.CompareAndSwap(true, false)
	if !hangs && !s.gone.Load() {
		if made, err = s.Store.Commit(ctx, key, rec, rev); !s.after.CompareAndSwap(true, false) {
			return made, err
		}
		hangs = true
	}
	if hangs {
		s.gone.Store(true)
		s.hung <- struct{}{}
	}
	<-ctx.Done()
	return state.Revision{}, &state.Error{Op: "commit", Key: key, Kind: state.ErrUnknown, ID: state.NewID()}
}

// startPurses starts a cluster with a store that can hang, and returns the holder of a purse, and another node.
func startPurses(t *testing.T, id string) (store *hangs, holder, other *actortest.Node) {
	store = &hangs{Store: memory.New(memory.Config{}), hung: make(chan struct{})}
	var all []*hangsFor
	c := actortest.NewCluster(t, actortest.ClusterConfig{Nodes: 3, Kinds: []*actor.Kind{purseKind}, Config: func(_ *actortest.Node, cfg *actor.Config) {
		all = append(all, &hangsFor{hangs: store})
		cfg.States = all[len(all)-1]
	}})
	t.Cleanup(func() { // a start that was killed can end, too
		for _, s := range all {
			s.gone.Store(false)
		}
	})
	at := whereIs(t, c.Node(0), id)
	for _, n := range c.Nodes() {
		if n.Name() == at {
			holder = n
		} else {
			other = n
		}
	}
	return store, holder, other
}

// whereIs returns the node of a purse.
func whereIs(t *testing.T, from *actortest.Node, id string) string {
	t.Helper()
	node, err := actor.Call(t.Context(), from.System().Virtual(purseKind, id), look{})
	if err != nil {
		t.Fatal(err)
	}
	return node
}

// The holder of a stored actor is killed before and after its commit is made. The caller's request is made again by its
// node, and has its effect once.
func TestStoredHolderIsKilled(t *testing.T) {
	for _, when := range []string{"before the commit", "after the commit"} {
		t.Run(when, func(t *testing.T) {
			actortest.Bubble(t, func(t *testing.T) {
				store, holder, caller := startPurses(t, "x")
				purse := caller.System().Virtual(purseKind, "x")
				if n, err := actor.Call(t.Context(), purse, add{}); n != 1 || err != nil {
					t.Fatal(n, err)
				}
				synctest.Wait()
				store.before.Store(when == "before the commit")
				store.after.Store(when == "after the commit")
				f := actor.Ask(t.Context(), purse, add{})
				<-store.hung
				holder.Kill()
				if n, err := f.Await(t.Context()); n != 2 || err != nil {
					t.Fatal(n, err)
				}
				time.Sleep(time.Second)
				if n, err := actor.Call(t.Context(), purse, sum{}); n != 2 || err != nil || whereIs(t, caller, "x") == holder.Name() {
					t.Errorf("%d, %v; on %s, after %s was killed", n, err, whereIs(t, caller, "x"), holder.Name())
				}
			})
		})
	}
}

// The holder of a stored actor is killed when a message of a handler is stored, and was not sent. The message arrives, although
// nobody asks that actor for anything any more.
func TestStoredSenderIsKilled(t *testing.T) {
	actortest.Bubble(t, func(t *testing.T) {
		store, holder, other := startPurses(t, "x")
		to := other.System().Virtual(purseKind, "y")
		if _, err := actor.Call(t.Context(), to, add{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		store.after.Store(true)
		if err := actor.Tell(t.Context(), other.System().Virtual(purseKind, "x"), pass{To: to}); err != nil {
			t.Fatal(err)
		}
		<-store.hung
		holder.Kill()
		time.Sleep(actortest.KilledLease + time.Minute)
		if n, err := actor.Call(t.Context(), to, sum{}); n != 2 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	})
}
