package dedup_test

import (
	"fmt"

	"github.com/tandem-go/tandem/dedup"
)

// The life of one request. Admit is called for each copy of it that arrives, and says what
// to do with the copy.
func ExampleTable() {
	const seq, content = 1, 0xcafe
	t := dedup.New[string](16) // 16 requests may be outstanding
	decision, record := t.Admit(seq, content)
	*record = "order 17"
	fmt.Println(decision, t.Outstanding(), "of", t.Window())

	decision, _ = t.Admit(seq, content) // a second copy, while the first waits or runs
	fmt.Println(decision)

	fmt.Println(t.Start(seq)) // right before the handler is called
	outcome, ok := t.Finish(seq)
	*outcome += ": done"
	fmt.Println(ok)

	decision, outcome = t.Admit(seq, content) // a copy after the handler has returned
	fmt.Println(decision, *outcome)

	decision, _ = t.Admit(seq, 0xbeef) // another request under the same number
	fmt.Println(decision)

	// The client has received the outcomes of all requests below 2.
	fmt.Println(t.Ack(dedup.Mark{Below: 2}, func(record string) { fmt.Println("freed:", record) }))
	decision, _ = t.Admit(seq, content)
	fmt.Println(decision)
	// Output:
	// run 1 of 16
	// attached
	// true
	// true
	// replay order 17: done
	// reused
	// freed: order 17: done
	// <nil>
	// stale
}

// A queued request that its client has cancelled never runs.
func ExampleTable_GiveUp() {
	t := dedup.New[string](0)
	t.Admit(1, 0xcafe)
	state, _, err := t.GiveUp(1)
	fmt.Println("it was", state, err)
	fmt.Println(t.Start(1))
	state, _ = t.Lookup(1)
	fmt.Println("it is", state)
	// Output:
	// it was queued <nil>
	// false
	// it is acked
}

// A request whose handler could not handle it yet waits for another turn, and may be cancelled meanwhile.
func ExampleTable_PutBack() {
	t := dedup.New[string](0)
	t.Admit(1, 0xcafe)
	fmt.Println(t.Start(1), t.PutBack(1), t.PutBack(1))
	state, _ := t.Lookup(1)
	fmt.Println("it is", state)
	fmt.Println(t.Start(1))
	// Output:
	// true true false
	// it is queued
	// true
}

// The requests that are outstanding can be listed. Each number that the table must list by
// itself costs memory, too.
func ExampleTable_All() {
	t := dedup.New[string](0)
	_, record := t.Admit(3, 0xcafe)
	*record = "order 17"
	for seq, record := range t.All() {
		fmt.Println(seq, record)
	}
	if err := t.Ack(dedup.Mark{Below: 3, Except: []uint64{1}}, nil); err != nil {
		fmt.Println(err)
	}
	fmt.Println(t.Listed(), "number is listed by itself,", t.Trim(), "after a trim")
	// Output:
	// 3 order 17
	// 1 number is listed by itself, 1 after a trim
}
