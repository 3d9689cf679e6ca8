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

// An id is known while its item is there, and for a while after.
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
