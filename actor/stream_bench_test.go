package actor_test

import (
	"iter"
	"runtime"
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/transport"
)

// BenchmarkStream streams items of 64 bytes over TCP to another system, and within one
// system, while a hundred other readers stand still. "KiB/stalled" is the memory that each of
// these takes.
//
// go test ./actor -run '^$' -bench Stream -benchtime 1000000x
func BenchmarkStream(b *testing.B) {
	for _, local := range []bool{true, false} {
		name := "tcp"
		if local {
			name = "local"
		}
		b.Run(name, func(b *testing.B) {
			from, at := pair(b, func() []transport.Transport { return []transport.Transport{overTCP()} })
			kind, s := newStall()
			to := spawn(b, at, "stall", kind)
			if !local {
				to = from.Ref("stall@b")
			}
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			const stalled = 100
			for range stalled {
				next, stop := iter.Pull2(actor.Stream(b.Context(), to, List{N: -1, Size: 64}))
				defer stop()
				next()
			}
			for n := int64(-1); n != s.made.Load(); { // until all of them stand still
				n = s.made.Load()
				runtime.Gosched()
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			made := s.made.Load()
			b.ReportAllocs()
			b.ResetTimer()
			n := 0
			for _, err := range actor.Stream(b.Context(), to, List{N: b.N, Size: 64}) {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
			b.StopTimer()
			if n != b.N {
				b.Fatalf("%d of %d items", n, b.N)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "items/s")
			b.ReportMetric(float64(int64(after.HeapInuse)-int64(before.HeapInuse))/1024/stalled, "KiB/stalled")
			b.ReportMetric(float64(s.made.Load()-made-int64(b.N)), "made-by-stalled-meanwhile")
		})
	}
}
