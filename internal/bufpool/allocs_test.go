//go:build !race

// With the race detector, a sync.Pool drops a part of what is put into it.

package bufpool

import "testing"

// TestAllocations requires that a buffer which was put back costs nothing the next time.
func TestAllocations(t *testing.T) {
	for _, n := range []int{Min, 5000, 65_600, Max} {
		Put(Get(n))
		if avg := testing.AllocsPerRun(100, func() { Put(Get(n)) }); avg > 0.5 { // a collection may come between
			t.Errorf("%d bytes: %v allocations", n, avg)
		}
	}
}
