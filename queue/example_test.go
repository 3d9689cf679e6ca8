package queue_test

import (
	"fmt"
	"time"

	"github.com/tandem-go/tandem/queue"
)

func ExampleQueue() {
	q, err := queue.New[string](queue.Config{Lease: time.Minute, Attempts: 2}, 1)
	if err != nil {
		panic(err)
	}
	now := time.Unix(0, 0)
	for _, it := range []queue.Item[string]{{Value: "b"}, {Value: "a", Priority: 1}, {Value: "c", ID: "17"}, {Value: "c", ID: "17"}} {
		if _, err := q.Push(now, it); err != nil {
			panic(err)
		}
	}
	for range 3 {
		for i, d := range q.Take(now, 2) {
			fmt.Print(d.Value, " attempt ", d.Attempt)
			if i == 1 {
				fmt.Println(", acked:", q.Ack(now, d.Token))
			} else {
				fmt.Println(", nobody says a word")
			}
		}
		now = now.Add(time.Minute)
	}
	q.Tick(now)
	for _, d := range q.DeadLetters(10) {
		fmt.Println(d.Value, "is dead:", d.Reason, "after", d.Attempts)
	}
	// Output:
	// a attempt 1, nobody says a word
	// b attempt 1, acked: <nil>
	// a attempt 2, nobody says a word
	// c attempt 1, acked: <nil>
	// a is dead: lapsed after 2
}

// An id is known while its item is in the queue, and for some time after that.
func ExampleQueue_Knows() {
	now := time.Now()
	q, err := queue.New[string](queue.Config{}, 1)
	if err != nil {
		panic(err)
	}
	fmt.Println(q.Knows(now, "build-17"))
	_, _ = q.Push(now, queue.Item[string]{Value: "a.go", ID: "build-17"})
	fmt.Println(q.Knows(now, "build-17"))
	// Output:
	// false
	// true
}

// A consumer that fails gives the item back. After the last attempt the item is a dead
// letter, which can be revived or discarded.
func ExampleQueue_Nack() {
	now := time.Unix(0, 0)
	cfg := queue.Config{Attempts: 1}
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	fmt.Println("a delivery has a lease of", cfg.WithDefaults().Lease)
	q, err := queue.New[string](cfg, 1)
	if err != nil {
		panic(err)
	}
	for _, v := range []string{"a", "b"} {
		if _, err := q.Push(now, queue.Item[string]{Value: v}); err != nil {
			panic(err)
		}
	}
	for _, d := range q.Take(now, 2) {
		fmt.Println(d.Value, q.Extend(now, d.Token, time.Minute), q.Nack(now, d.Token, 0))
	}
	for i, d := range q.DeadLetters(10) {
		if i == 0 {
			fmt.Println("revive", d.Value, q.Revive(now, d.Token))
		} else {
			fmt.Println("discard", d.Value, q.Discard(now, d.Token))
		}
	}
	d := q.Take(now, 1)[0]
	fmt.Println(d.Value, "again;", "released:", q.Release(now, d.Token, time.Second)) // not a failure
	st := q.Stats(now)
	fmt.Println(st.Dead, "dead,", st.Delayed, "delayed")
	// Output:
	// a delivery has a lease of 30s
	// a <nil> <nil>
	// b <nil> <nil>
	// revive a <nil>
	// discard b <nil>
	// a again; released: <nil>
	// 0 dead, 1 delayed
}

// Consumers wait for items. The queue knows no time but that which the caller passes.
func ExampleQueue_Wait() {
	now := time.Unix(0, 0)
	q, err := queue.New[string](queue.Config{}, 1)
	if err != nil {
		panic(err)
	}
	for id := range uint64(3) {
		if err := q.Wait(id, 2, now.Add(time.Second)); err != nil { // for up to 2 items, for a second
			panic(err)
		}
	}
	q.Leave(1) // this consumer does not wait any more
	fmt.Println("they would take", q.Credit(), "items")
	if _, err := q.Push(now, queue.Item[string]{Value: "a"}); err != nil {
		panic(err)
	}
	for _, s := range q.Serve(now) {
		fmt.Println("consumer", s.Waiter, "gets", s.Items[0].Value)
	}
	if at, ok := q.NextDue(); ok { // set a timer
		now = at
	}
	for _, s := range q.Serve(now) {
		fmt.Println("consumer", s.Waiter, "gets", len(s.Items), "items after", now.Sub(time.Unix(0, 0)))
	}
	// Output:
	// they would take 4 items
	// consumer 0 gets a
	// consumer 2 gets 0 items after 1s
}

// Items that no consumer has can be listed, cancelled and, during a pause, held back.
func ExampleQueue_Waiting() {
	now := time.Unix(0, 0)
	q, err := queue.New[string](queue.Config{}, 1)
	if err != nil {
		panic(err)
	}
	for _, v := range []string{"a", "b", "c"} {
		if _, err := q.Push(now, queue.Item[string]{Value: v}); err != nil {
			panic(err)
		}
	}
	q.Pause()
	fmt.Println(len(q.Take(now, 1)), "taken while it is paused")
	q.Resume()
	for _, w := range q.Waiting(1) {
		fmt.Println("cancel", w.Value, q.Cancel(now, w.Token))
	}
	fmt.Println(q.Purge(now), "purged")
	// Output:
	// 0 taken while it is paused
	// cancel a <nil>
	// 2 purged
}
