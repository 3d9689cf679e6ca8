package actor_test

// The queue that the tests use, and what they do with it.

import (
	"fmt"
	"slices"
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/queue"
)

// Work is the item of the queues in these tests.
type Work struct{ N int }

// queueKind returns the kind of a queue of Works.
func queueKind(cfg queue.Config) *actor.Kind { return actor.QueueKind[Work]("test.queue", cfg) }

// pushAll pushes Works with these numbers.
func pushAll(t testing.TB, q actor.Ref, opts []actor.PushOption, numbers ...int) {
	t.Helper()
	for _, n := range numbers {
		if err := actor.Push(t.Context(), q, Work{n}, opts...); err != nil {
			t.Fatalf("push %d: %v", n, err)
		}
	}
}

// pulls pulls once and checks what comes, written as "number:attempt".
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

// show returns the deliveries as "number:attempt".
func show(ds []actor.Delivery[Work]) (all []string) {
	for _, d := range ds {
		all = append(all, fmt.Sprint(d.Message.N, ":", d.Attempt))
	}
	return all
}

// stats returns the queue's own statistics.
func stats(t testing.TB, q actor.Ref) queue.Stats {
	t.Helper()
	s, err := actor.QueueStats[Work](t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// now makes a Pull return at once.
var now = actor.Wait(0)
