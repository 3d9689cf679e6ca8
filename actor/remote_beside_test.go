package actor_test

// Quick requests beside slow ones of the same session.

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Wait is answered when its actor's gate opens.
type Wait struct{ actor.Returns[int] }

// gated is a kind whose handler waits for a gate.
func gated(gate <-chan struct{}) *actor.Kind {
	return actor.Define("test.gated", func() int { return 0 }, actor.Answer(func(_ int, ctx *actor.Context, _ Wait) (int, error) {
		select {
		case <-gate:
			return 1, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}))
}

// slowOnes makes n requests that are outstanding until release is called. release returns how
// many were answered.
func slowOnes(t testing.TB, a, b *actor.System, n int) (release func() int) {
	gate := make(chan struct{})
	kind := gated(gate)
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	var refs []actor.Ref
	var fs []*rpc.Future[int]
	for i := range n {
		refs = append(refs, spawn(t, b, fmt.Sprint("slow", i), kind))
		fs = append(fs, actor.Ask(ctx, a.Ref(refs[i].String()), Wait{}))
	}
	return func() (answered int) {
		defer cancel()
		close(gate)
		for i, f := range fs {
			if v, err := f.Await(ctx); err == nil {
				answered += v
			}
			actor.Halt(b, refs[i])
		}
		return answered
	}
}

// quickOnes makes n requests from several callers, and returns how long they took.
func quickOnes(t testing.TB, to actor.Ref, callers, n int) time.Duration {
	began := time.Now()
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for range n/callers + min(1, max(0, n%callers-i)) {
				if _, err := actor.Call(context.Background(), to, Balance{}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}

// Slow requests do not delay quick ones of their session, and the memory of the table stays
// bounded by the number of outstanding requests.
func TestSlowBesideQuick(t *testing.T) {
	for _, row := range []struct{ slow, callers, quick int }{{1, 64, 20_000}, {4000, 90, 10_000}} {
		t.Run(fmt.Sprintf("%d slow", row.slow), func(t *testing.T) {
			world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
				spawn(t, b, "alice", AccountKind)
				release := slowOnes(t, a, b, row.slow)
				if took := quickOnes(t, a.Ref("alice@b"), row.callers, row.quick); took > time.Second {
					t.Errorf("the quick ones waited %v for the slow ones", took) // in the time of the bubble
				}
				if s := b.Stats().RPC; s.Records > 2*rpc.DefaultWindow || s.HeldBytes > int64(s.Records)*1800 {
					t.Errorf("%d records, %d bytes kept", s.Records, s.HeldBytes)
				}
				if n := release(); n != row.slow {
					t.Errorf("%d of %d slow ones were answered", n, row.slow)
				}
			})
		})
	}
}

// BenchmarkBeside compares quick requests alone with quick ones beside slow ones, over
// TCP, in turns: "ratio" is the median throughput beside over that alone.
//
//	go test ./actor -run '^$' -bench Beside -benchtime 1000000x
func BenchmarkBeside(b *testing.B) {
	const rounds = 5
	for _, row := range []struct{ slow, callers int }{{1, 64}, {4000, 90}} {
		b.Run(fmt.Sprintf("slow=%d", row.slow), func(b *testing.B) {
			from, at := pair(b, func() []transport.Transport { return []transport.Transport{overTCP()} })
			spawn(b, at, "alice", AccountKind)
			to := from.Ref("alice@b")
			quickOnes(b, to, row.callers, 10_000)
			n := max(b.N/(2*rounds), row.callers)
			var ratios []float64
			var memory runtime.MemStats
			for range rounds {
				alone := quickOnes(b, to, row.callers, n)
				release := slowOnes(b, from, at, row.slow)
				beside := quickOnes(b, to, row.callers, n)
				runtime.ReadMemStats(&memory)
				if got := release(); got != row.slow {
					b.Fatalf("%d slow ones were answered", got)
				}
				ratios = append(ratios, float64(alone)/float64(beside))
			}
			slices.Sort(ratios)
			b.ReportMetric(ratios[rounds/2], "ratio")
			b.ReportMetric(float64(memory.HeapInuse)/(1<<20), "MiB")
			b.ReportMetric(float64(at.Stats().RPC.Records), "records")
		})
	}
}
