package actor_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/inspect"
	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/placement/memory"
	"github.com/tandem-go/tandem/rpc"
	statememory "github.com/tandem-go/tandem/state/memory"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// scales is a cluster whose nodes give activations up.
type scales struct {
	net    *memnet.Network
	claims placement.Claims
	states *statememory.Store
	first  leases
	kind   *actor.Kind
	sys    map[string]*actor.System
}

func newScales(kind *actor.Kind) *scales {
	return &scales{memnet.New(memnet.Config{Seed: 1}), memory.New(), statememory.New(statememory.Config{}), newLeases(), kind, map[string]*actor.System{}}
}

func (c *scales) start(t *testing.T, name string, rate float64) *actor.System {
	c.sys[name] = newSystem(t, actor.Config{Name: name, Registry: c.first.view(), Claims: c.claims, States: c.states, Kinds: []*actor.Kind{c.kind}, Logger: quiet, Rebalance: rate,
		Transports: []transport.Transport{c.net.Transport("direct", true)}})
	return c.sys[name]
}

// counts is how many activations each node has.
func (c *scales) counts() map[string]int {
	n := map[string]int{}
	for name, sys := range c.sys {
		for range sys.Actors(inspect.Filter{Prefix: "~"}) {
			n[name]++
		}
	}
	return n
}

// A node that joins is given what the cluster chooses it for, at the pace that is set, after the hosts have settled. No
// message is lost and no request fails meanwhile, and stored actors keep what they have.
func TestRebalance(t *testing.T) {
	const ids, rate = 90, 5
	bubble.Test(t, func(t *testing.T) {
		c := newScales(accountKind.With(actor.Idle(time.Hour)))
		a, b := c.start(t, "a", rate), c.start(t, "b", rate)
		synctest.Wait()
		for i := range ids {
			if _, err := actor.Call(t.Context(), a.Virtual(c.kind, fmt.Sprint(i)), pay{Amount: 1}); err != nil {
				t.Fatal(err)
			}
		}
		c.start(t, "c", rate)
		began := time.Now()
		time.Sleep(placement.SettleTime - time.Second)
		if n := c.counts(); n["c"] != 0 {
			t.Errorf("before the hosts have settled: %v", n)
		}
		var sent [ids]int
		for time.Since(began) < 20*time.Second {
			for i := range ids {
				from := a
				if i%2 == 0 {
					from = b
				}
				n, err := actor.Call(t.Context(), from.Virtual(c.kind, fmt.Sprint(i)), pay{Amount: 1})
				if sent[i]++; err != nil || n != 100+sent[i]+1 {
					t.Fatalf("account %d has %d after %d deposits, %v", i, n, sent[i]+1, err)
				}
			}
			time.Sleep(100 * time.Millisecond)
			n := c.counts()
			if most := 2 * rate * (time.Since(began) - placement.SettleTime + time.Second).Seconds(); float64(n["c"]) > max(most, 0) {
				t.Fatalf("after %v: %v", time.Since(began), n)
			}
		}
		n := c.counts()
		if n["c"] < ids/5 || n["c"] > ids/2 || n["a"]+n["b"]+n["c"] != ids {
			t.Errorf("%v", n)
		}
		time.Sleep(time.Minute)
		if later := c.counts(); fmt.Sprint(later) != fmt.Sprint(n) {
			t.Errorf("%v, and later %v", n, later)
		}
		for i := range ids {
			key := placement.Key{Kind: c.kind.Name(), ID: fmt.Sprint(i)}
			want, _ := placement.NewHosts("", []placement.Host{{Node: "a"}, {Node: "b"}, {Node: "c"}}).Choose(key)
			if at, err := a.Inspect(t.Context(), a.Virtual(c.kind, key.ID)); err != nil || at.Node != want {
				t.Errorf("%v is on %s, and %s is chosen, %v", key, at.Node, want, err)
			}
		}
	})
}

