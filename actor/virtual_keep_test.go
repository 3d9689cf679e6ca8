package actor_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/placement/memory"
	"github.com/tandem-go/tandem/rpc"
	statememory "github.com/tandem-go/tandem/state/memory"
	"github.com/tandem-go/tandem/supervise"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// single is an actor that is kept active, and notes where its activations are.
type single struct {
	N     int
	at    *atomic.Pointer[string]
	alive *atomic.Int32
	fails *atomic.Int32 // that many starts fail

	active bool // Started has returned nil
}

type collapse struct{}

func (collapse) WireName() string { return "virtual.collapse" }

func (s *single) Started(ctx *actor.Context) error {
	if s.fails.Add(-1) >= 0 {
		return errors.New("not now")
	}
	name := ctx.System().Name()
	s.at.Store(&name)
	s.active = true
	s.alive.Add(1)
	return nil
}

func (s *single) Stopping(*actor.Context, error) {
	if s.active {
		s.alive.Add(-1)
	}
}

func (s *single) collapse(*actor.Context, collapse) error         { panic("collapse") }
func (s *single) bump(*actor.Context, bump) error                 { s.N++; return nil }
func (s *single) total(*actor.Context, total) (int, error)        { return s.N, nil }
func (s *single) where(c *actor.Context, _ where) (string, error) { return c.System().Name(), nil }

// singles is a cluster whose kind has one actor that is kept active.
type singles struct {
	kind   *actor.Kind
	net    *memnet.Network
	claims placement.Claims
	first  leases
	reg    map[string]leases
	sys    map[string]*actor.System
	states *statememory.Store
	at     atomic.Pointer[string]
	alive  atomic.Int32
	fails  atomic.Int32
}

func newSingles(opts ...actor.KindOption) *singles {
	c := &singles{net: memnet.New(memnet.Config{Seed: 1}), claims: memory.New(), first: newLeases(), reg: map[string]leases{}, sys: map[string]*actor.System{}, states: statememory.New(statememory.Config{})}
	c.kind = actor.Define("single", func() *single { return &single{at: &c.at, alive: &c.alive, fails: &c.fails} },
		actor.Answer((*single).where), actor.Answer((*single).total), actor.Handle((*single).bump), actor.Handle((*single).collapse)).
		With(append([]actor.KindOption{actor.Virtual(), actor.KeepActive("one"), actor.Idle(time.Second), actor.Supervise(actor.Strategy{Decide: func(supervise.Failure) supervise.Directive { return supervise.Stop }})}, opts...)...)
	return c
}

// start starts nodes.
func (c *singles) start(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		c.reg[name] = c.first.view()
		c.sys[name] = newSystem(t, actor.Config{Name: name, Registry: c.reg[name], Claims: c.claims, States: c.states, Kinds: []*actor.Kind{c.kind}, Logger: quiet,
			Transports: []transport.Transport{c.net.Transport("direct", true)}})
	}
}

// node returns the node that has the one actor, which is active; nobody has sent it anything.
func (c *singles) node(t *testing.T) string {
	t.Helper()
	synctest.Wait()
	if n := c.alive.Load(); n != 1 {
		t.Fatalf("%d activations", n)
	}
	return *c.at.Load()
}

// begun is how many activations there have been.
func (c *singles) begun() (n uint64) {
	for _, s := range c.sys {
		n += s.Stats().Virtual.Begun
	}
	return n
}

