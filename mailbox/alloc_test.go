//go:build !race

package mailbox

import (
	"runtime/debug"
	"testing"
)

// A put into an ordered box and what takes it allocate nothing, unless a sender comes of whom
// nothing waits.
func TestOrderNoAllocations(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for _, burst := range []int{1, 100} {
		b := new(Box[*int])
		b.InitOrdered(nil, func(v **int) Place { return Place{Class: Class(**v % 2)} })
		numbers := make([]int, burst)
		for i := range numbers {
			numbers[i] = i
		}
		n := testing.AllocsPerRun(100, func() {
			for i := range numbers {
				if _, ok := b.Push(&numbers[i]); !ok {
					t.Fatal("full")
				}
			}
			for batch := b.Take(nil); batch != nil; batch = b.Take(batch) {
			}
		})
		if n != 0 {
			t.Errorf("bursts of %d: %v allocations", burst, n)
		}
	}
}

// A put and what takes it allocate nothing, once there is storage for as many messages
// as wait. A collection in between would take away what is spare.
func TestNoAllocations(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for _, row := range []struct {
		name  string
		burst int
		idle  bool // between the bursts
	}{
		{"one at a time", 1, false}, {"one at a time, idle between", 1, true},
		{"bursts of several batches", 10*batchSize + 1, false}, {"bursts, idle between", 10*batchSize + 1, true},
	} {
		b := new(Box[*int])
		b.Init(nil)
		var last *Batch[*int]
		v := new(int)
		n := testing.AllocsPerRun(100, func() {
			for range row.burst {
				if _, ok := b.Push(v); !ok {
					t.Fatal("full")
				}
			}
			for last = b.Take(last); row.idle && last != nil || !row.idle && !last.IsLast(); last = b.Take(last) {
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", row.name, n)
		}
	}
}
