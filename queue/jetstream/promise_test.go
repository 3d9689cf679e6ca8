package jetstream_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// When a leader changes or a consumer at NATS is recreated, NATS may forget that an item was
// delivered, and deliver it to another actor. Nevertheless only the first Ack counts.
func TestOneAckCountsWhenDeliveriesAreForgotten(t *testing.T) {
	for _, order := range []string{"first acks first", "second acks first"} {
		t.Run(order, func(t *testing.T) {
			s := start(t, embedded.Config{})
			js := connect(t, s)
			a := spawn(t, system(t), connect(t, s), queue.Config{})
			b := spawn(t, system(t), connect(t, s), queue.Config{})
			push(t, a, 1)
			first := pull(t, a, []string{"1:1"})[0]
			stream, err := js.Stream(t.Context(), "tandem_queue_jobs")
			ok(t, err)
			consumer, err := stream.Consumer(t.Context(), "normal")
			ok(t, err)
			ok(t, stream.DeleteConsumer(t.Context(), "normal"))
			_, err = stream.CreateOrUpdateConsumer(t.Context(), consumer.CachedInfo().Config)
			ok(t, err)
			second := pull(t, b, []string{"1:1"})[0]
			acks := []actor.Delivery[Work]{first, second}
			if order == "second acks first" {
				acks[0], acks[1] = second, first
			}
			ok(t, acks[0].Ack(t.Context()))
			if err := acks[1].Ack(t.Context()); !errors.Is(err, actor.ErrDone) || rpc.Ran(err) != rpc.HasRun {
				t.Errorf("the other ack: %v, want ErrDone", err)
			}
			if n := stored(t, js); n != 0 {
				t.Errorf("%d items are left", n)
			}
		})
	}
}

// An item that is too large for NATS is refused at once, and did not run. An item that is not
// can become a dead letter too.
func TestPushTooLarge(t *testing.T) {
	s := start(t, embedded.Config{MaxPayload: 4096})
	q, err := system(t).Spawn("texts", textKind(t, connect(t, s), queue.Config{Attempts: 1, Lease: 5 * time.Second}))
	ok(t, err)
	began := time.Now()
	most := 0
	for n, step := 2048, 1024; step > 0; step /= 2 {
		err := actor.Push(t.Context(), q, Text{strings.Repeat("x", n)}, actor.PushID("one"))
		switch {
		case err == nil:
			most, n = n, n+step
			if n > 4096 {
				t.Fatal("beyond max_payload")
			}
			_, err := actor.PurgeQueue[Text](t.Context(), q)
			ok(t, err)
		case rpc.CodeOf(err) != rpc.TooLarge || rpc.Ran(err) != rpc.NotRun:
			t.Fatalf("%d bytes: %v", n, err)
		default:
			n -= step
		}
	}
	if took := time.Since(began); took > 8*time.Second || most == 0 {
		t.Errorf("%v for refusals; %d bytes at most", took, most)
	}
	err = actor.Push(t.Context(), q, Text{strings.Repeat("x", 5000)})
	if rpc.CodeOf(err) != rpc.TooLarge || rpc.Ran(err) != rpc.NotRun {
		t.Errorf("beyond max_payload: %v", err)
	}
	ok(t, actor.Push(t.Context(), q, Text{strings.Repeat("x", 4096-deadReserve-200)}, actor.PushID("large")))
	ds, err := actor.Pull[Text](t.Context(), q)
	ok(t, err)
	if len(ds) == 1 {
		ok(t, ds[0].Nack(t.Context(), 0))
	}
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		dead, err := actor.DeadItems[Text](t.Context(), q)
		ok(t, err)
		if len(dead) == 1 {
			ok(t, dead[0].Revive(t.Context()))
			break
		}
		if time.Since(began) > 20*time.Second {
			t.Fatal("an item close to max_payload never becomes a dead letter")
		}
	}
}

// deadReserve is the constant of the package.
const deadReserve = 256

type Text struct{ S string }

