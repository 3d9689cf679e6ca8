//go:build !race

package actor_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	placements "github.com/tandem-go/tandem/placement/memory"
	"github.com/tandem-go/tandem/state/memory"
	"github.com/tandem-go/tandem/transport"
)

// A Copy is answered with the same body.
type Copy struct {
	actor.Returns[Copied]
	Data []byte
}
type Copied struct{ Data []byte }

var CopierKind = actor.Define("copier", func() *struct{} { return nil },
	actor.Answer(func(_ *struct{}, _ *actor.Context, m Copy) (Copied, error) {
		return Copied{m.Data}, nil
	}))

// TestRemoteAllocationsOfLargerBodies has as many allocations and bytes as the message that the handler gets and the
// reply that its caller gets need, since both may keep what they get.
func TestRemoteAllocationsOfLargerBodies(t *testing.T) {
	a, b := pair(t, func() []transport.Transport { return []transport.Transport{overTCP()} })
	if _, err := b.Spawn("copier", CopierKind); err != nil {
		t.Fatal(err)
	}
	ref, ctx := a.Ref("copier@b"), context.Background()
	for _, c := range []struct {
		size   int
		allocs float64 // at most, on average
		bytes  int
	}{
		{1 << 10, 3.5, 2600},
		{16 << 10, 4, 36 << 10},
		{64 << 10, 4, 150 << 10},
	} {
		m := Copy{Data: make([]byte, c.size)}
		call := func() {
			if got, err := actor.Call(ctx, ref, m); err != nil || len(got.Data) != c.size {
				t.Fatal(len(got.Data), err)
			}
		}
		for range 300 {
			call()
		}
		const n = 1500
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range n {
			call()
		}
		runtime.ReadMemStats(&after)
		allocs, bytes := float64(after.Mallocs-before.Mallocs)/n, int(after.TotalAlloc-before.TotalAlloc)/n
		t.Logf("%d bytes: %.2f allocations, %d bytes", c.size, allocs, bytes)
		if allocs > c.allocs || bytes > c.bytes {
			t.Errorf("a call with %d bytes allocates %.2f times, %d bytes; at most %.1f and %d", c.size, allocs, bytes, c.allocs, c.bytes)
		}
	}
}

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
		remoteAllocations(t, c.name, c.most, c.do, call)
	}
}

// remoteAllocations does something often, and requires that it allocates at most so many times on average. After flush, all of
// what was done before has come to its end.
func remoteAllocations(t *testing.T, name string, most float64, do, flush func()) {
	t.Helper()
	const n = 15000
	for range n / 5 { // links, pools and mailboxes get their memory
		do()
	}
	flush()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		do()
	}
	flush()
	runtime.ReadMemStats(&after)
	if got := float64(after.Mallocs-before.Mallocs) / n; got > most {
		t.Errorf("a %s allocates %.2f times, at most %.1f", name, got, most)
	} else {
		t.Logf("a %s allocates %.2f times, %d bytes", name, got, (after.TotalAlloc-before.TotalAlloc)/n)
	}
}

// A call of a service or a virtual actor on another node allocates no more than one of an actor there.
func TestRoutedAllocations(t *testing.T) {
	claims, reg, records := placements.New(), newLeases(), memory.New(memory.Config{})
	node := func(name string, kinds ...*actor.Kind) *actor.System {
		return newSystem(t, actor.Config{Name: name, Registry: reg.view(), Claims: claims, States: records, Kinds: kinds, Logger: quiet,
			Transports: []transport.Transport{overTCP()}})
	}
	there := node("there", briefKind, placedKind)
	here := node("here")
	spawn(t, there, "plain", plainKind, actor.Expose("plains"))
	for _, err := here.Instance("plains", ""); err != nil; _, err = here.Instance("plains", "") { // until the registry has told it
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	for _, c := range []struct {
		name string
		to   actor.Ref
	}{
		{"call of a service", here.Service("plains")},
		{"call of a virtual actor", here.Virtual(placedKind, "x")},
		{"read of a stored actor", here.Virtual(briefKind, "x")},
	} {
		call := func() {
			if _, err := actor.Call(context.Background(), c.to, read1{}); err != nil {
				t.Fatal(err)
			}
		}
		remoteAllocations(t, c.name, 0.2, call, call)
	}
}
