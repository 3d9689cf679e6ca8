package actor

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/internal/queuestore"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
)

// A consumer that knows its own deliveries, and knows how their tokens are made, cannot guess
// the token of another consumer's delivery.
func TestDeliveriesCannotBeGuessed(t *testing.T) {
	withGuests(t, func(t *testing.T, g guests) {
		ctx := t.Context()
		for n := range 8 {
			if err := Push(ctx, g.b.Ref("jobs"), n); err != nil {
				t.Fatal(err)
			}
		}
		var theirs, mine []Delivery[int]
		for range 4 {
			for s, to := range map[*System]*[]Delivery[int]{g.a: &theirs, g.c: &mine} {
				got, err := Pull[int](ctx, s.Ref("jobs@b"))
				if err != nil || len(got) != 1 {
					t.Fatal(got, err)
				}
				*to = append(*to, got...)
			}
		}
		var guesses [][3]uint64
		for _, d := range mine {
			for item := range uint64(12) {
				for lease := range uint64(12) {
					guesses = append(guesses, [3]uint64{d.held.token[0], item, lease}, [3]uint64{d.held.token[0], d.held.token[1] ^ item, d.held.token[2] ^ lease})
				}
			}
		}
		for _, op := range []queuestore.Op{queuestore.Ack, queuestore.Nack, queuestore.Release, queuestore.Extend} {
			var tokens [][3]uint64
			for _, guess := range guesses {
				own := false
				for _, d := range mine {
					own = own || d.held.token == guess
				}
				if !own {
					tokens = append(tokens, guess)
				}
			}
			reply, err := Call(ctx, g.c.Ref("jobs@b"), dequeue[int]{Op: op, Tokens: tokens, Delay: time.Millisecond})
			if err != nil || len(reply.Failed) != len(tokens) {
				t.Fatalf("op %d: %d of %d guesses did something, %v", op, len(tokens)-len(reply.Failed), len(tokens), err)
			}
			for _, f := range reply.Failed {
				if !errors.Is(failureError(f), ErrForeign) {
					t.Errorf("op %d: %v", op, failureError(f))
				}
			}
		}
		if err := AckAll(ctx, append(theirs, mine...)); err != nil {
			t.Errorf("their owners: %v", err)
		}
		if err := mine[0].Ack(ctx); !errors.Is(err, ErrDone) {
			t.Errorf("once more: %v", err)
		}
	})
}

// When a node has vanished, its pulls do not take places from other consumers, and they get
// no items. No pull waits longer than MaxWait, whatever it asks for.
func TestPullsOfAVanishedNode(t *testing.T) {
	withGuests(t, func(t *testing.T, g guests) {
		ctx := t.Context()
		if _, err := g.b.Spawn("short", QueueKind[int]("short", queue.Config{Waiters: 8})); err != nil {
			t.Fatal(err)
		}
		pull := func(s *System) *rpc.Future[dequeued[int]] {
			return Ask(ctx, s.Ref("short@b"), dequeue[int]{Op: queuestore.Pull, Wait: 1 << 50})
		}
		begun := time.Now()
		if reply, err := pull(g.c).Await(ctx); err != nil || len(reply.Items) > 0 || time.Since(begun) != MaxWait {
			t.Errorf("a pull without an end: %v after %v", err, time.Since(begun))
		}
		for range 8 {
			pull(g.c)
		}
		synctest.Wait()
		if _, err := pull(g.a).Await(ctx); rpc.CodeOf(err) != rpc.Overloaded {
			t.Errorf("a full line: %v", err)
		}
		if err := g.c.node.Close(); err != nil { // as if the node had crashed
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		f := pull(g.a)
		synctest.Wait()
		if err := Push(ctx, g.b.Ref("short"), 7); err != nil {
			t.Fatal(err)
		}
		reply, err := f.Await(ctx)
		if err != nil || len(reply.Items) != 1 || reply.Items[0].Attempt != 1 {
			t.Errorf("after they vanished: %+v, %v", reply, err)
		}
	})
	withGuests(t, func(t *testing.T, g guests) { // while there is room for more consumers
		Ask(t.Context(), g.c.Ref("jobs@b"), dequeue[int]{Op: queuestore.Pull, Wait: MaxWait})
		synctest.Wait()
		if err := g.c.node.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := Push(t.Context(), g.b.Ref("jobs"), 7); err != nil {
			t.Fatal(err)
		}
		if got, err := Pull[int](t.Context(), g.a.Ref("jobs@b"), Wait(0)); err != nil || len(got) != 1 || got[0].Attempt != 1 {
			t.Errorf("%v, %v", got, err)
		}
	})
}

// A Pull that is to wait longer than one request can is repeated, and ends when the queue
// ends.
func TestPullsWaitInTurns(t *testing.T) {
	withGuests(t, func(t *testing.T, g guests) {
		for _, s := range []*System{g.a, g.b} {
			begun := time.Now()
			var all sync.WaitGroup
			all.Go(func() {
				got, err := Pull[int](t.Context(), s.Ref("jobs@b"), Wait(5*MaxWait))
				if err != nil || len(got) != 1 || time.Since(begun) != 3*MaxWait+time.Second {
					t.Errorf("%v, %v after %v", got, err, time.Since(begun))
				}
				if err := AckAll(t.Context(), got); err != nil {
					t.Error(err)
				}
			})
			time.Sleep(3*MaxWait + time.Second)
			if err := Push(t.Context(), g.b.Ref("jobs"), 1); err != nil {
				t.Fatal(err)
			}
			all.Wait()
			begun = time.Now()
			if got, err := Pull[int](t.Context(), s.Ref("jobs@b"), Wait(2*MaxWait+time.Second)); err != nil || len(got) > 0 || time.Since(begun) != 2*MaxWait+time.Second {
				t.Errorf("%v, %v after %v", got, err, time.Since(begun))
			}
		}
	})
}
