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
	"github.com/tandem-go/tandem/transport"
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
			sent := time.Now()
			_, err := actor.Call(t.Context(), ref, Deed{Does: "it"}, atOnce)
			took := time.Since(sent)
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

// limitedPair is two nodes over TCP; b has a limit on the rate.
func limitedPair(t testing.TB, rate float64) (ref actor.Ref, b *actor.System) {
	reg := static.New()
	roads := func() []transport.Transport { return []transport.Transport{overTCP()} }
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

// Ten times as many requests as the limit allows, over TCP, in real time: as many are served as the
// limit says, and the others are refused at once.
func TestLimitOpenLoop(t *testing.T) {
	const rate, length = 400, 2 * time.Second
	ref, b := limitedPair(t, rate)
	time.Sleep(200 * time.Millisecond) // until the burst is there again, whoever is slow
	refused, served := openLoop(t, ref, 10*rate, length)
	want := rate*length.Seconds() + rate/10*0.9 // with the burst, of which a tenth is not for them
	t.Logf("served %d, limit %.0f; refused %d: half of them within %v, p99 %v, all %v", served, want, len(refused), refused[len(refused)/2], refused[len(refused)*99/100], refused[len(refused)-1])
	if float64(served) < 0.95*want || float64(served) > 1.05*want {
		t.Errorf("%d were served, want %.0f within 5 %%", served, want)
	}
	if half := refused[len(refused)/2]; half > 5*time.Millisecond {
		t.Errorf("half of the refusals took longer than %v", half)
	}
	if n := b.Stats().Limited; n != uint64(len(refused)) {
		t.Errorf("%d refusals were counted, of %d", n, len(refused))
	}
}

// BenchmarkLimitOpenLoop is TestLimitOpenLoop at other loads, with its numbers.
func BenchmarkLimitOpenLoop(b *testing.B) {
	for _, times := range []int{2, 10} {
		b.Run(map[int]string{2: "twice", 10: "tenfold"}[times], func(b *testing.B) {
			const rate, length = 1000, time.Second
			ref, _ := limitedPair(b, rate)
			for b.Loop() {
				refused, served := openLoop(b, ref, times*rate, length)
				b.ReportMetric(float64(served)/(rate*length.Seconds()), "served/limit")
				b.ReportMetric(float64(refused[len(refused)/2].Microseconds()), "µs/refusal-p50")
				b.ReportMetric(float64(refused[len(refused)*99/100].Microseconds()), "µs/refusal-p99")
			}
		})
	}
}