// An actor that is kept active is so while there is a node: when nodes come up, when its own one leaves, when it is
// stopped or has failed. It is never idle, and moves for no other reason.
func TestKeepActive(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		c := newSingles()
		c.start(t, "a")
		if at := c.node(t); at != "a" {
			t.Fatalf("it is on %s", at)
		}
		c.start(t, "b", "c")
		time.Sleep(time.Hour)
		if at := c.node(t); at != "a" || c.begun() != 1 {
			t.Errorf("it is on %s, after %d activations", at, c.begun())
		}
		before := c.traffic()
		time.Sleep(time.Hour)
		if got := c.traffic(); got != before {
			t.Errorf("%d requests in an hour in which nothing changes", got-before)
		}
		for _, ends := range []func(ref actor.Ref, from *actor.System) error{
			func(ref actor.Ref, from *actor.System) error { return actor.Tell(t.Context(), ref, collapse{}) },
			func(ref actor.Ref, from *actor.System) error {
				return c.sys[*c.at.Load()].Stop(t.Context(), c.sys[*c.at.Load()].Ref("~single/one"))
			},
		} {
			n := c.begun()
			if err := ends(c.sys["b"].Virtual(c.kind, "one"), c.sys["b"]); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			if c.node(t); c.begun() != n+1 {
				t.Errorf("%d more activations", c.begun()-n)
			}
			time.Sleep(time.Hour)
		}
		for range 2 {
			at := c.node(t)
			if err := c.sys[at].Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			delete(c.sys, at)
			time.Sleep(time.Second)
			if now := c.node(t); now == at {
				t.Errorf("it is still on %s", at)
			}
		}
	})
}

// traffic is how many requests the nodes have made in all.
func (c *singles) traffic() (n uint64) {
	for _, s := range c.sys {
		n += s.Stats().RPC.Requests
	}
	return n
}

// A node whose lease runs out, because it is dead or cut off from the registry, loses what is kept active there;
// another one has it within a second of that. What comes back does not take it again.
func TestKeepActiveAfterADeath(t *testing.T) {
	for name, dead := range map[string]bool{"dead": true, "cut off from the registry": false} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				c := newSingles()
				c.start(t, "a", "b", "c")
				at := c.node(t)
				time.Sleep(time.Minute)
				c.reg[at].cut.off()
				for _, other := range slices.Sorted(maps.Keys(c.sys)) {
					if other != at && dead {
						c.net.Partition("direct", at, other)
					}
				}
				began := time.Now()
				for *c.at.Load() == at && time.Since(began) < time.Minute {
					time.Sleep(50 * time.Millisecond)
				}
				if took := time.Since(began); took < leaseTime/3 || took > leaseTime+time.Second {
					t.Errorf("it was active elsewhere after %v", took)
				}
				for other := range c.sys {
					if other != at {
						c.net.Heal("direct", at, other)
					}
				}
				c.reg[at].cut.on()
				time.Sleep(time.Minute)
				if now := c.node(t); now == at || c.begun() != 2 {
					t.Errorf("it is on %s, after %d activations", now, c.begun())
				}
			})
		})
	}
}

// An actor whose start fails, and one whose claim cannot be made, is tried again with a back-off for as long as it takes.
// The operator learns of it once, and when it is active.
func TestKeepActiveAgain(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		c := newSingles()
		c.fails.Store(20)
		away := &awayClaims{Claims: c.claims}
		away.away.Store(true)
		c.claims = away
		c.start(t, "a", "b")
		var events []<-chan actor.Event
		for _, s := range c.sys {
			events = append(events, s.Events(t.Context(), actor.KeptActive, actor.KeptInactive))
		}
		time.Sleep(10 * time.Minute)
		if n, asked := c.begun(), away.asked.Swap(0); n != 0 || asked > 1000 {
			t.Errorf("%d activations; the store was asked %d times in 10 minutes", n, asked)
		}
		away.away.Store(false)
		time.Sleep(20 * time.Minute)
		c.node(t)
		if n := c.begun(); n != 21 {
			t.Errorf("%d activations", n)
		}
		active, inactive := 0, 0
		for _, ch := range events {
			lost, back := 0, 0 // the node that tries may change when another one comes
			for len(ch) > 0 {
				switch e := <-ch; {
				case e.Actor != "single/one@~", (e.Err != nil) != (e.Type == actor.KeptInactive), e.Err == nil && e.Peer != *c.at.Load():
					t.Errorf("%+v", e)
				case e.Err == nil:
					back++
				default:
					lost++
				}
			}
			if active, inactive = active+back, inactive+lost; lost > 1 || back > 1 {
				t.Errorf("a node has said %d times that it is not active, and %d times that it is", lost, back)
			}
		}
		if active == 0 || inactive == 0 {
			t.Errorf("%d events that it is active, and %d that it is not", active, inactive)
		}
	})
}

