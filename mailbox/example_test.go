package mailbox_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
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
	fmt.Println(errors.Is(err, mailbox.ErrFull), box.Blocks())
	_, err = box.Enqueue("four")
	fmt.Println(err, box.Len())

	rest, busy := box.Close() // what was accepted and nobody took
	fmt.Println(rest, busy)
	_, err = box.Offer("five")
	fmt.Println(errors.Is(err, mailbox.ErrClosed))
	// Output:
	// <nil>
	// true
	// true true
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

func ExampleBox_Remove() {
	var box mailbox.Box[int]
	box.Init(&mailbox.Config{Capacity: 4})
	box.PushAll([]int{1, 2, 3})
	odd := box.Remove(func(m *int) bool { return *m%2 == 1 })
	fmt.Println(odd, box.Len())
	// Output: [1 3] 1
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

// An ordered box: of what waits, the highest class comes out first, and in a class senders take turns.
func ExampleBox_InitOrdered() {
	var box mailbox.Box[string]
	box.InitOrdered(&mailbox.Config{Fair: true, PerSender: 3}, func(m *string) mailbox.Place {
		p := mailbox.Place{Sender: mailbox.Sender{Actor: strings.Fields(*m)[0]}}
		if strings.HasSuffix(*m, "!") {
			p.Class = mailbox.Urgent
		}
		return p
	})
	box.PushAll([]string{"ann 1", "ann 2", "ann 3", "bob 1", "bob stop!"})
	_, err := box.Offer("ann 4")
	fmt.Println(err)
	for batch := box.Take(nil); batch != nil; batch = box.Take(batch) {
		fmt.Println(batch.Messages(), batch.IsLast())
	}
	// Output:
	// mailbox: full
	// [bob stop!] false
	// [ann 1] false
	// [bob 1] false
	// [ann 2] false
	// [ann 3] true
}

// The classes have names; a message without one is normal.
func ExampleClass() {
	var c mailbox.Class
	fmt.Println(c, mailbox.Low < c, c < mailbox.High, mailbox.High < mailbox.Urgent)
	fmt.Println(mailbox.Urgent.Valid(), (mailbox.Urgent + 1).Valid(), mailbox.Urgent+1)
	// Output:
	// normal true true true
	// true false class(3)
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
