package outbox_test

import (
	"fmt"
	"time"

	"github.com/tandem-go/tandem/outbox"
	"github.com/tandem-go/tandem/rpc"
)

// The second message to a receiver is sent when it is known what became of the first.
func Example() {
	cfg, _ := outbox.Config{}.WithDefaults()
	b := outbox.New[string](cfg, "node-1/start-1")
	now := time.Unix(0, 0)
	for _, text := range []string{"pay 5", "pay 7"} {
		m, err := b.Add("alice@bank", len(text), time.Time{}, text)
		if err != nil {
			fmt.Println(err)
			return
		}
		b.Stored(m) // now it may be sent
	}

	outcomes := []outbox.Outcome{
		{Verdict: rpc.NotRun, Code: rpc.Unavailable}, // the receiver is away
		{Verdict: rpc.HasRun},
		{Verdict: rpc.HasRun, Code: rpc.Failed}, // its handler's error is its own affair
	}
	b.Serve("alice@bank")
	for m := b.Next("alice@bank", now); m != nil; m = b.Next("alice@bank", now) {
		d := b.Settle(m, outcomes[0], now, 0.5)
		outcomes = outcomes[1:]
		fmt.Println(m.Number, m.Carries, "to be sent again:", d.Fate == outbox.Again)
		now = now.Add(d.Pause)
	}
	messages, bytes, receivers := b.Len()
	fmt.Println(messages, bytes, receivers)
	// Output:
	// 1 pay 5 to be sent again: true
	// 1 pay 5 to be sent again: false
	// 2 pay 7 to be sent again: false
	// 0 0 0
}

func ExampleConfig_WithDefaults() {
	c, err := outbox.Config{Messages: 100}.WithDefaults()
	fmt.Println(c.Messages, c.TargetMessages, c.Policy, err)
	// Output: 100 25 refuse <nil>
}

// A message that could not be stored leaves the box again, and was never sent.
func ExampleBox_Abandon() {
	cfg, _ := outbox.Config{TargetMessages: 1}.WithDefaults()
	b := outbox.New[string](cfg, "node-1/start-1")
	m, _ := b.Add("alice@bank", 5, time.Time{}, "pay 5")
	_, err := b.Add("alice@bank", 5, time.Time{}, "pay 7")
	fmt.Println(err)
	fmt.Println(b.Serve("alice@bank")) // it is not stored yet
	b.Abandon(m)
	_, err = b.Add("alice@bank", 5, time.Time{}, "pay 7")
	fmt.Println(err)
	// Output:
	// outbox: it is full
	// false
	// <nil>
}

// A message whose time has passed is given up. This one may have arrived.
func ExampleBox_Expire() {
	cfg, _ := outbox.Config{}.WithDefaults()
	b := outbox.New[string](cfg, "node-1/start-1")
	began := time.Unix(0, 0)
	m, _ := b.Add("alice@bank", 5, began.Add(time.Minute), "pay 5")
	b.Stored(m)
	b.Serve(m.To)
	b.Next(m.To, began)
	b.Settle(m, outbox.Outcome{Verdict: rpc.Unknown, Code: rpc.Expired}, began.Add(30*time.Second), 0)

	later := began.Add(time.Minute)
	d, late := b.Expire(b.Next(m.To, later), later)
	fmt.Println(late, d.Fate == outbox.GivenUp, d.Verdict)
	// Output: true true unknown
}

// What an earlier start has left is sent first. At the end, all that is left is taken out.
func ExampleBox_Restore() {
	cfg, _ := outbox.Config{}.WithDefaults()
	b := outbox.New[string](cfg, "node-1/start-2")
	added := time.Unix(0, 0)
	b.Restore("node-1/start-1", 17, "alice@bank", 5, time.Time{}, added, "pay 5")
	_, _ = b.Add("bob@bank", 5, time.Time{}, "pay 7")
	fmt.Println(b.Receivers())
	for _, m := range b.Drain() {
		fmt.Println(m.Outbox, m.Number, m.Carries, "was handled:", m.Verdict())
	}
	// Output:
	// [alice@bank bob@bank]
	// node-1/start-1 17 pay 5 was handled: unknown
	// node-1/start-2 1 pay 7 was handled: not run
}

// A node that leaves may be back; a message for which there is no handler stays without one.
func ExampleTransient() {
	fmt.Println(outbox.Transient(rpc.Leaving), outbox.Transient(rpc.Unhandled))
	// Output: true false
}