// awayClaims are claims whose store can be away.
type awayClaims struct {
	placement.Claims
	away  atomic.Bool
	asked atomic.Int32
}

func (c *awayClaims) Get(ctx context.Context, key placement.Key) (placement.Held, error) {
	if c.asked.Add(1); c.away.Load() {
		return placement.Held{}, &placement.Error{Op: "get", Key: key, Kind: placement.ErrUnavailable}
	}
	return c.Claims.Get(ctx, key)
}

// A stored actor is kept active with its state, and a single node needs nothing for it.
func TestKeepActiveStored(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		c := newSingles(actor.Stored(func(s *single) *single { return s }))
		c.start(t, "a", "b")
		at := c.node(t)
		if err := actor.Tell(t.Context(), c.sys["a"].Virtual(c.kind, "one"), bump{}, rpc.Acked()); err != nil {
			t.Fatal(err)
		}
		if err := c.sys[at].Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		delete(c.sys, at)
		time.Sleep(time.Second)
		now := c.node(t)
		if n, err := actor.Call(t.Context(), c.sys[now].Virtual(c.kind, "one"), total{}); n != 1 || err != nil || now == at {
			t.Errorf("%s has counted %d, %v", now, n, err)
		}
	})
	bubble.Test(t, func(t *testing.T) {
		c := newSingles()
		sys := newSystem(t, actor.Config{Kinds: []*actor.Kind{c.kind}, Logger: quiet})
		c.node(t)
		if err := actor.Tell(t.Context(), sys.Virtual(c.kind, "one"), collapse{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		c.node(t)
	})
}

// All nodes come and go in turn, at random moments: within a second of each the actor is active, once.
func TestKeepActiveWhileNodesChange(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		c := newSingles()
		c.start(t, "a", "b")
		c.node(t)
		for i := range 30 {
			fresh := fmt.Sprint("n", i)
			c.start(t, fresh)
			time.Sleep(time.Duration(i*37%1500) * time.Millisecond)
			gone := slices.Sorted(maps.Keys(c.sys))[i%3]
			if i%2 == 0 {
				gone = *c.at.Load()
			}
			if err := c.sys[gone].Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			delete(c.sys, gone)
			time.Sleep(time.Second)
			if at := c.node(t); at == gone {
				t.Fatalf("round %d: it is still on %s", i, at)
			}
		}
	})
}

// What KeepActive cannot do is an error of NewSystem.
func TestKeepActiveMisuse(t *testing.T) {
	many := make([]string, actor.MaxKeptActive+1)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	for what, kind := range map[string]*actor.Kind{
		"too many":      counterKind.With(actor.KeepActive(many...)),
		"a wrong id":    counterKind.With(actor.KeepActive("a/b")),
		"an empty id":   counterKind.With(actor.KeepActive("")),
		"a plain kind":  AccountKind.With(actor.KeepActive("a")),
		"two that fail": counterKind.With(actor.KeepActive(many[:1000]...), actor.KeepActive(many[1000:]...)),
	} {
		_, err := actor.NewSystem(actor.Config{Kinds: []*actor.Kind{kind}, Logger: quiet})
		if rpc.CodeOf(err) != rpc.Invalid {
			t.Errorf("%s: %v", what, err)
		}
		if tooMany := what[0] == 't'; errors.Is(err, actor.ErrTooManyKept) != tooMany {
			t.Errorf("%s: %v", what, err)
		}
	}
}
