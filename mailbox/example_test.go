package mailbox_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-go/tandem/mailbox"
)

func Example() {
	var box mailbox.Box[string]
	box.Init(&mailbox.Config{Capacity: 2, Policy: mailbox.DropOldest})
	for _, m := range []string{"one", "two", "three"} {
		put, err := box.Offer(m)
		if err != nil {
			panic(err)
		}
		if put.Wake {
			fmt.Println("start a consumer")
		}
		if put.HasDropped {
			fmt.Println("dropped", put.Dropped)
		}
	}
	for batch := box.Take(nil); batch != nil; batch = box.Take(batch) {
		fmt.Println("took", batch.Messages())
	}
	// Output:
	// start a consumer
	// dropped one
	// took [two three]
}

// A full box of policy Block: who can wait does so with Put, who cannot gets an error from
// Offer, and the reader of a link, which can do neither, adds it to the backlog behind the
// others.
func ExampleBox_Put() {
	cfg := mailbox.Config{Capacity: 1}
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	var box mailbox.Box[string]
	box.Init(&cfg)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, err := box.Put(ctx, "one")
	fmt.Println(err)
	_, err = box.Put(ctx, "two") // nobody takes anything
	fmt.Println(errors.Is(err, context.DeadlineExceeded))
	_, err = box.Offer("three")
	fmt.Println(errors.Is(err, mailbox.ErrFull), box.Blocks(), box.DropsNewest())
	_, err = box.Enqueue("four")
	fmt.Println(err, box.Len())

	rest, busy := box.Close() // what was accepted and nobody took
	fmt.Println(rest, busy)
	_, err = box.Offer("five")
	fmt.Println(errors.Is(err, mailbox.ErrClosed))
	// Output:
	// <nil>
	// true
	// true true false
	// <nil> 2
	// [one four] true
	// true
}

// A sealed box takes no more, and keeps what it has. Wake asks for a consumer without a message.
func ExampleBox_Seal() {
	var box mailbox.Box[string]
	box.Init(nil)
	fmt.Println(box.Wake(), box.Wake())
	box.Push("one")
	box.Seal()
	_, err := box.Offer("two")
	fmt.Println(errors.Is(err, mailbox.ErrClosed), box.Len())
	for batch := box.Take(nil); batch != nil; batch = box.Take(batch) {
		fmt.Println(batch.Messages())
	}
	fmt.Println(box.Wake())
	// Output:
	// true false
	// true 1
	// [one]
	// true
}

// Push and its kin are for the usual case, in which there is room.
func ExampleBox_Push() {
	var box mailbox.Box[string]
	box.Init(&mailbox.Config{Capacity: 4})
	wake, ok := box.Push("one")
	fmt.Println(wake, ok)
	_, n := box.PushAll([]string{"two", "three"}) // as many as there is room for
	fmt.Println(n)
	_, ok = box.PushWith(func(place *string) { *place = "four" }) // made in its place
	fmt.Println(ok)
	_, ok = box.Push("five")
	fmt.Println(ok)
	_, n = box.PushRow("six, seven", 2) // takes two places
	fmt.Println(n)
	for batch := box.Take(nil); batch != nil; batch = box.Take(batch) {
		for i, m := range batch.Messages() {
			fmt.Print(m, " ")
			batch.Messages()[i] = ""
		}
		fmt.Println(batch.IsLast())
		batch.Leave() // the places are clear already
	}
	// Output:
	// true true
	// 2
	// true
	// false
	// 0
	// one two three four true
}

// Messages that nobody wants any more make room in a full box.
func ExampleBox_Sweep() {
	var box mailbox.Box[string]
	box.Init(&mailbox.Config{Capacity: 2})
	box.PushAll([]string{"given up", "wanted"})
	gone := box.Sweep(0, func(m *string) bool { return *m == "given up" })
	fmt.Println(gone, box.Len())
	// Output: [given up] 1
}

// An idle box can be closed without losing a message that comes at the same time: either the put
// is accepted and the box stays open, or the box is closed and the put is refused.
func ExampleBox_CloseIfIdle() {
	var box mailbox.Box[string]
	box.Init(nil)
	put, _ := box.Offer("a message")
	fmt.Println(put.Wake, box.CloseIfIdle(func() bool { return true }))
	for batch := box.Take(nil); batch != nil; batch = box.Take(batch) {
		fmt.Println(batch.Messages())
	}
	fmt.Println(box.CloseIfIdle(func() bool { return true }))
	_, err := box.Offer("too late")
	fmt.Println(err)
	// Output:
	// true false
	// [a message]
	// true
	// mailbox: closed
}

// A message can take the place of the oldest one in a full box, whatever the policy of the box is.
func ExampleBox_Displace() {
	var box mailbox.Box[string]
	box.Init(&mailbox.Config{Capacity: 2, Policy: mailbox.Refuse})
	box.PushAll([]string{"old", "newer"})
	put, err := box.Displace("newest")
	fmt.Println(put.Dropped, put.HasDropped, err)
	fmt.Println(box.Take(nil).Messages())
	// Output:
	// old true <nil>
	// [newer newest]
}
