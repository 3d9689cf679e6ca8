package actor_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/queuestore"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
)

// Each misuse of a delivery is an error of its own, and changes nothing.
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
		all("a nacked one", d, actor.ErrLeaseExpired)
		again := pulls(t, q, []string{"2:2"}, now)[0]
		all("one that was delivered again", d, actor.ErrLeaseExpired)
		time.Sleep(10 * time.Second)
		all("one whose lease is over", again, actor.ErrLeaseExpired)
		last := pulls(t, q, []string{"2:3"}, now)[0]
		if err := last.Ack(ctx); err != nil {
			t.Error(err)
		}
		all("one that another has acked", again, actor.ErrDone)

		pushAll(t, other, nil, 3)
		d = pulls(t, other, []string{"3:1"}, now)[0]
		actor.Halt(b, other)
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

// If the mailbox is full when a lease ends, the timer is tried again, whatever the policy of
// the mailbox.
func TestLeaseEndsAtAFullMailbox(t *testing.T) {
	for _, policy := range []mailbox.Policy{mailbox.Block, mailbox.Refuse, mailbox.DropNewest} {
		bubble.Test(t, func(t *testing.T) {
			sys := newSystem(t, actor.Config{Logger: quiet})
			gate := make(chan struct{})
			kind := actor.Define("test.stuck", func() *actor.Offer[Work] { return actor.NewOffer[Work](queue.Config{Lease: time.Second}) },
				actor.Handle(func(*actor.Offer[Work], *actor.Context, Found) error { <-gate; return nil }),
				actor.ServePull(func(o *actor.Offer[Work]) *actor.Offer[Work] { return o }),
				actor.ServePush(func(o *actor.Offer[Work]) *actor.Offer[Work] { return o }))
			q := spawn(t, sys, "jobs", kind, small(1, policy))
			pushAll(t, q, nil, 1)
			pulls(t, q, []string{"1:1"})
			f := actor.Ask(t.Context(), q, actor.Dequeue[Work]{Op: queuestore.Pull, Max: 1, Wait: 20 * time.Second})
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

// An item that was delivered too often is a dead letter. Dead letters can be listed, revived
// and discarded.
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
		if d := dead[1]; d.Reason != queue.LeaseExpired || d.Age > 6*time.Second {
			t.Errorf("%+v", d)
		}
		if err := ds[1].Ack(ctx); !errors.Is(err, actor.ErrLeaseExpired) {
			t.Errorf("ack of a dead one: %v", err)
		}
		pushAll(t, q, []actor.PushOption{actor.PushID("one")}, 99) // adds nothing, because its id is still known
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