// The attempts of a delayed item count from when it is due, whether or not an actor had it
// before.
func TestDelayedAttempts(t *testing.T) {
	t.Parallel()
	q := spawn(t, system(t), connect(t, start(t, embedded.Config{})), queue.Config{Attempts: 3})
	ctx := t.Context()
	for _, early := range []bool{true, false} {
		push(t, q, 1, actor.Delay(time.Second))
		if early {
			pull(t, q, nil, actor.Wait(200*time.Millisecond))
		} else {
			time.Sleep(1100 * time.Millisecond)
		}
		for attempt := 1; attempt <= 3; attempt++ {
			d := pull(t, q, []string{fmt.Sprint("1:", attempt)})[0]
			ok(t, d.Nack(ctx, 0))
		}
		dead := waitDead(t, q, 1)
		if dead[0].Attempts != 3 {
			t.Errorf("%+v", dead[0])
		}
		ok(t, dead[0].Discard(ctx))
	}
}

// A delivery that is released does not count as an attempt, however many consumers do it, and
// whichever actor the item goes to then.
func TestReleaseIsNoAttempt(t *testing.T) {
	t.Parallel()
	s := start(t, embedded.Config{})
	cfg := queue.Config{Attempts: 2, Lease: 3 * time.Second}
	a, b := spawn(t, system(t), connect(t, s), cfg), spawn(t, system(t), connect(t, s), cfg)
	push(t, a, 1)
	for range 5 {
		ok(t, pull(t, a, []string{"1:1"})[0].Release(t.Context(), 0))
	}
	ok(t, pull(t, b, []string{"1:1"})[0].Release(t.Context(), 500*time.Millisecond)) // once the first actor has put it back
	d := pull(t, b, []string{"1:1"})[0]
	ok(t, d.Nack(t.Context(), 0))
	ok(t, pull(t, b, []string{"1:2"})[0].Ack(t.Context()))
	ok(t, d.Release(t.Context(), 0), actor.ErrDone)
}

// A push can report that the queue knew the id.
func TestPushSaysDuplicate(t *testing.T) {
	q := spawn(t, system(t), connect(t, start(t, embedded.Config{})), queue.Config{})
	var known bool
	for n, want := range []bool{false, true, true} {
		push(t, q, n, actor.PushID("x"), actor.Duplicate(&known))
		if known != want {
			t.Errorf("push %d: duplicate %v", n, known)
		}
	}
	push(t, q, 9, actor.Duplicate(&known))
	if known {
		t.Error("a push without an id is a duplicate")
	}
}

// Listing, cancelling, purging and pausing are about items that no consumer has.
func TestManage(t *testing.T) {
	t.Parallel()
	js := connect(t, start(t, embedded.Config{}))
	q := spawn(t, system(t), js, queue.Config{})
	ctx := t.Context()
	push(t, q, 0)
	d := pull(t, q, []string{"0:1"})[0]
	push(t, q, 4, actor.Delay(time.Hour))
	push(t, q, 1)
	push(t, q, 2)
	push(t, q, 3, actor.Priority(1), actor.PushID("three"))
	list := must(actor.WaitingItems[Work](ctx, q, actor.Max(9)))
	var got []string
	for _, w := range list {
		got = append(got, fmt.Sprint(w.Message.N, ":", w.Due.Round(time.Minute)))
	}
	if fmt.Sprint(got) != "[3:0s 1:0s 2:0s 4:1h0m0s]" || list[0].ID != "three" {
		t.Fatalf("listed %v", got)
	}
	if all := must(actor.WaitingItems[Work](ctx, q, actor.Max(2))); len(all) != 2 {
		t.Errorf("%d are listed, want 2", len(all))
	}
	ok(t, list[1].Cancel(ctx))
	ok(t, list[1].Cancel(ctx), actor.ErrDone)
	taken := pull(t, q, []string{"3:1"})[0]
	ok(t, list[0].Cancel(ctx), actor.ErrTaken)

	ok(t, actor.PauseQueue[Work](ctx, q))
	pull(t, q, nil, actor.Wait(300*time.Millisecond))
	if s := must(actor.QueueStats[Work](ctx, q)); !s.Paused {
		t.Errorf("%+v", s)
	}
	ok(t, taken.Ack(ctx))
	ok(t, actor.ResumeQueue[Work](ctx, q))
	ok(t, pull(t, q, []string{"2:1"})[0].Release(ctx, 0))
	if n := must(actor.PurgeQueue[Work](ctx, q)); n != 2 {
		t.Errorf("%d were purged, want 2", n)
	}
	ok(t, d.Ack(ctx))
	if n := stored(t, js); n != 0 {
		t.Errorf("%d items are left", n)
	}
	if s := must(actor.QueueStats[Work](ctx, q)); s.Paused || s.Depth+s.InFlight != 0 {
		t.Errorf("%+v", s)
	}
}
