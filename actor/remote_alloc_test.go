//go:build !race

package actor_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/transport"
)

// The number of allocations of a message to another node, at both ends and including links.
// Every caller pays for a larger number.
func TestRemoteAllocations(t *testing.T) {
	a, b := pair(t, func() []transport.Transport { return []transport.Transport{overTCP()} })
	if _, err := b.Spawn("alice", AccountKind); err != nil {
		t.Fatal(err)
	}
	ref, ctx := a.Ref("alice@b"), context.Background()
	call := func() {
		if _, err := actor.Call(ctx, ref, Balance{}); err != nil {
			t.Fatal(err)
		}
	}
	tell := func() {
		if err := actor.Tell(ctx, ref, Deposit{Amount: 1}); err != nil {
			t.Fatal(err)
		}
	}
	ask := func() {
		if _, err := actor.Ask(ctx, ref, Balance{}).Await(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		do   func()
		most float64 // on average
	}{
		{"call", call, 0.2},
		{"tell", tell, 0.5}, // the storage of a queue that grows
		{"ask", ask, 10},
	} {
		const n = 5000
		for range n / 5 { // links, pools and mailboxes get their memory
			c.do()
		}
		call()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range n {
			c.do()
		}
		call() // after this, all of them were handled
		runtime.ReadMemStats(&after)
		if got := float64(after.Mallocs-before.Mallocs) / n; got > c.most {
			t.Errorf("a %s allocates %.2f times, at most %.1f", c.name, got, c.most)
		} else {
			t.Logf("a %s allocates %.2f times, %d bytes", c.name, got, (after.TotalAlloc-before.TotalAlloc)/n)
		}
	}
}
