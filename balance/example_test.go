package balance_test

import (
	"fmt"
	"time"

	"github.com/tandem-go/tandem/balance"
)

// served returns how many of n requests each of three instances gets, when each has
// ended before the next one comes.
func served(policy balance.Policy, n int, key string) map[string]int {
	p := balance.New(policy)
	p.Set(0, []balance.Instance{{Node: "a", Actor: "x", Weight: 1}, {Node: "b", Actor: "x", Weight: 2}, {Node: "c", Actor: "x", Weight: 3}})
	counts := map[string]int{}
	for i := range n {
		now := time.Duration(i) * time.Millisecond
		ticket, _ := p.Pick(now, balance.Request{Key: key, Random: uint64(i)})
		counts[ticket.To.Node]++
		p.End(ticket, now, balance.Answered, 0)
	}
	return counts
}

func ExampleNew() {
	p := balance.New(balance.LeastLoaded())
	p.Set(0, []balance.Instance{{Node: "a", Actor: "mailer"}, {Node: "b", Actor: "mailer"}})
	first, _ := p.Pick(0, balance.Request{})
	second, _ := p.Pick(0, balance.Request{}) // while the first one is outstanding
	fmt.Println(first.To != second.To)

	p.End(first, time.Second, balance.Missed, 0) // it did not get there
	for _, c := range p.Changes() {
		fmt.Println("ejected:", c.Ejected, "because it is", c.Why)
	}
	for _, s := range p.Look() {
		fmt.Println(s.Node, s.Ejected, s.Outstanding)
	}
	// Output:
	// true
	// ejected: true because it is unreachable
	// a true 0
	// b false 1
}

func ExampleRoundRobin() {
	fmt.Println(served(balance.RoundRobin(), 30, ""))
	// Output: map[a:10 b:10 c:10]
}

func ExampleWeighted() {
	fmt.Println(served(balance.Weighted(), 60, ""))
	// Output: map[a:10 b:20 c:30]
}

func ExampleRandom() {
	n := 0
	for _, hits := range served(balance.Random(), 30, "") {
		n += hits
	}
	fmt.Println(n)
	// Output: 30
}

func ExampleLeastLoaded() {
	p := balance.New(balance.LeastLoaded())
	p.Set(0, []balance.Instance{{Node: "a", Actor: "x"}, {Node: "b", Actor: "x"}, {Node: "c", Actor: "x"}})
	busy := map[string]bool{}
	for range 3 {
		ticket, _ := p.Pick(0, balance.Request{})
		busy[ticket.To.Node] = true
	}
	fmt.Println(len(busy), "requests, none behind another")
	// Output: 3 requests, none behind another
}

func ExampleByKey() {
	type order struct{ customer string }
	policy := balance.ByKey(func(message any) string { return message.(order).customer })
	fmt.Println(len(served(policy, 30, policy.KeyOf(order{customer: "ann"}))), "instance has all of Ann's")
	// Output: 1 instance has all of Ann's
}

// Of the instances in zone eu, version 2 gets a quarter of the requests.
func ExampleNewPlan() {
	p := balance.New(balance.LeastLoaded())
	p.Set(0, []balance.Instance{{Node: "a", Version: "1", Zone: "eu"}, {Node: "b", Version: "2", Zone: "eu"}, {Node: "c", Version: "2", Zone: "us"}})
	is := func(want string) func(string) bool { return func(version string) bool { return version == want } }
	plan := balance.NewPlan(func(i balance.Instance) bool { return i.Zone == "eu" }, nil,
		balance.Share{Name: "1", Weight: 3, Match: is("1")}, balance.Share{Name: "2", Weight: 1, Match: is("2")})
	fmt.Println(len(p.Among(plan)), "instances")
	hits := map[string]int{}
	for i := range 4000 {
		ticket, _ := p.Pick(0, balance.Request{Plan: plan, Random: uint64(i)})
		hits[ticket.To.Node]++
		p.End(ticket, 0, balance.Answered, 0)
	}
	fmt.Println(hits["a"]/100, hits["b"]/100, hits["c"])
	// Output:
	// 2 instances
	// 29 10 0
}

// This is what a picker knows of its instances.
func ExamplePicker() {
	p := balance.New(balance.RoundRobin())
	p.Start(1) // start with the second one, so that not all systems begin with the first
	p.Set(0, []balance.Instance{{Node: "a", Actor: "x"}, {Node: "b", Actor: "x"}})
	ticket, _ := p.Pick(0, balance.Request{})
	p.Hold(ticket.To) // for example a stream, which is not a request
	for _, c := range p.All() {
		fmt.Println(c.Node, c.Outstanding())
	}
	p.Release(ticket.To)
	p.End(ticket, time.Second, balance.Answered, 0)
	fmt.Println(p.Len(), "instances, to be asked whether they live:", len(p.Asks()))
	fmt.Println("another one can be tried:", p.Untried(nil, []*balance.Candidate{ticket.To}))
	fmt.Println("the policy needs the message:", balance.RoundRobin().Keyed())
	// Output:
	// a 0
	// b 2
	// 2 instances, to be asked whether they live: 0
	// another one can be tried: true
	// the policy needs the message: false
}
