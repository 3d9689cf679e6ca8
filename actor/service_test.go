package actor_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/balance"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Toil takes the time that its instance takes, and is answered with the instance's node.
type Toil struct {
	actor.Returns[string]
	Key string
}

// crewWork is how long an instance takes for a request, usually.
const crewWork = 10 * time.Millisecond

// crew is a service with 4 instances, on nodes s0 to s3, and a client.
type crew struct {
	t      *testing.T
	net    *memnet.Network
	reg    *careless
	client *actor.System
	nodes  []*actor.System
	works  [4]atomic.Int64 // nanoseconds that each takes
	served [4]atomic.Int64
	events <-chan actor.Event
}

// careless is a registry that is not told of those who leave, as when they crash.
type careless struct {
	registry.Registry
	crashed sync.Map
}

func (c *careless) Deregister(ctx context.Context, name, epoch string, last []byte) error {
	if _, ok := c.crashed.Load(name); ok {
		return nil
	}
	return c.Registry.Deregister(ctx, name, epoch, last)
}

// Register hears nothing of a node that takes its services away, either: it is killed.
func (c *careless) Register(ctx context.Context, n registry.Node) error {
	if _, ok := c.crashed.Load(n.Name); ok && len(n.Services) == 0 {
		return nil
	}
	return c.Registry.Register(ctx, n)
}

// withCrew runs a test with a crew in a bubble. All messages take half a millisecond.
func withCrew(t *testing.T, run func(t *testing.T, c *crew), opts ...actor.SpawnOption) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		c := &crew{t: t, net: memnet.New(memnet.Config{Seed: 1}), reg: &careless{Registry: static.New()}}
		c.net.SetFaults("", "", "", memnet.Faults{MinDelay: time.Millisecond / 2, MaxDelay: time.Millisecond / 2})
		c.client = c.start("a")
		for i := range 4 {
			c.works[i].Store(int64(crewWork))
			c.nodes = append(c.nodes, c.start(fmt.Sprint("s", i)))
			spawn(t, c.nodes[i], "worker", c.kind(i), append(opts, actor.Expose("crew"))...)
		}
		c.events = c.client.Events(t.Context())
		synctest.Wait()
		run(t, c)
	})
}

func (c *crew) start(name string) *actor.System {
	cfg := actor.Config{Name: name, Registry: c.reg, Logger: quiet, Tune: func(r *rpc.Config) { r.MaxBody = 1 << 20 }}
	for _, road := range []string{"direct", "bus"} {
		cfg.Transports = append(cfg.Transports, c.net.Transport(road, road == "direct"))
	}
	return newSystem(c.t, cfg)
}

func (c *crew) kind(i int) *actor.Kind {
	return actor.Define("test.crew", func() int { return i }, actor.Answer(func(i int, ctx *actor.Context, m Toil) (string, error) {
		c.served[i].Add(1)
		select {
		case <-time.After(time.Duration(c.works[i].Load())):
		case <-ctx.Done():
		}
		return fmt.Sprint("s", i), nil
	}))
}

// slowCall is when a call of the crew counts as slow.
const slowCall = 8 * crewWork

