package actor_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
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
			"too long": d.Extend(ctx, queue.MaxLease+1), "negative push delay": actor.Push(ctx, q, Work{}, actor.Delay(-1))} {
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

var _ = mailbox.Config{}
var _ = memnet.Config{}