// While nodes come and go, and by default, nothing is given up.
func TestRebalanceNotWhileNodesChange(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		c := newScales(counterKind.With(actor.Idle(time.Hour)))
		a := c.start(t, "a", 100)
		c.start(t, "quiet", 0)
		synctest.Wait()
		for i := range 60 {
			if _, err := actor.Call(t.Context(), a.Virtual(c.kind, fmt.Sprint(i)), where{}); err != nil {
				t.Fatal(err)
			}
		}
		before := c.counts()
		for i := range 20 {
			sys := c.start(t, "c", 100)
			time.Sleep(placement.SettleTime - time.Second)
			if n := c.counts(); n["a"] != before["a"] || n["quiet"] != before["quiet"] {
				t.Fatalf("round %d: %v, and %v before", i, n, before)
			}
			if err := sys.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			delete(c.sys, "c")
		}
		c.start(t, "c", 100)
		time.Sleep(time.Minute)
		if n := c.counts(); n["quiet"] != before["quiet"] || n["a"] >= before["a"] {
			t.Errorf("%v, and %v before", n, before)
		}
	})
}

// What is kept active is active on the chosen node as soon as it is given up. What has a timer stays; what is busy is
// given up when it is not any more.
func TestRebalanceOfSome(t *testing.T) {
	type state struct{}
	gate := make(chan struct{})
	var kept []string
	for i := range 20 {
		kept = append(kept, fmt.Sprint("kept", i))
	}
	kind := actor.Define("some", func() *state { return new(state) },
		actor.Answer(func(_ *state, ctx *actor.Context, _ where) (string, error) {
			_, err := actor.Every(ctx, time.Hour, bump{})
			return "", err
		}),
		actor.Answer(func(*state, *actor.Context, total) (int, error) { <-gate; return 1, nil }),
		actor.Handle(func(*state, *actor.Context, bump) error { return nil })).With(actor.Virtual(), actor.KeepActive(kept...))
	bubble.Test(t, func(t *testing.T) {
		gate = make(chan struct{})
		c := newScales(kind)
		a := c.start(t, "a", 1000)
		synctest.Wait()
		var busy []*rpc.Future[int]
		for i := range 20 {
			if _, err := actor.Call(t.Context(), a.Virtual(kind, fmt.Sprint("timer", i)), where{}); err != nil {
				t.Fatal(err)
			}
			busy = append(busy, actor.Ask(t.Context(), a.Virtual(kind, fmt.Sprint("busy", i)), total{}))
		}
		b := c.start(t, "b", 1000)
		time.Sleep(placement.SettleTime + 2*time.Second)
		count := func(sys *actor.System, prefix string) (n int) {
			for range sys.Actors(inspect.Filter{Prefix: "~some/" + prefix}) {
				n++
			}
			return n
		}
		if n := count(b, "kept"); n == 0 || n+count(a, "kept") != len(kept) {
			t.Errorf("%d are kept active on b, and %d on a", n, count(a, "kept"))
		}
		if n, m := count(a, "timer"), count(a, "busy"); n != 20 || m != 20 {
			t.Errorf("%d with timers and %d that are busy have stayed", n, m)
		}
		close(gate)
		for _, f := range busy {
			if _, err := f.Await(t.Context()); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(3 * time.Second)
		if n := count(a, "busy"); n == 20 || n == 0 {
			t.Errorf("%d that were busy have stayed", n)
		}
	})
}

// A node that drains gives up what it has at once, although some handler there takes long. Requests that go on meanwhile
// all succeed, and stored actors keep what they have.
func TestDrainWhileRequestsGoOn(t *testing.T) {
	for _, roads := range []string{"a cluster of three", "two"} {
		t.Run(roads, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				const ids = 40
				c := newScales(accountKind.With(actor.Idle(time.Hour)))
				c.start(t, "a", 0)
				c.start(t, "b", 0)
				if roads != "two" {
					c.start(t, "c", 0)
				}
				synctest.Wait()
				slow := actor.Define("slow", func() *counter { return new(counter) }, actor.Answer(func(*counter, *actor.Context, total) (int, error) {
					time.Sleep(5 * time.Second)
					return 1, nil
				}))
				one := actor.Ask(t.Context(), spawn(t, c.sys["b"], "slow", slow), total{})
				var callers sync.WaitGroup
				var stop atomic.Bool
				var slowest atomic.Int64
				for name, sys := range c.sys {
					if name == "b" {
						continue
					}
					for i := range ids {
						callers.Go(func() {
							ref := sys.Virtual(c.kind, fmt.Sprint(name, i))
							for n := 1; !stop.Load(); n++ {
								began := time.Now()
								got, err := actor.Call(t.Context(), ref, pay{Amount: 1})
								if err != nil || got != 100+n {
									t.Errorf("%v has %d after %d deposits, %v", ref, got, n, err)
									return
								}
								slowest.Store(max(slowest.Load(), int64(time.Since(began))))
								time.Sleep(time.Duration(i+1) * 10 * time.Millisecond)
							}
						})
					}
				}
				time.Sleep(time.Second)
				before := c.counts()["b"]
				if before == 0 {
					t.Fatal("b has none")
				}
				down := make(chan error, 1)
				go func() { down <- c.sys["b"].Shutdown(context.Background()) }()
				time.Sleep(time.Second)
				if n := c.counts(); n["b"] != 0 || n["a"]+n["c"] != ids*(len(c.sys)-1) {
					t.Errorf("a second later: %v", n)
				}
				select {
				case err := <-down:
					t.Errorf("it has shut down already: %v", err)
				default:
				}
				time.Sleep(10 * time.Second)
				stop.Store(true)
				callers.Wait()
				if err := <-down; err != nil {
					t.Error(err)
				}
				if n, err := one.Await(t.Context()); n != 1 || err != nil {
					t.Errorf("the slow one: %d, %v", n, err)
				}
				if took := time.Duration(slowest.Load()); took > time.Second {
					t.Errorf("the slowest request took %v", took)
				}
			})
		})
	}
}

