package actor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport/memnet"
)

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
		if s := stats(t, q); s.Pushed != 6 || s.Duplicates != 1 || s.Expired < 2 {
			t.Errorf("%+v", s)
		}
	})
}

// Items are delivered by priority, and within a priority in the order of the pushes. An item
// that was given back comes before those that were not delivered yet.
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

// What happens at and beyond the limits of the queue, of the consumers that wait, and of the
// size of a reply.
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
		ds := pulls(t, q, []string{"1:1"}, now) // items that a consumer has count too
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

// Crawler is an actor of an application that serves a queue of its own items.
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
	actor.ServePull(func(c *Crawler) *actor.Offer[Work] { return c.pages }))

func TestServePull(t *testing.T) {
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

// Queues can form a service. A delivery goes back to the queue that it was pulled from.
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

// An item whose type has no name on the wire can be pushed on its own node. From another node
// it can be neither pushed nor pulled.
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
