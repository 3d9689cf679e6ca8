package actor_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Work is what the queues of these tests hold.
type Work struct{ N int }

func queueKind(cfg queue.Config) *actor.Kind { return actor.QueueKind[Work]("test.queue", cfg) }

// pushAll pushes Works of these numbers.
func pushAll(t testing.TB, q actor.Ref, opts []actor.PushOption, numbers ...int) {
	t.Helper()
	for _, n := range numbers {
		if err := actor.Push(t.Context(), q, Work{n}, opts...); err != nil {
			t.Fatalf("push %d: %v", n, err)
		}
	}
}

// pulls pulls and checks which Works come, as "number:attempt".
func pulls(t testing.TB, q actor.Ref, want []string, opts ...actor.PullOption) []actor.Delivery[Work] {
	t.Helper()
	ds, err := actor.Pull[Work](t.Context(), q, opts...)
	if err != nil {
		t.Fatal(err)
	}
	if got := show(ds); !slices.Equal(got, want) {
		t.Fatalf("pulled %v, want %v", got, want)
	}
	return ds
}

func show(ds []actor.Delivery[Work]) (all []string) {
	for _, d := range ds {
		all = append(all, fmt.Sprint(d.Message.N, ":", d.Attempt))
	}
	return all
}

func stats(t testing.TB, q actor.Ref) queue.Stats {
	t.Helper()
	s, err := actor.QueueStats[Work](t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// now is a Pull that does not wait.
var now = actor.Wait(0)

func TestQueue(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		q := bind(spawn(t, b, "jobs", queueKind(queue.Config{})))
		ctx := t.Context()
		pushAll(t, q, nil, 1, 2, 3)
		pushAll(t, q, []actor.PushOption{actor.Priority(1)}, 4)
		pushAll(t, q, []actor.PushOption{actor.PushID("x")}, 5, 5)
		pushAll(t, q, []actor.PushOption{actor.Delay(time.Minute)}, 6)

		ds := pulls(t, q, []string{"4:1", "1:1"}, actor.Max(2), now)
		if ds[0].Lease <= 29*time.Second || ds[0].Lease > 30*time.Second || ds[0].Priority != 1 {
			t.Errorf("%+v", ds[0])
		}
		if err := ds[0].Ack(ctx); err != nil {
			t.Error(err)
		}
		if err := ds[1].Nack(ctx, 0); err != nil {
			t.Error(err)
		}
		ds = pulls(t, q, []string{"1:2", "2:1", "3:1", "5:1"}, actor.Max(100))
		if ds[3].ID != "x" || ds[0].ID == "" || ds[0].ID == ds[1].ID {
			t.Errorf("ids %q, %q, %q", ds[0].ID, ds[1].ID, ds[3].ID)
		}
		pulls(t, q, nil, now)
		if err := ds[0].Extend(ctx, 45*time.Second); err != nil {
			t.Error(err)
		}
		if err := actor.AckAll(ctx, ds[1:3]); err != nil {
			t.Error(err)
		}
		began := time.Now()
		ds = pulls(t, q, []string{"5:2"}, actor.Max(100), actor.Wait(40*time.Second)) // its lease ends
		if err := ds[0].Ack(ctx); err != nil {
			t.Error(err)
		}
		pulls(t, q, []string{"1:3"}, actor.Max(100))
		pulls(t, q, []string{"6:1"}, actor.Max(100))
		if took := time.Since(began); took < 59*time.Second || took > 61*time.Second {
			t.Errorf("the delayed item came after %v", took)
		}
		if s := stats(t, q); s.Pushed != 6 || s.Duplicates != 1 || s.Lapsed < 2 {
			t.Errorf("%+v", s)
		}
	})
}

