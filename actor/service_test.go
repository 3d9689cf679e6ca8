package actor_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/balance"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// If an actor of a service calls the service, the call goes to another instance. If there is
// no other instance, the call fails.
func TestServiceCallsItsOwn(t *testing.T) {
	withCrew(t, func(t *testing.T, c *crew) {
		kind := actor.Define("test.peers", func() int { return 0 },
			actor.Answer(func(_ int, ctx *actor.Context, m Say) (string, error) { return ctx.Self().String(), nil }),
			actor.Answer(func(_ int, ctx *actor.Context, m Toil) (string, error) {
				return actor.Call(ctx, ctx.System().Service("peers"), Say{})
			}))
		one := spawn(t, c.nodes[0], "one", kind, actor.Expose("peers"))
		_, err := actor.Call(t.Context(), one, Toil{})
		wantErr(t, "it is the only one", err, rpc.Failed, rpc.HasRun)
		if !errors.Is(err, rpc.Invalid) {
			t.Errorf("it is the only one: %v", err)
		}
		spawn(t, c.nodes[0], "two", kind, actor.Expose("peers"))
		for range 10 {
			if who, err := actor.Call(t.Context(), one, Toil{}); who != "two@s0" || err != nil {
				t.Errorf("%q, %v", who, err)
			}
		}
	})
}

// Requests with one affinity key go to one instance, and to one other instance while that one
// is away.
func TestAffinity(t *testing.T) {
	withCrew(t, func(t *testing.T, c *crew) {
		where := func(key string) string {
			who, err := actor.Call(t.Context(), c.client.Service("crew"), Toil{}, rpc.Affinity(key))
			if err != nil {
				t.Error(err)
			}
			return who
		}
		homes := map[string]string{}
		all := map[string]bool{}
		for i := range 40 {
			key := fmt.Sprint("customer-", i)
			homes[key] = where(key)
			all[homes[key]] = true
			for range 3 {
				if who := where(key); who != homes[key] {
					t.Errorf("%s was at %s, then at %s", key, homes[key], who)
				}
			}
		}
		if len(all) != 4 {
			t.Errorf("40 keys live at %v", all)
		}
		c.reg.crashed.Store("s1", true)
		if err := c.nodes[1].Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		for key, home := range homes {
			if who := where(key); home != "s1" && who != home {
				t.Errorf("%s has moved from %s to %s, and s1 went away", key, home, who)
			} else if who == "s1" {
				t.Error("s1 is dead")
			}
		}
	})
}

// The weight, version and zone of a node are in its record. Instances get requests according
// to the weights of their nodes.
func TestWeightOfANode(t *testing.T) {
	for _, weight := range []int{-1, registry.MaxWeight + 1} {
		if _, err := actor.NewSystem(actor.Config{Weight: weight}); err == nil {
			t.Errorf("a weight of %d", weight)
		}
	}
	bubble.Test(t, func(t *testing.T) {
		net, reg := memnet.New(memnet.Config{Seed: 1}), static.New()
		start := func(name string, weight int) *actor.System {
			return newSystem(t, actor.Config{Name: name, Registry: reg, Logger: quiet, Transports: []transport.Transport{net.Transport("bus", false)},
				Weight: weight, Version: "v1", Zone: "here", Balance: map[string]balance.Policy{"w": balance.Weighted()}})
		}
		kind := actor.Define("test.w", func() int { return 0 }, actor.Answer(func(_ int, ctx *actor.Context, _ Say) (string, error) { return ctx.Self().Node(), nil }))
		for name, weight := range map[string]int{"b": 1, "c": 3} {
			spawn(t, start(name, weight), "w", kind, actor.Expose("w"))
		}
		a := start("a", registry.MaxWeight)
		synctest.Wait()
		hits := map[string]int{}
		for range 40 {
			who, err := actor.Call(t.Context(), a.Service("w"), Say{})
			if err != nil {
				t.Fatal(err)
			}
			hits[who]++
		}
		if hits["b"] != 10 || hits["c"] != 30 {
			t.Errorf("had: %v", hits)
		}
		if n, err := reg.Lookup(t.Context(), "c"); n.Weight != 3 || n.Version != "v1" || n.Zone != "here" || err != nil {
			t.Errorf("%+v, %v", n, err)
		}
	})
}

// Each service has the policy that Config.Balance gives it.
func TestBalanceByService(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Name: "a", Logger: quiet, Balance: map[string]balance.Policy{
			"keyed": balance.ByKey(func(m any) string { return m.(Toil).Key }), "random": balance.Random()}})
		kind := actor.Define("test.who", func() int { return 0 }, actor.Answer(func(_ int, ctx *actor.Context, m Toil) (string, error) { return ctx.Self().Name(), nil }))
		for _, service := range []string{"keyed", "random", "plain"} {
			for i := range 4 {
				spawn(t, sys, fmt.Sprint(service, i), kind, actor.Expose(service))
			}
		}
		hits := func(service, key string) map[string]int {
			n := map[string]int{}
			for range 40 {
				who, err := actor.Call(t.Context(), sys.Service(service), Toil{Key: key})
				if err != nil {
					t.Fatal(err)
				}
				n[who]++
				synctest.Wait()
			}
			return n
		}
		if n := hits("keyed", "x"); len(n) != 1 {
			t.Errorf("one key: %v", n)
		}
		if n := hits("keyed", ""); len(n) != 4 {
			t.Errorf("no key: %v", n)
		}
		if n := hits("plain", "x"); len(n) != 4 || n["plain0"] != 10 {
			t.Errorf("the default: %v", n)
		}
		if n := hits("random", "x"); len(n) < 2 || n["random0"] == 10 && n["random1"] == 10 && n["random2"] == 10 {
			t.Errorf("at random: %v", n)
		}
	})
}

// Requests to a service go to every instance in turn, and to none that has stopped.
func TestService(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		hits := map[string]int{}
		kind := actor.Define("test.mailer", func() int { return 0 }, actor.Answer(func(_ int, ctx *actor.Context, m Say) (string, error) {
			return ctx.Self().String(), nil
		}))
		svc := a.Service("mailer")
		_, err := actor.Call(t.Context(), svc, Say{})
		wantErr(t, "no instance", err, rpc.NotFound, rpc.NotRun)
		var refs []actor.Ref
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range 4 { // at the same time, and each of them must get into the registry
			all.Go(func() {
				ref, err := []*actor.System{a, b}[i%2].Spawn(fmt.Sprint("m", i), kind, actor.Expose("mailer"))
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				refs = append(refs, ref)
			})
		}
		all.Wait()
		spawn(t, a, "plain", kind)
		ask := func(n int) map[string]int {
			synctest.Wait()
			clear(hits)
			for range n {
				who, err := actor.Call(t.Context(), svc, Say{})
				if err != nil {
					t.Fatal(err)
				}
				hits[who]++
			}
			return hits
		}
		if got := ask(40); len(got) != 4 || got["m0@a"] != 10 || got["m3@b"] != 10 {
			t.Errorf("hits: %v", got)
		}
		actor.Halt(a, a.Ref("m0"))
		actor.Halt(b, b.Ref("m1"))
		if got := ask(40); len(got) != 2 || got["m2@a"] != 20 || got["m3@b"] != 20 {
			t.Errorf("hits after two stopped: %v", got)
		}
	})
}
