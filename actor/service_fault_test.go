package actor_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
)

// One of four instances is dead, silent, cut off from one road, much slower, or refuses its
// requests. Of 1,000 calls, at most two are slow and none fails.
func TestOneBadInstance(t *testing.T) {
	for _, row := range []struct {
		name    string
		befalls func(t *testing.T, c *crew) // what happens to s1
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
			time.Sleep(time.Second) // until the others know that its links are down
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

// If an instance is busy for a long time, no caller waits for it while other instances are
// idle.
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

// Of four instances that fail, two are ejected, and no more.
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

// A request that did not run at one instance is retried at another, whatever the reason,
// unless every instance would refuse it.
func TestNotRunGoesElsewhere(t *testing.T) {
	withCrew(t, func(t *testing.T, c *crew) {
		old := actor.Define("test.old", func() int { return 0 }, actor.Answer(func(int, *actor.Context, Say) (string, error) { return "old", nil }))
		sane := actor.Define("test.sane", func() int { return 0 }, actor.Answer(func(int, *actor.Context, Toil) (string, error) { return "new", nil }))
		spawn(t, c.nodes[0], "v", old, actor.Expose("versions"))
		spawn(t, c.nodes[1], "v", sane, actor.Expose("versions"))
		spawn(t, c.client, "v", old, actor.Expose("versions")) // on this node, too
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

// If all instances of a service are away, calls wait for one until their deadlines. Calls to
// a service that has never existed do not wait.
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
		actor.Halt(c.nodes[0], c.nodes[0].Ref("lone"))
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
