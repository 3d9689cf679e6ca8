// How a policy chooses among the instances that may serve a request.

package balance

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestPolicies(t *testing.T) {
	weights := func(b *bench, w ...int) *bench {
		var all []Instance
		for i, c := range b.All() {
			all = append(all, c.Instance)
			all[i].Weight = w[i]
		}
		b.Set(b.now, all)
		return b
	}
	if had := with(t, RoundRobin(), 3).where(30); !slices.Equal(had, []int{10, 10, 10}) {
		t.Errorf("round robin: %v", had)
	}
	if had := weights(with(t, Weighted(), 3), 1, 2, 3).where(60); !slices.Equal(had, []int{10, 20, 30}) {
		t.Errorf("weighted: %v", had)
	}
	if had := weights(with(t, Weighted(), 2), 0, -1).where(60); !slices.Equal(had, []int{30, 30}) {
		t.Errorf("weights that are none: %v", had)
	}
	for i, n := range with(t, Random(), 4).where(4000) {
		if n < 800 || n > 1200 {
			t.Errorf("random: %d of 4000 at a%d", n, i)
		}
	}
	if had := with(t, LeastLoaded(), 20).where(4000); slices.Min(had) < 100 || slices.Max(had) > 300 {
		t.Errorf("least loaded, of many that are idle: %v", had)
	}
	b := weights(with(t, LeastLoaded(), 2), 1, 3)
	had := []int{0, 0}
	for range 40 {
		_, i := b.pick()
		had[i]++
	}
	if had[0] != 10 {
		t.Errorf("least loaded, weighted: %v", had)
	}
	b = with(t, LeastLoaded(), 3)
	b.seen[0].load = 5
	if had := b.where(30); had[0] != 0 {
		t.Errorf("5 wait at the first: %v", had)
	}
	b.Hold(b.All()[1])
	if had := b.where(30); had[1] != 0 {
		t.Errorf("the second is occupied: %v", had)
	}
	b.Release(b.All()[1])
	if had := b.where(30); had[1] != 15 {
		t.Errorf("the second is free again: %v", had)
	}
}

// Among many instances an idle one is found as long as some of those that are looked at are
// idle.
func TestIdleIsFound(t *testing.T) {
	for _, n := range []int{2, 5, few, 30} {
		b := with(t, LeastLoaded(), n)
		for i := range n { // each request finds an idle instance
			ticket, _ := b.pick()
			if ticket.To.Outstanding() != 1 && (n <= few || i < n/2) {
				t.Errorf("request %d of %d waits behind another one", i, n)
			}
		}
	}
}

// When an instance leaves, only its keys move, and they move to all of the others. Weights
// count.
func TestByKey(t *testing.T) {
	policy := ByKey(func(m any) string { return m.(string) })
	if !policy.Keyed() || policy.KeyOf("x") != "x" || LeastLoaded().KeyOf("x") != "" {
		t.Error("keys")
	}
	b := with(t, policy, 5)
	home := func(key string, tried ...*Candidate) int {
		ticket, ok := b.Pick(b.now, Request{Key: key, Random: rand.Uint64(), Tried: tried})
		if !ok {
			t.Fatal("no instance")
		}
		b.end(ticket, Answered)
		return ticket.To.Data.(int)
	}
	homes, counts := map[string]int{}, make([]int, 5)
	for i := range 5000 {
		key := fmt.Sprint("key", i)
		homes[key] = home(key)
		counts[homes[key]]++
	}
	for i, n := range counts {
		if n < 850 || n > 1150 {
			t.Errorf("%d of 5000 keys at a%d", n, i)
		}
	}
	b.end(b.only(3), Refused)
	moved := make([]int, 5)
	for key, was := range homes {
		if is := home(key); was != 3 && is != was || is == 3 {
			t.Fatalf("%s was at a%d, is at a%d, and a3 was ejected", key, was, is)
		} else if was == 3 {
			moved[is]++
		}
	}
	if slices.Min(slices.Delete(moved, 3, 4)) < 150 {
		t.Errorf("what moved went to %v", moved)
	}
	b.now += maxPause
	for key, was := range homes { // the probe of a3 is a request with one of its own keys
		if is := home(key); is != was {
			t.Fatalf("%s was at a%d, is at a%d", key, was, is)
		}
	}
	b.changed("a3 refusing", "a3 back")
}

func TestNames(t *testing.T) {
	for want, got := range map[string]fmt.Stringer{"least loaded": Policy{}, "by key": ByKey(nil), "unreachable": Unreachable, "silent": Silent, "refusing": Refusing, "?": Why(9)} {
		if got.String() != want {
			t.Errorf("%q, want %q", got.String(), want)
		}
	}
}

func TestPickAllocatesNothing(t *testing.T) {
	for _, n := range []int{4, 100} {
		for _, policy := range []Policy{LeastLoaded(), RoundRobin(), Random(), Weighted()} {
			b := with(t, policy, n)
			var tried [4]*Candidate
			if got := testing.AllocsPerRun(1000, func() {
				ticket, _ := b.Pick(b.now, Request{Random: rand.Uint64(), Tried: tried[:1]})
				b.End(ticket, b.now, Answered, 1)
			}); got > 0 {
				t.Errorf("%v of %d allocates %v times", policy, n, got)
			}
		}
	}
}

func BenchmarkPick(b *testing.B) {
	for _, n := range []int{4, 16, 256} {
		for _, policy := range []Policy{LeastLoaded(), RoundRobin(), Random(), Weighted()} {
			b.Run(fmt.Sprintf("%v/%d", policy, n), func(b *testing.B) {
				p := with(b, policy, n)
				for b.Loop() {
					ticket, _ := p.Pick(p.now, Request{Random: rand.Uint64()})
					p.now += 100
					p.End(ticket, p.now, Answered, 1)
				}
			})
		}
	}
}