// A pull that waits gets what is pushed, at once; one for which nothing comes ends
// empty; and one whose caller gives up takes nothing.
func TestPullWaits(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		q := bind(spawn(t, b, "jobs", queueKind(queue.Config{})))
		time.AfterFunc(7*time.Second, func() { pushAll(t, q, nil, 1) })
		began := time.Now()
		ds := pulls(t, q, []string{"1:1"}, actor.Max(4))
		if took := time.Since(began); took < 7*time.Second || took > 8*time.Second {
			t.Errorf("after %v", took)
		}
		if err := ds[0].Ack(t.Context()); err != nil {
			t.Error(err)
		}

		began = time.Now()
		pulls(t, q, nil)
		if took := time.Since(began); took < 30*time.Second || took > 31*time.Second {
			t.Errorf("empty after %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began = time.Now()
		if ds, err := actor.Pull[Work](ctx, q); err != nil || len(ds) != 0 || time.Since(began) > 5*time.Second {
			t.Errorf("within a deadline: %v, %v after %v", ds, err, time.Since(began))
		}

		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err := actor.Pull[Work](ctx, q)
		if rpc.CodeOf(err) != rpc.Canceled {
			t.Errorf("cancelled: %v", err)
		}
		time.Sleep(time.Second)
		pushAll(t, q, nil, 2)
		pulls(t, q, []string{"2:1"}, now)
		if s := stats(t, q); s.Waiting != 0 || s.InFlight != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// Every misuse of a delivery is an error of its own, and nothing changes.
func TestDeliveryMisuse(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		q := bind(spawn(t, b, "jobs", queueKind(queue.Config{Lease: 10 * time.Second})))
		other := bind(spawn(t, b, "other", queueKind(queue.Config{})))
		ctx := t.Context()
		is := func(what string, err, want error) {
			t.Helper()
			if !errors.Is(err, want) || rpc.Ran(err) != rpc.HasRun || rpc.CodeOf(err) != rpc.Failed {
				t.Errorf("%s: %v, ran: %v", what, err, rpc.Ran(err))
			}
		}
		all := func(what string, d actor.Delivery[Work], want error) {
			t.Helper()
			is("ack "+what, d.Ack(ctx), want)
			is("nack "+what, d.Nack(ctx, 0), want)
			is("extend "+what, d.Extend(ctx, time.Second), want)
			is("ack all "+what, actor.AckAll(ctx, []actor.Delivery[Work]{d, d}), want)
		}
		pushAll(t, q, nil, 1)
		d := pulls(t, q, []string{"1:1"}, now)[0]
		for what, err := range map[string]error{"negative delay": d.Nack(ctx, -1), "no lease": d.Extend(ctx, 0),
			"too long": d.Extend(ctx, queue.MaxLease+1), "negative push delay": actor.Push(ctx, q, Work{}, actor.Delay(-1)), "long id": actor.Push(ctx, q, Work{}, actor.PushID(strings.Repeat("x", 256)))} {
			wantErr(t, what, err, rpc.Invalid, rpc.NotRun)
		}
		for _, opts := range [][]actor.PullOption{{actor.Max(0)}, {actor.Wait(-1)}} {
			_, err := actor.Pull[Work](ctx, q, opts...)
			wantErr(t, "pull", err, rpc.Invalid, rpc.NotRun)
		}
		if err := d.Ack(ctx); err != nil {
			t.Error(err)
		}
		all("an acked one", d, actor.ErrDone)

		pushAll(t, q, nil, 2)
		d = pulls(t, q, []string{"2:1"}, now)[0]
		if err := d.Nack(ctx, 0); err != nil {
			t.Error(err)
		}
		all("a nacked one", d, actor.ErrLapsed)
		again := pulls(t, q, []string{"2:2"}, now)[0]
		all("one that was delivered again", d, actor.ErrLapsed)
		time.Sleep(10 * time.Second)
		all("one whose lease is over", again, actor.ErrLapsed)
		last := pulls(t, q, []string{"2:3"}, now)[0]
		if err := last.Ack(ctx); err != nil {
			t.Error(err)
		}
		all("one that another has acked", again, actor.ErrDone)

		pushAll(t, other, nil, 3)
		d = pulls(t, other, []string{"3:1"}, now)[0]
		b.Stop(other)
		synctest.Wait()
		wantErr(t, "ack to no queue", d.Ack(ctx), rpc.NotFound, rpc.NotRun)
		bind(spawn(t, b, "other", queueKind(queue.Config{})))
		all("one of a queue that was started anew", d, actor.ErrForeign)

		var none actor.Delivery[Work]
		wantErr(t, "ack of no delivery", none.Ack(ctx), rpc.Invalid, rpc.NotRun)
		if _, err := actor.Pull[string](ctx, q); rpc.CodeOf(err) != rpc.Unhandled || rpc.Ran(err) != rpc.NotRun {
			t.Errorf("pull of another type: %v", err)
		}
	})
}

// Priorities, and within one the order of the pushes; what comes back is in front.
func TestQueueOrder(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		q := bind(spawn(t, b, "jobs", queueKind(queue.Config{})))
		for n := range 9 {
			pushAll(t, q, []actor.PushOption{actor.Priority(n % 3)}, n)
		}
		ds := pulls(t, q, []string{"2:1", "5:1", "8:1", "1:1", "4:1", "7:1"}, actor.Max(6))
		for _, i := range []int{5, 4, 1} {
			if err := ds[i].Nack(t.Context(), 0); err != nil {
				t.Error(err)
			}
		}
		pulls(t, q, []string{"5:2", "4:2", "7:2", "0:1", "3:1", "6:1"}, actor.Max(100))
	})
}