// calls has 4 callers make 1,000 calls, and returns how many were slow, failed, and what
// the instances had to do.
func (c *crew) calls() (slow int, failed []error, served [4]int64) {
	var before [4]int64
	for i := range before {
		before[i] = c.served[i].Load()
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 250 {
				began := time.Now()
				_, err := actor.Call(c.t.Context(), c.client.Service("crew"), Toil{})
				mu.Lock()
				if took := time.Since(began); took > slowCall {
					slow++
					c.t.Logf("slow: %v", took)
				}
				if err != nil {
					failed = append(failed, err)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	for i := range served {
		served[i] = c.served[i].Load() - before[i]
	}
	return slow, failed, served
}

// changes are the events of instances until now.
func (c *crew) changes() (ejected, back int) {
	synctest.Wait()
	for len(c.events) > 0 {
		switch e := <-c.events; {
		case e.Service != "crew":
		case e.Type == actor.InstanceEjected:
			ejected++
		case e.Type == actor.InstanceBack:
			back++
		}
	}
	return ejected, back
}

// One of four instances that is dead, silent, cut off from one road, much slower, or
// refuses what it gets makes two calls of 1,000 slow at most, and none fail.
func TestOneBadInstance(t *testing.T) {
	for _, row := range []struct {
		name    string
		befalls func(t *testing.T, c *crew) // s1
		heals   func(c *crew)
		ejected bool
		opts    []actor.SpawnOption
	}{
		{name: "dead before it was called", ejected: true, befalls: func(t *testing.T, c *crew) {
			c.reg.crashed.Store("s1", true)
			if err := c.nodes[1].Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "dead between calls", ejected: true, befalls: func(t *testing.T, c *crew) {
			c.calls()
			c.reg.crashed.Store("s1", true)
			if err := c.nodes[1].Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second) // its links are known to be down
		}},
		{name: "out of reach before it was called", ejected: true, befalls: func(t *testing.T, c *crew) { c.net.Partition("", "s1", "") },
			heals: func(c *crew) { c.net.Heal("", "s1", "") }},
		{name: "silent for 4 s", ejected: true, befalls: func(t *testing.T, c *crew) {
			c.calls()
			time.AfterFunc(200*time.Millisecond, func() { c.net.Partition("", "s1", "") })
			time.AfterFunc(4200*time.Millisecond, func() { c.net.Heal("", "s1", "") })
		}, heals: func(*crew) { time.Sleep(5 * time.Second) }},
		{name: "silent on the direct road", ejected: true, befalls: func(t *testing.T, c *crew) {
			c.calls()
			time.AfterFunc(200*time.Millisecond, func() { c.net.Partition("direct", "s1", "") })
		}, heals: func(c *crew) { time.Sleep(10 * time.Second) }},
		{name: "out of reach on the direct road", befalls: func(t *testing.T, c *crew) { c.net.Partition("direct", "s1", "") }},
		{name: "10 × slower", befalls: func(t *testing.T, c *crew) { c.works[1].Store(int64(10 * crewWork)) }},
		{name: "refusing", ejected: true, opts: []actor.SpawnOption{small(8, mailbox.Refuse)}, befalls: func(t *testing.T, c *crew) {
			c.works[1].Store(int64(time.Minute))
			for range 9 { // one is handled, the others fill the mailbox
				actor.Ask(t.Context(), c.nodes[1].Ref("worker"), Toil{})
				synctest.Wait()
			}
			c.served[1].Store(0)
		}, heals: func(c *crew) { c.works[1].Store(int64(crewWork)); time.Sleep(time.Minute) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			withCrew(t, func(t *testing.T, c *crew) {
				row.befalls(t, c)
				slow, failed, served := c.calls()
				ejected, back := c.changes()
				t.Logf("of 1,000 calls %d were slow, %d failed; served: %v; ejected %d times, back %d times; at %v", slow, len(failed), served, ejected, back, time.Now())
				if slow > 2 || len(failed) > 0 {
					t.Errorf("%d slow, failed: %v", slow, failed)
				}
				if want := map[bool]int{true: 1}[row.ejected]; ejected != want {
					t.Errorf("ejected %d times, want %d", ejected, want)
				}
				wasBack := back
				if row.heals == nil {
					return
				}
				row.heals(c)
				c.calls()
				slow, failed, served = c.calls()
				if ejected, back = c.changes(); slow > 0 || len(failed) > 0 || served[1] < 150 || ejected > 0 || back+wasBack != 1 {
					t.Errorf("healed: %d slow, failed: %v, served: %v; ejected %d times, back %d times", slow, failed, served, ejected, back)
				}
			}, row.opts...)
		})
	}
}

// An instance that is busy for long makes nobody wait behind it while others are idle.
func TestBusyInstance(t *testing.T) {
	withCrew(t, func(t *testing.T, c *crew) {
		c.calls()
		for i := range 4 {
			c.works[i].Store(int64(20 * time.Second))
		}
		long := actor.Ask(t.Context(), c.client.Service("crew"), Toil{})
		time.Sleep(100 * time.Millisecond)
		for i := range 4 {
			c.works[i].Store(int64(crewWork))
		}
		slow, failed, served := c.calls()
		idle := 0
		for _, n := range served {
			if n == 0 {
				idle++
			}
		}
		if slow > 0 || len(failed) > 0 || idle != 1 {
			t.Errorf("%d slow, failed: %v, served: %v", slow, failed, served)
		}
		if ejected, _ := c.changes(); ejected != 0 {
			t.Errorf("ejected %d times: its handler was slow, and its node answered", ejected)
		}
		if _, err := long.Await(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Two instances of four that fail are left out, and no more.
func TestHalfOfTheInstancesAtMost(t *testing.T) {
	withCrew(t, func(t *testing.T, c *crew) {
		for i := range 4 {
			c.works[i].Store(int64(10 * time.Minute))
			for range 9 {
				actor.Ask(t.Context(), c.nodes[i].Ref("worker"), Toil{})
				synctest.Wait()
			}
		}
		for range 100 {
			_, err := actor.Call(t.Context(), c.client.Service("crew"), Toil{}, rpc.WithRetry(rpc.Retry{Attempts: 1}))
			wantErr(t, "all are full", err, rpc.Overloaded, rpc.NotRun)
		}
		if ejected, back := c.changes(); ejected != 2 || back != 0 {
			t.Errorf("ejected %d, back %d", ejected, back)
		}
	}, small(8, mailbox.Refuse))
}

// Whatever comes of what is sent to a service, the picker learns that it is over.
func TestNothingStaysUnderWay(t *testing.T) {
	withCrew(t, func(t *testing.T, c *crew) {
		step := make(chan string, 1000)
		kind := actor.Define("test.all", func() Renderer { return Renderer{step} }, actor.Answer(Renderer.Render),
			actor.Handle(func(Renderer, *actor.Context, Deposit) error { return nil }),
			actor.Produce(func(_ Renderer, _ *actor.Context, m Items) (iter.Seq2[Item, error], error) {
				return func(yield func(Item, error) bool) {
					for i := 0; yield(Item{N: i}, nil); i++ {
					}
				}, nil
			}))
		for i, sys := range append(c.nodes, c.client) {
			spawn(t, sys, fmt.Sprint("all", i), kind, actor.Expose("all"), small(2, mailbox.Refuse))
		}
		synctest.Wait()
		svc := c.client.Service("all")
		once := rpc.WithRetry(rpc.Retry{Attempts: 1})
		under := func(what string, want int) {
			t.Helper()
			synctest.Wait()
			if n, instances := actor.UnderWay(c.client, "all"); n != want || instances != 5 {
				t.Errorf("%s: %d under way at %d instances, want %d", what, n, instances, want)
			}
		}
		for range 20 {
			step <- "!"
			if _, err := actor.Call(t.Context(), svc, Render{}); err != nil {
				t.Fatal(err)
			}
		}
		under("calls", 0)
		for i := range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*200*time.Microsecond)
			_, err := actor.Call(ctx, svc, Render{}, once)
			if err == nil {
				t.Error("nobody answered")
			}
			cancel()
		}
		under("calls that ended with their contexts", 0)
		time.Sleep(time.Minute)
		for i := range 60 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i+1)*100*time.Microsecond)
			f := actor.Ask(ctx, svc, Render{}) // some are refused
			if i%2 == 0 {
				f.Cancel()
			}
			time.Sleep(time.Duration(i%3) * time.Millisecond)
			cancel()
		}
		time.Sleep(time.Minute)
		under("asks that were cancelled, refused, or ended with their contexts", 0)
		for range 20 {
			if err := actor.Tell(t.Context(), svc, Deposit{}); err != nil {
				t.Error(err)
			}
			if err := actor.Tell(t.Context(), svc, Deposit{}, rpc.Acked()); err != nil {
				t.Error(err)
			}
			wantErr(t, "a key", actor.Tell(t.Context(), svc, Deposit{}, rpc.Acked(), rpc.Key("k")), rpc.Invalid, rpc.NotRun)
			time.Sleep(time.Millisecond)
		}
		under("tells", 0)
		for range 5 {
			token, err := actor.Submit(t.Context(), svc, Render{})
			if err != nil {
				t.Fatal(err)
			}
			step <- "!"
			if _, err := token.Await(t.Context()); err != nil {
				t.Error(err)
			}
		}
		under("jobs", 0)
		var ends []func()
		for range 5 {
			next, stop := iter.Pull2(actor.Stream(t.Context(), svc, Items{}))
			if _, err, ok := next(); err != nil || !ok {
				t.Fatal(err)
			}
			ends = append(ends, stop)
		}
		under("streams that are open", 5)
		for _, end := range ends {
			end()
		}
		time.Sleep(time.Minute)
		under("streams that were left", 0)
		for _, sys := range c.nodes {
			sys.Stop(sys.Ref("all0")) // one of them
		}
		c.net.Partition("", "s1", "")
		for range 20 {
			_ = actor.Tell(t.Context(), svc, Deposit{})
			step <- "!"
			_, _ = actor.Call(t.Context(), svc, Render{})
		}
		time.Sleep(time.Minute)
		if n, instances := actor.UnderWay(c.client, "all"); n != 0 || instances != 4 {
			t.Errorf("after failures: %d under way at %d instances", n, instances)
		}
	})
}

// Items asks for a stream without end.
type Items struct{ actor.Streams[Item] }

// What did not run at one instance runs at another, whatever it was refused for, but for
// what all of them would say.
func TestNotRunGoesElsewhere(t *testing.T) {
	withCrew(t, func(t *testing.T, c *crew) {
		old := actor.Define("test.old", func() int { return 0 }, actor.Answer(func(int, *actor.Context, Say) (string, error) { return "old", nil }))
		sane := actor.Define("test.sane", func() int { return 0 }, actor.Answer(func(int, *actor.Context, Toil) (string, error) { return "new", nil }))
		spawn(t, c.nodes[0], "v", old, actor.Expose("versions"))
		spawn(t, c.nodes[1], "v", sane, actor.Expose("versions"))
		spawn(t, c.client, "v", old, actor.Expose("versions")) // on this node too
		synctest.Wait()
		svc := c.client.Service("versions")
		for range 20 {
			if v, err := actor.Call(t.Context(), svc, Toil{}); v != "new" || err != nil {
				t.Errorf("another version refuses it: %q, %v", v, err)
			}
			if v, err := actor.Ask(t.Context(), svc, Toil{}).Await(t.Context()); v != "new" || err != nil {
				t.Errorf("another version refuses it: %q, %v", v, err)
			}
		}
		if ejected, _ := c.changes(); ejected != 0 {
			t.Errorf("ejected %d times: they are sound", ejected)
		}
		_, err := actor.Call(t.Context(), svc, Toil{}, rpc.WithRetry(rpc.Retry{Attempts: 1}), rpc.Affinity("x"))
		if err != nil {
			wantErr(t, "one attempt only", err, rpc.Unhandled, rpc.NotRun)
		}
		_, err = actor.Call(t.Context(), svc, Toil{Key: strings.Repeat("x", 2<<20)})
		wantErr(t, "too large everywhere", err, rpc.TooLarge, rpc.NotRun)
	})
}

// An actor of a service that calls the service is not called itself.
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

// Calls to a service of which all instances are away wait for one, until their deadlines;
// those to one that never was do not.
func TestServiceAway(t *testing.T) {
	withCrew(t, func(t *testing.T, c *crew) {
		_, err := actor.Call(t.Context(), c.client.Service("nowhere"), Toil{})
		wantErr(t, "no such service", err, rpc.NotFound, rpc.NotRun)
		kind := c.kind(0)
		spawn(t, c.nodes[0], "lone", kind, actor.Expose("lone"))
		synctest.Wait()
		svc := c.client.Service("lone")
		if _, err := actor.Call(t.Context(), svc, Toil{}); err != nil {
			t.Fatal(err)
		}
		c.nodes[0].Stop(c.nodes[0].Ref("lone"))
		synctest.Wait()
		time.AfterFunc(5*time.Second, func() { spawn(t, c.nodes[2], "lone", kind, actor.Expose("lone")) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = actor.Call(ctx, svc, Toil{})
		wantErr(t, "until the deadline", err, rpc.Expired, rpc.NotRun)
		_, err = actor.Call(t.Context(), svc, Toil{}, rpc.WithRetry(rpc.Retry{Attempts: 1}))
		wantErr(t, "without a second attempt", err, rpc.Unavailable, rpc.NotRun)
		began := time.Now()
		if _, err := actor.Call(t.Context(), svc, Toil{}); err != nil || time.Since(began) > 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// Requests with one key go to one instance, and to one other while that is away.
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

// A node's weight, version and zone are in its record, and instances get by its weight.
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

// Each service has the policy that Config.Balance says.
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
