// Package turns compares what two things cost, on a machine that also does something else: they take turns, and the medians of
// the turns count. It has no tests of its own; benchmarks use it.
package turns

import (
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// size is how many calls a turn has, of all clients together.
const size = 512

// cost is that of a call.
type cost struct{ wall, cpu float64 } // in nanoseconds

// Compare runs a benchmark for each number of clients, whose op is a turn of base and one of other. It reports the medians of
// their costs in nanoseconds for a call, and ratios: the calls per second of other, in those of base. cpu-ratio is the same of
// the processor time of this process. Each of base and other is called by all clients, which are counted from 0.
func Compare(b *testing.B, clients []int, base, other func(client int) error) {
	for _, n := range clients {
		b.Run(fmt.Sprintf("clients=%d", n), func(b *testing.B) {
			var bases, others []cost
			turn(b, n, base) // connections, memory, stacks
			turn(b, n, other)
			for b.Loop() {
				bases, others = append(bases, turn(b, n, base)), append(others, turn(b, n, other))
			}
			wall, cpu := func(c cost) float64 { return c.wall }, func(c cost) float64 { return c.cpu }
			b.ReportMetric(median(bases, wall), "base-ns")
			b.ReportMetric(median(others, wall), "other-ns")
			b.ReportMetric(median(bases, wall)/median(others, wall), "ratio")
			b.ReportMetric(median(bases, cpu), "base-cpu-ns")
			b.ReportMetric(median(others, cpu), "other-cpu-ns")
			b.ReportMetric(median(bases, cpu)/median(others, cpu), "cpu-ratio")
		})
	}
}

// turn has the clients make the calls of a turn.
func turn(b *testing.B, clients int, call func(int) error) cost {
	var all sync.WaitGroup
	begun, used := time.Now(), spent(b)
	for client := range clients {
		all.Go(func() {
			for range size / clients {
				if err := call(client); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	calls := float64(size / clients * clients)
	return cost{float64(time.Since(begun)) / calls, float64(spent(b)-used) / calls}
}

// spent is the processor time of this process.
func spent(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func median(costs []cost, of func(cost) float64) float64 {
	all := make([]float64, len(costs))
	for i, c := range costs {
		all[i] = of(c)
	}
	slices.Sort(all)
	return all[len(all)/2]
}
