package actor_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/admission"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// openLoop sends requests to ref for a while, so many a second whether they are answered or not. It
// returns how long those took that were refused, in order, and how many were served.
func openLoop(t testing.TB, ref actor.Ref, perSecond int, length time.Duration) (refused []time.Duration, served int) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	begun := time.Now()
	for i := 0; ; i++ {
		at := time.Duration(i) * time.Second / time.Duration(perSecond)
		if at >= length {
			break
		}
		if early := at - time.Since(begun); early > 0 {
			time.Sleep(early)
		}
		wg.Go(func() {
			begun := time.Now()
			_, err := actor.Call(t.Context(), ref, Deed{Does: "it"}, atOnce)
			took := time.Since(begun)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				served++
			case errors.Is(err, rpc.Overloaded) && rpc.Ran(err) == rpc.NotRun && retryAfter(err) > 0:
				refused = append(refused, took)
			default:
				t.Errorf("neither served nor refused: %v", err)
			}
		})
	}
	wg.Wait()
	slices.Sort(refused)
	return refused, served
}

// limitedPair is two nodes over a road; b has a limit on the rate.
func limitedPair(t testing.TB, rate float64, road func() transport.Transport) (ref actor.Ref, b *actor.System) {
	reg := static.New()
	roads := func() []transport.Transport { return []transport.Transport{road()} }
	b = newSystem(t, actor.Config{Name: "b", Registry: reg, Transports: roads(), Logger: quiet,
		Admission: admission.Rules{List: []admission.Limit{{Name: "all", Per: admission.PerPrincipal, Rate: rate}}}})
	a := newSystem(t, actor.Config{Name: "a", Registry: reg, Transports: roads(), Logger: quiet})
	spawn(t, b, "t", newTellers().kind("test.teller"))
	ref = a.Ref("t@b")
	if _, err := actor.Call(t.Context(), ref, Deed{Does: "it"}); err != nil {
		t.Fatal(err)
	}
	return ref, b
}

// Ten times as many requests as the limit allows: as many are served as the limit says, and the others are refused at once.
func TestLimitOpenLoop(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		const rate, length = 400, 2 * time.Second
		net := memnet.New(memnet.Config{Seed: 1})
		ref, b := limitedPair(t, rate, func() transport.Transport { return net.Transport("direct", true) })
		time.Sleep(time.Second) // until the burst is there again
		refused, served := openLoop(t, ref, 10*rate, length)
		if want := rate*2 + rate/10*9/10; served < want-1 || served > want+1 { // with the burst, of which a tenth is not for them
			t.Errorf("%d were served, want %d", served, want)
		}
		if longest := refused[len(refused)-1]; longest > 0 { // in the time of the bubble, in which only waits take time
			t.Errorf("a refusal took %v", longest)
		}
		if n := b.Stats().Limited; n != uint64(len(refused)) {
			t.Errorf("%d refusals were counted, of %d", n, len(refused))
		}
	})
}

// BenchmarkLimitOpenLoop is TestLimitOpenLoop in real time over TCP, with its numbers.
func BenchmarkLimitOpenLoop(b *testing.B) {
	for _, times := range []int{2, 10} {
		b.Run(map[int]string{2: "twice", 10: "tenfold"}[times], func(b *testing.B) {
			const rate, length = 1000, time.Second
			ref, _ := limitedPair(b, rate, func() transport.Transport { return overTCP() })
			for b.Loop() {
				refused, served := openLoop(b, ref, times*rate, length)
				b.ReportMetric(float64(served)/(rate*length.Seconds()), "served/limit")
				b.ReportMetric(float64(refused[len(refused)/2].Microseconds()), "µs/refusal-p50")
				b.ReportMetric(float64(refused[len(refused)*99/100].Microseconds()), "µs/refusal-p99")
			}
		})
	}
}
