package actor_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
)

// A delivery that is released does not count as an attempt, however many consumers do it, so
// the item never becomes a dead letter by that.
func TestReleaseIsNoAttempt(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		q := bind(spawn(t, b, "jobs", queueKind(queue.Config{Attempts: 2})))
		pushAll(t, q, nil, 1, 2)
		for range 5 {
			if err := pulls(t, q, []string{"1:1"}, now)[0].Release(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
		}
		d := pulls(t, q, []string{"1:1"}, now)[0]
		if err := d.Release(t.Context(), 5*time.Second); err != nil {
			t.Fatal(err)
		}
		if err := d.Release(t.Context(), 0); !errors.Is(err, actor.ErrLeaseExpired) {
			t.Errorf("released twice: %v", err)
		}
		pulls(t, q, []string{"2:1"}, now)
		pulls(t, q, nil, now)
		began := time.Now()
		d = pulls(t, q, []string{"1:1"})[0]
		if took := time.Since(began); took < 4*time.Second || took > 6*time.Second {
			t.Errorf("delayed by %v", took)
		}
		if err := d.Nack(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		d = pulls(t, q, []string{"1:2"}, now)[0]
		if s := stats(t, q); s.Released != 6 || s.Nacked != 1 || s.Dead != 0 {
			t.Errorf("%+v", s)
		}
		wantErr(t, "negative delay", d.Release(t.Context(), -1), rpc.Invalid, rpc.NotRun)
	})
}

// A push can report that the queue knew the id.
func TestPushSaysDuplicate(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		q := bind(spawn(t, b, "jobs", queueKind(queue.Config{Capacity: 1})))
		var known bool
		for n, want := range []bool{false, true, true} {
			if err := actor.Push(t.Context(), q, Work{n}, actor.PushID("x"), actor.Duplicate(&known)); err != nil || known != want {
				t.Errorf("push %d: duplicate %v, %v, want %v", n, known, err, want)
			}
		}
	})
}

// Items that wait can be listed in the order in which they will be delivered. Each of them
// can be cancelled, unless a consumer has it.
func TestListAndCancelWhatWaits(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		q := bind(spawn(t, b, "jobs", queueKind(queue.Config{})))
		ctx := t.Context()
		pushAll(t, q, nil, 0)
		d := pulls(t, q, []string{"0:1"}, now)[0]
		pushAll(t, q, []actor.PushOption{actor.Delay(time.Hour)}, 4)
		pushAll(t, q, nil, 1, 2)
		pushAll(t, q, []actor.PushOption{actor.Priority(1), actor.PushID("three")}, 3)
		list := func(n int) (all []actor.WaitingItem[Work]) {
			t.Helper()
			all, err := actor.WaitingItems[Work](ctx, q, actor.Max(n))
			if err != nil {
				t.Fatal(err)
			}
			return all
		}
		var got []string
		all := list(9)
		for _, w := range all {
			got = append(got, fmt.Sprint(w.Message.N, w.Due.Round(time.Minute)))
		}
		if want := []string{"3 0s", "1 0s", "2 0s", "4 1h0m0s"}; !slices.Equal(got, want) || all[0].ID != "three" || all[0].Priority != 1 {
			t.Errorf("listed %v, want %v", got, want)
		}
		if all := list(2); len(all) != 2 {
			t.Errorf("%d are listed, want 2", len(all))
		}
		if err := errors.Join(all[1].Cancel(ctx), all[3].Cancel(ctx)); err != nil {
			t.Error(err)
		}
		if err := all[1].Cancel(ctx); !errors.Is(err, actor.ErrDone) {
			t.Errorf("cancelled twice: %v", err)
		}
		taken := pulls(t, q, []string{"3:1"}, now)[0]
		if err := all[0].Cancel(ctx); !errors.Is(err, actor.ErrTaken) || rpc.Ran(err) != rpc.HasRun {
			t.Errorf("cancelled what a consumer has: %v", err)
		}
		if err := errors.Join(taken.Ack(ctx), d.Ack(ctx)); err != nil {
			t.Error(err)
		}
		pulls(t, q, []string{"2:1"}, actor.Max(9), now)
		_, err := actor.WaitingItems[Work](ctx, q, actor.Max(0))
		wantErr(t, "no items", err, rpc.Invalid, rpc.NotRun)
	})
}

// A paused queue accepts pushes and acks, and delivers nothing. Consumers that wait are
// served when the pause ends.
func TestPause(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		q := bind(spawn(t, b, "jobs", queueKind(queue.Config{})))
		ctx := t.Context()
		pushAll(t, q, nil, 1)
		d := pulls(t, q, []string{"1:1"}, now)[0]
		if err := actor.PauseQueue[Work](ctx, q); err != nil {
			t.Fatal(err)
		}
		pushAll(t, q, nil, 2)
		pulls(t, q, nil, now)
		if err := d.Ack(ctx); err != nil {
			t.Error(err)
		}
		if s := stats(t, q); !s.Paused || s.Depth != 1 || s.Acked != 1 {
			t.Errorf("%+v", s)
		}
		resumed := make(chan error, 1)
		time.AfterFunc(7*time.Second, func() { resumed <- actor.ResumeQueue[Work](ctx, q) })
		began := time.Now()
		pulls(t, q, []string{"2:1"})
		if took := time.Since(began); took < 7*time.Second || took > 8*time.Second {
			t.Errorf("after %v", took)
		}
		if err := <-resumed; err != nil || stats(t, q).Paused {
			t.Error("still paused", err)
		}
	})
}

// A purge removes the items that wait, including delayed ones. Consumers keep the items that
// they have.
func TestPurge(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		q := bind(spawn(t, b, "jobs", queueKind(queue.Config{})))
		ctx := t.Context()
		pushAll(t, q, nil, 1, 2, 3)
		pushAll(t, q, []actor.PushOption{actor.Delay(time.Hour)}, 4)
		d := pulls(t, q, []string{"1:1"}, now)[0]
		if n, err := actor.PurgeQueue[Work](ctx, q); n != 3 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if err := d.Ack(ctx); err != nil {
			t.Error(err)
		}
		if s := stats(t, q); s.Depth+s.Delayed+s.InFlight != 0 || s.Cancelled != 3 {
			t.Errorf("%+v", s)
		}
	})
}