// puts is a message whose answer is put off.
type puts struct{ actor.Returns[int] }

func (puts) WireName() string { return "virtual.puts" }

// A virtual actor that has put an answer off is not idle. Once its activation has ended, the answer is refused:
// another activation may have answered since.
func TestVirtualDeferred(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var later []*actor.Deferred[int]
		kind := actor.Define("puts", func() *counter { return new(counter) }, actor.Answer((*counter).total), actor.Handle((*counter).bump),
			actor.Answer(func(k *counter, ctx *actor.Context, _ puts) (int, error) {
				later = append(later, actor.Defer[int](ctx))
				return 0, nil
			})).With(actor.Virtual(), actor.Idle(time.Second))
		sys := newSystem(t, actor.Config{Kinds: []*actor.Kind{kind}, Logger: quiet})
		ref := sys.Virtual(kind, "x")
		first, second := actor.Ask(t.Context(), ref, puts{}), actor.Ask(t.Context(), ref, puts{})
		time.Sleep(10 * time.Second)
		if st := sys.Stats(); st.Virtual.Begun != 1 || st.Actors != 1 {
			t.Errorf("it was idle: %+v", st.Virtual)
		}
		if err := later[0].Answer(1); err != nil {
			t.Error(err)
		}
		if n, err := first.Await(t.Context()); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if err := sys.Stop(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
		if n, err := actor.Call(t.Context(), ref, total{}); n != 0 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		_ = later[1].Answer(1)
		if n, err := second.Await(t.Context()); err == nil || rpc.Ran(err) != rpc.HasRun || !strings.Contains(err.Error(), "out of date") {
			t.Errorf("an activation that has ended has answered %d, %v", n, err)
		}
		time.Sleep(10 * time.Second)
		if st := sys.Stats(); st.Actors != 0 {
			t.Errorf("it is not idle: %d", st.Actors)
		}
	})
}

// A rate that makes no sense is an error of NewSystem.
func TestRebalanceMisuse(t *testing.T) {
	for _, rate := range []float64{-1, math.NaN(), math.Inf(1), 1e7} {
		if sys, err := actor.NewSystem(actor.Config{Rebalance: rate, Logger: quiet}); err == nil {
			t.Errorf("%v", rate)
			_ = errors.Join(sys.Shutdown(t.Context()))
		}
	}
}