// Consumers that wait are served in turn, and none gets what another waits for.
func TestQueueFair(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		q := bind(spawn(t, b, "jobs", queueKind(queue.Config{})))
		const consumers, rounds = 5, 8
		type got struct{ who, n int }
		ch := make(chan got, consumers*rounds)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for who := range consumers {
			all.Go(func() {
				for {
					ds, err := actor.Pull[Work](ctx, q, actor.Max(16))
					if err != nil {
						return
					}
					for _, d := range ds {
						if err := d.Ack(ctx); err != nil {
							t.Error(err)
						}
						ch <- got{who, d.Message.N}
					}
				}
			})
			time.Sleep(time.Millisecond) // they wait in this order
		}
		counts := map[int]int{}
		for n := range consumers * rounds {
			pushAll(t, q, nil, n)
			g := <-ch
			time.Sleep(time.Second) // who was served waits again
			counts[g.who]++
			if g.who != n%consumers {
				t.Errorf("item %d went to consumer %d", n, g.who)
			}
		}
		if len(counts) != consumers {
			t.Errorf("served: %v", counts)
		}
		cancel()
		all.Wait()
	})
}

// What was delivered too often is a dead letter: listed, revived or discarded.
func TestDeadItems(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		q := bind(spawn(t, b, "jobs", queueKind(queue.Config{Attempts: 2, Lease: 10 * time.Second, Capacity: 2})))
		ctx := t.Context()
		list := func(want ...int) (all []actor.DeadItem[Work]) {
			t.Helper()
			all, err := actor.DeadItems[Work](ctx, q, actor.Max(10))
			var got []int
			for _, d := range all {
				got = append(got, d.Message.N)
			}
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("dead: %v, %v; want %v", got, err, want)
			}
			return all
		}
		pushAll(t, q, []actor.PushOption{actor.PushID("one"), actor.Priority(7)}, 1)
		pushAll(t, q, nil, 2)
		for _, d := range pulls(t, q, []string{"1:1", "2:1"}, actor.Max(2)) {
			if err := d.Nack(ctx, 0); err != nil {
				t.Error(err)
			}
		}
		list()
		ds := pulls(t, q, []string{"1:2", "2:2"}, actor.Max(2))
		if err := ds[0].Nack(ctx, time.Hour); err != nil {
			t.Error(err)
		}
		time.Sleep(15 * time.Second)
		dead := list(1, 2)
		if d := dead[0]; d.ID != "one" || d.Attempts != 2 || d.Priority != 7 || d.Reason != queue.Nacked || d.Age < 15*time.Second {
			t.Errorf("%+v", d)
		}
		if d := dead[1]; d.Reason != queue.Lapsed || d.Age > 6*time.Second {
			t.Errorf("%+v", d)
		}
		if err := ds[1].Ack(ctx); !errors.Is(err, actor.ErrLapsed) {
			t.Errorf("ack of a dead one: %v", err)
		}
		pushAll(t, q, []actor.PushOption{actor.PushID("one")}, 99) // its id is still known
		pushAll(t, q, nil, 3, 4)
		wantErr(t, "revive into a full queue", dead[0].Revive(ctx), rpc.Overloaded, rpc.NotRun)
		for _, d := range pulls(t, q, []string{"3:1", "4:1"}, actor.Max(2), now) {
			if err := d.Ack(ctx); err != nil {
				t.Error(err)
			}
		}
		if err := dead[0].Revive(ctx); err != nil {
			t.Error(err)
		}
		if err := dead[1].Discard(ctx); err != nil {
			t.Error(err)
		}
		for _, err := range []error{dead[0].Revive(ctx), dead[0].Discard(ctx), dead[1].Revive(ctx)} {
			if !errors.Is(err, actor.ErrDone) || rpc.Ran(err) != rpc.HasRun {
				t.Error(err)
			}
		}
		list()
		pulls(t, q, []string{"1:1"}, now)
	})
}

