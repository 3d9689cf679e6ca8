package main

import (
	"math/rand/v2"
	"runtime"
	"runtime/metrics"
	"sync"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// An openLoop sends requests at times that do not depend on how the earlier ones fare.
// Each is timed from when it was to be sent, so whoever is late, the sender included,
// is seen in the times.
type openLoop struct {
	rate  float64 // requests per second, on average, as a Poisson process; 0: whenever a slot is free
	d     time.Duration
	slots int // requests under way; what comes beyond is refused by the sender itself
	seed  uint64
	ask   func(n uint64) error // request number n, and its reply
}

// flow is what became of the requests of an openLoop.
type flow struct {
	offered  uint64
	ok       uint64
	inTime   uint64    // of them, before the last request was sent
	accepted histogram // of those that are ok
	refused  uint64    // they did not run, or were not sent
	refusals histogram
	unsure   uint64 // other errors: they may have run, or have
	err      error  // the first of those
	d        time.Duration
	heapPeak uint64 // bytes
	peak     int    // goroutines
}

func (f *flow) goodput() float64 { return float64(f.inTime) / f.d.Seconds() }

// schedule is the times at which requests are to be sent.
type schedule struct {
	rng  *rand.Rand
	mean float64 // ns between two
	at   float64
}

func newSchedule(rate float64, seed uint64) *schedule {
	return &schedule{rng: rand.New(rand.NewPCG(seed, 1)), mean: 1e9 / rate}
}

// next returns the time of the next request since the beginning.
func (s *schedule) next() time.Duration {
	s.at += s.rng.ExpFloat64() * s.mean
	return time.Duration(s.at)
}

// run returns once every request has its outcome.
func (o openLoop) run() *flow {
	f := &flow{d: o.d}
	var (
		mu     sync.Mutex // guards f, but for what only the sender touches: offered, refusals by itself
		flying sync.WaitGroup
		slots  = make(chan struct{}, o.slots)
		watch  = watchMemory()
		begin  = time.Now()
		own    histogram // the sender's refusals
	)
	send := func(n uint64, at time.Duration) {
		flying.Go(func() {
			err := o.ask(n)
			took := time.Since(begin)
			<-slots
			mu.Lock()
			defer mu.Unlock()
			f.end(err, at, took)
		})
	}
	if o.rate == 0 {
		for now := time.Duration(0); now < o.d; now = time.Since(begin) {
			slots <- struct{}{}
			send(f.offered, time.Since(begin))
			f.offered++
		}
	} else {
		times, now := newSchedule(o.rate, o.seed), time.Duration(0)
		for at := times.next(); at < o.d; at = times.next() {
			for at > now {
				if now = time.Since(begin); at > now {
					time.Sleep(at - now)
					now = time.Since(begin)
				}
			}
			select {
			case slots <- struct{}{}:
				send(f.offered, at)
				now = time.Since(begin)
			default:
				own.add(now - at)
			}
			f.offered++
		}
	}
	flying.Wait()
	f.refused += own.n
	f.refusals.merge(&own)
	f.heapPeak, f.peak = watch()
	return f
}

// end notes the outcome of a request that was to be sent at one time and ended at
// another.
func (f *flow) end(err error, at, ended time.Duration) {
	switch {
	case err == nil:
		f.ok++
		f.accepted.add(ended - at)
		if ended <= f.d {
			f.inTime++
		}
	case rpc.Ran(err) == rpc.NotRun:
		f.refused++
		f.refusals.add(ended - at)
	default:
		f.unsure++
		if f.err == nil {
			f.err = err
		}
	}
}

// watchMemory looks at the heap and the goroutines until it is called back.
func watchMemory() (stop func() (heap uint64, goroutines int)) {
	runtime.GC()
	over, done := make(chan struct{}), make(chan struct{})
	var heap uint64
	var goroutines int
	go func() {
		defer close(done)
		look := time.NewTicker(5 * time.Millisecond)
		defer look.Stop()
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		for {
			metrics.Read(sample)
			heap, goroutines = max(heap, sample[0].Value.Uint64()), max(goroutines, runtime.NumGoroutine())
			select {
			case <-look.C:
			case <-over:
				return
			}
		}
	}()
	return func() (uint64, int) {
		close(over)
		<-done
		return heap, goroutines
	}
}
