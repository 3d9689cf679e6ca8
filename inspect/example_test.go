package inspect_test

import (
	"fmt"
	"time"

	"github.com/tandem-go/tandem/inspect"
)

// A filter is first asked with what is known without a look at the actor.
func ExampleFilter() {
	f := inspect.Filter{Prefix: "account/", Stage: inspect.Suspended}
	fmt.Println(f.MayMatch("account/17", "bank.account"), f.MayMatch("audit", "bank.audit"))
	fmt.Println(f.Match(inspect.Actor{Name: "account/17", Kind: "bank.account", Stage: inspect.Working}))
	// Output:
	// true false
	// false
}

// The clock of node b is an hour behind, but what b got was sent before.
func ExampleMerge() {
	noon := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	for _, s := range inspect.Merge([]inspect.Step{
		{Node: "b", Side: inspect.Server, Request: "9f86d081884c7d65-17", What: inspect.Received, Time: noon.Add(-time.Hour)},
		{Node: "a", Side: inspect.Client, Request: "9f86d081884c7d65-17", What: inspect.Sent, Time: noon},
	}) {
		fmt.Println(s.Node, s.What)
	}
	// Output:
	// a sent
	// b received
}

func ExampleRequestFilter() {
	slow := inspect.RequestFilter{Target: "orders/", Slower: time.Second}
	noon := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	fmt.Println(slow.Match(inspect.Request{Target: "orders/17", First: noon, Last: noon.Add(2 * time.Second)}))
	// Output: true
}