// At the limit and beyond: of the queue, of its line, and of what a reply may hold.
func TestQueueLimits(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		ctx := t.Context()
		q := bind(spawn(t, b, "jobs", queueKind(queue.Config{Capacity: 3, Waiters: 2})))
		ctx, cancel := context.WithCancel(ctx)
		var waiting []<-chan error
		for range 2 {
			ch := make(chan error, 1)
			waiting = append(waiting, ch)
			go func() { _, err := actor.Pull[Work](ctx, q); ch <- err }()
		}
		time.Sleep(time.Second)
		_, err := actor.Pull[Work](t.Context(), q, actor.Wait(time.Second))
		wantErr(t, "a third in line", err, rpc.Overloaded, rpc.NotRun)
		cancel()
		for _, ch := range waiting {
			<-ch
		}
		time.Sleep(time.Second)

		ctx = t.Context()
		pushAll(t, q, nil, 1, 2, 3)
		wantErr(t, "push into the full queue", actor.Push(ctx, q, Work{4}), rpc.Overloaded, rpc.NotRun)
		ds := pulls(t, q, []string{"1:1"}, now) // what is in flight counts
		wantErr(t, "push into the full queue", actor.Push(ctx, q, Work{4}), rpc.Overloaded, rpc.NotRun)
		time.AfterFunc(60*time.Millisecond, func() {
			if err := ds[0].Ack(ctx); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(100 * time.Millisecond)
		pushAll(t, q, nil, 5)

		dead := letters(t, b)
		q = bind(spawn(t, b, "drops", queueKind(queue.Config{Capacity: 2, Policy: queue.DropOldest})))
		pushAll(t, q, nil, 1)
		pushAll(t, q, []actor.PushOption{actor.Priority(1)}, 2)
		pushAll(t, q, nil, 3)
		wantErr(t, "what is there goes before", actor.Push(ctx, q, Work{4}, actor.Priority(-1)), rpc.Overloaded, rpc.NotRun)
		pulls(t, q, []string{"2:1", "3:1"}, actor.Max(9))
		if got := dead(); len(got) != 1 || got[0].Type != "actor_test.Work" || !isOverloaded(got[0].Reason) {
			t.Errorf("dead letters: %v", got)
		}
		if s := stats(t, q); s.Dropped != 1 || s.Refused == 0 {
			t.Errorf("%+v", s)
		}
	})
}

// Items that are more than a message can take come in several.
func TestPullOfLargeItems(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		spawn(t, b, "texts", actor.QueueKind[string]("test.texts", queue.Config{}))
		q := a.Ref("texts@b")
		text := strings.Repeat("x", 90<<10)
		for range 12 {
			if err := actor.Push(t.Context(), q, text); err != nil {
				t.Fatal(err)
			}
		}
		total := 0
		for total < 12 {
			ds, err := actor.Pull[string](t.Context(), q, actor.Max(100), now)
			if err != nil || len(ds) == 0 || len(ds) > 3 {
				t.Fatalf("%d items, %v", len(ds), err)
			}
			for _, d := range ds {
				if d.Attempt != 1 || d.Message != text {
					t.Errorf("attempt %d", d.Attempt)
				}
			}
			if err := actor.AckAll(t.Context(), ds); err != nil {
				t.Error(err)
			}
			total += len(ds)
		}
	})
}

// Crawler is an actor of an application's that offers items of its own.
type Crawler struct{ pages *actor.Offer[Work] }
type Found struct{ N int }

func (c *Crawler) Found(ctx *actor.Context, m Found) error {
	return c.pages.Push(ctx, Work(m), actor.PushID(fmt.Sprint(m.N)))
}
func (c *Crawler) Crash(*actor.Context, Crash) (int, error) { panic("crash") }

var CrawlerKind = actor.Define("test.crawler",
	func() *Crawler { return &Crawler{actor.NewOffer[Work](queue.Config{})} },
	actor.Handle((*Crawler).Found),
	actor.Answer((*Crawler).Crash),
	actor.Offers(func(c *Crawler) *actor.Offer[Work] { return c.pages }))

func TestOffer(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		c := bind(spawn(t, b, "crawler", CrawlerKind))
		time.AfterFunc(time.Second, func() {
			for _, n := range []int{1, 1, 2} {
				if err := actor.Tell(t.Context(), c, Found{n}); err != nil {
					t.Error(err)
				}
			}
		})
		d := pulls(t, c, []string{"1:1"}, actor.Max(9))[0]
		pulls(t, c, []string{"2:1"}, actor.Max(9))
		wantErr(t, "a push from elsewhere", actor.Push(t.Context(), c, Work{3}), rpc.Unhandled, rpc.NotRun)
		if _, err := actor.Call(t.Context(), c, Crash{}); rpc.CodeOf(err) != rpc.Panicked {
			t.Error(err)
		}
		if err := d.Ack(t.Context()); !errors.Is(err, actor.ErrForeign) {
			t.Errorf("a delivery from before the panic: %v", err)
		}
		pulls(t, c, nil, now)
	})
}

// A service of queues: what was pulled from one goes back to that one.
func TestQueueService(t *testing.T) {
	world(t, []string{"direct", "bus"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
		for _, sys := range []*actor.System{a, b} {
			spawn(t, sys, "jobs", queueKind(queue.Config{}), actor.Expose("jobs"))
		}
		time.Sleep(time.Second)
		q := a.Service("jobs")
		pushAll(t, q, nil, 1, 2, 3, 4)
		var ds []actor.Delivery[Work]
		for len(ds) < 4 {
			more, err := actor.Pull[Work](t.Context(), q, actor.Max(1), now)
			if err != nil {
				t.Fatal(err)
			}
			ds = append(ds, more...)
		}
		if err := ds[0].Ack(t.Context()); err != nil {
			t.Error(err)
		}
		if err := actor.AckAll(t.Context(), ds[1:]); err != nil {
			t.Error(err)
		}
		for _, sys := range []*actor.System{a, b} {
			if s := stats(t, sys.Ref("jobs")); s.Acked != 2 || s.InFlight != 0 {
				t.Errorf("%s: %+v", sys.Name(), s)
			}
		}
	})
}

// A timer that finds the mailbox full comes again, whatever the mailbox's policy.
func TestLeaseEndsAtAFullMailbox(t *testing.T) {
	for _, policy := range []mailbox.Policy{mailbox.Block, mailbox.Refuse, mailbox.DropNewest} {
		bubble.Test(t, func(t *testing.T) {
			sys := newSystem(t, actor.Config{Logger: quiet})
			gate := make(chan struct{})
			kind := actor.Define("test.stuck", func() *actor.Offer[Work] { return actor.NewOffer[Work](queue.Config{Lease: time.Second}) },
				actor.Handle(func(*actor.Offer[Work], *actor.Context, Found) error { <-gate; return nil }),
				actor.Offers(func(o *actor.Offer[Work]) *actor.Offer[Work] { return o }),
				actor.TakesIn(func(o *actor.Offer[Work]) *actor.Offer[Work] { return o }))
			q := spawn(t, sys, "jobs", kind, small(1, policy))
			pushAll(t, q, nil, 1)
			pulls(t, q, []string{"1:1"})
			f := actor.Ask(t.Context(), q, actor.Dequeue[Work]{Op: actor.OpPull, Max: 1, Wait: 20 * time.Second})
			synctest.Wait()
			for range 2 { // one is handled, one fills the mailbox
				if err := actor.Tell(t.Context(), q, Found{}); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
			time.Sleep(5 * time.Second)
			close(gate)
			began := time.Now()
			r, err := f.Await(t.Context())
			if err != nil || len(r.Items) != 1 || r.Items[0].Attempt != 2 || time.Since(began) > time.Second {
				t.Errorf("%v: %+v, %v after %v", policy, r, err, time.Since(began))
			}
		})
	}
}

// A shutdown does not wait for pulls in line, and they end without an error.
func TestShutdownEndsPulls(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		q := bind(spawn(t, b, "jobs", queueKind(queue.Config{})))
		done := make(chan error, 2)
		for range 2 {
			go func() {
				ds, err := actor.Pull[Work](t.Context(), q)
				if len(ds) != 0 {
					t.Error(ds)
				}
				done <- err
			}()
		}
		time.Sleep(time.Second)
		began := time.Now()
		if err := b.Shutdown(t.Context()); err != nil || time.Since(began) > 6*time.Second { // the linger included
			t.Errorf("%v after %v", err, time.Since(began))
		}
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

// Nor does a pull hang in the line of an actor that stops, or restarts after a panic.
func TestPullsEndWithTheActor(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		for what, end := range map[string]func(actor.Ref){
			"stop":  func(c actor.Ref) { b.Stop(b.Ref("crawler")) },
			"panic": func(c actor.Ref) { _, _ = actor.Call(t.Context(), c, Crash{}) },
		} {
			c := bind(spawn(t, b, "crawler", CrawlerKind))
			f := actor.Ask(t.Context(), c, actor.Dequeue[Work]{Op: actor.OpPull, Max: 1, Wait: 20 * time.Second}, rpc.WithRetry(rpc.Retry{Attempts: 1}))
			time.Sleep(time.Second)
			began := time.Now()
			end(c)
			_, err := f.Await(t.Context())
			wantErr(t, what, err, rpc.Unavailable, rpc.NotRun)
			if took := time.Since(began); took > time.Second {
				t.Errorf("%s: after %v", what, took)
			}
			b.Stop(b.Ref("crawler"))
			synctest.Wait()
		}
	})
}

// A push that meets a pull whose caller has just given up: the item is not lost with it,
// nor was that an attempt.
func TestPushMeetsAPullGivenUp(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		entered, leave := make(chan struct{}), make(chan struct{})
		self := func(o *actor.Offer[Work]) *actor.Offer[Work] { return o }
		q := bind(spawn(t, b, "jobs", actor.Define("test.plugged", func() *actor.Offer[Work] { return actor.NewOffer[Work](queue.Config{}) },
			actor.Handle(func(*actor.Offer[Work], *actor.Context, Found) error { close(entered); <-leave; return nil }),
			actor.Offers(self), actor.TakesIn(self))))
		ctx, cancel := context.WithCancel(t.Context())
		given := make(chan error, 1)
		go func() { _, err := actor.Pull[Work](ctx, q); given <- err }()
		time.Sleep(time.Second)
		if err := actor.Tell(t.Context(), q, Found{}); err != nil {
			t.Fatal(err)
		}
		<-entered
		pushed := make(chan error, 1)
		go func() { pushed <- actor.Push(t.Context(), q, Work{1}) }()
		time.Sleep(time.Second) // it is in the mailbox
		cancel()
		<-given
		time.Sleep(time.Second) // and the cancel has reached the pull
		close(leave)
		if err := <-pushed; err != nil {
			t.Fatal(err)
		}
		pulls(t, q, []string{"1:1"}, now)
		if s := stats(t, q); s.Waiting != 0 || s.Deliveries != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// What has no name on the wire stays on its node.
func TestPushWithoutAName(t *testing.T) {
	world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
		type nameless = struct{ N int }
		q := spawn(t, b, "jobs", actor.QueueKind[nameless]("test.nameless", queue.Config{}))
		if err := actor.Push(t.Context(), q, nameless{1}); err != nil {
			t.Error(err)
		}
		wantErr(t, "push", actor.Push(t.Context(), a.Ref("jobs@b"), nameless{1}), rpc.Invalid, rpc.NotRun)
		_, err := actor.Pull[nameless](t.Context(), a.Ref("jobs@b"))
		wantErr(t, "pull", err, rpc.Invalid, rpc.NotRun)
	})
}

// An item that cannot be sent to another node is an error there, and becomes a dead
// letter: it is in nobody's way for ever.
func TestPullOfWhatCannotBeSent(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		q := spawn(t, b, "jobs", actor.QueueKind[[]any]("test.any", queue.Config{Attempts: 2}))
		for _, v := range []any{make(chan int), "fine"} {
			if err := actor.Push(t.Context(), q, []any{v}); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			_, err := actor.Pull[[]any](t.Context(), a.Ref("jobs@b"), actor.Max(9))
			if rpc.Ran(err) != rpc.HasRun {
				t.Errorf("pull: %v", err)
			}
		}
		ds, err := actor.Pull[[]any](t.Context(), a.Ref("jobs@b"), actor.Max(9))
		if err != nil || len(ds) != 1 || ds[0].Message[0] != "fine" {
			t.Errorf("%v, %v", ds, err)
		}
		dead, err := actor.DeadItems[[]any](t.Context(), q)
		if err != nil || len(dead) != 1 || dead[0].Attempts != 2 {
			t.Errorf("%v, %v", dead, err)
		}
	})
}

func TestQueueKindOfABadConfig(t *testing.T) {
	for what, define := range map[string]func(){
		"QueueKind": func() { actor.QueueKind[Work]("x", queue.Config{Lease: -1}) },
		"NewOffer":  func() { actor.NewOffer[Work](queue.Config{Lease: -1}) },
	} {
		func() {
			defer func() {
				if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), "negative Lease") {
					t.Errorf("%s: %v", what, r)
				}
			}()
			define()
		}()
	}
}
