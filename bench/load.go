package main

import (
	"cmp"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// tally counts what handlers execute, which may run at the same time.
type tally struct {
	_ [64]byte // a cache line of its own
	n atomic.Uint64
	_ [64]byte
}

func (t *tally) add() { t.n.Add(1) }

// asks is a rig of callers that each wait for one reply before they ask again.
type asks struct {
	callers  int
	executed *tally
	do       func(caller int) error // one request and its reply
	stop     func()
	every    uint64        // how many requests share one look at the clock; 0: askEvery
	least    time.Duration // that a measurement takes
}

const askEvery = 4

func (a *asks) close() { a.stop() }

func (a *asks) measure(d time.Duration) sample {
	var (
		out   sample
		mu    sync.Mutex // guards out
		ready sync.WaitGroup
		ended sync.WaitGroup
		begin = make(chan struct{})
		over  atomic.Bool
	)
	every := cmp.Or(a.every, askEvery)
	before := a.executed.n.Load()
	for caller := range a.callers {
		ready.Add(1)
		ended.Go(func() {
			var lat histogram
			var sent, failed uint64
			var first error
			ready.Done()
			<-begin
			for ; !over.Load(); sent++ {
				timed := sent%every == 0
				var start time.Time
				if timed {
					start = time.Now()
				}
				err := a.do(caller)
				if timed {
					lat.add(time.Since(start))
				}
				if err != nil {
					failed++
					if first == nil {
						first = err
					}
				}
			}
			mu.Lock()
			defer mu.Unlock()
			out.sent += sent
			out.ops += sent - failed
			out.errors += failed
			if out.err == nil {
				out.err = first
			}
			out.lat.merge(&lat)
		})
	}
	ready.Wait()
	start := time.Now()
	close(begin)
	time.Sleep(max(d, a.least))
	over.Store(true)
	ended.Wait()
	out.elapsed = time.Since(start)
	out.executed = a.executed.n.Load() - before
	return out
}

// arrivals counts one-way messages at their receiver, which is one goroutine at a time:
// so counting costs no locked instruction, and every peer's receiver counts alike.
type arrivals struct {
	n      uint64 // the receiver's own
	_      [64]byte
	shared atomic.Uint64 // of receivers that run at the same time
	target atomic.Uint64
	over   atomic.Uint64 // messages beyond the target: something was executed twice
	done   chan struct{}
}

func newArrivals() *arrivals { return &arrivals{done: make(chan struct{}, 1)} }

func (a *arrivals) add() {
	a.n++
	switch target := a.target.Load(); {
	case a.n == target:
		a.done <- struct{}{}
	case a.n > target:
		a.over.Add(1)
	}
}

// addShared counts for receivers that run at the same time; a rig uses it or add.
func (a *arrivals) addShared() {
	switch n, target := a.shared.Add(1), a.target.Load(); {
	case n == target:
		a.done <- struct{}{}
	case n > target:
		a.over.Add(1)
	}
}

// tells is a rig of producers that send bursts of one-way messages; a burst ends when
// all of it was executed, and only then does the next one start. So the time is that
// of the receiver, too, and no peer fills the memory with a queue.
type tells struct {
	producers int
	burst     int
	arrived   *arrivals
	do        func(producer int) error // sends one
	stop      func()

	broken error
}

// tellEvery is how many sends share one look at the clock.
const tellEvery = 64

// Bursts take some ten milliseconds and more.
const (
	localBurst  = 1 << 18
	remoteBurst = 1 << 16
)

// lostAfter is how long a burst may take to arrive.
const lostAfter = 10 * time.Second

func (t *tells) close() { t.stop() }

func (t *tells) measure(d time.Duration) sample {
	if t.broken != nil {
		return sample{errors: 1, err: t.broken}
	}
	var out sample
	surplus := t.arrived.over.Load()
	start := time.Now()
	for out.elapsed < d && out.errors == 0 {
		t.arrived.target.Add(uint64(t.burst))
		t.send(&out)
		select {
		case <-t.arrived.done:
			out.executed += uint64(t.burst)
		case <-time.After(lostAfter):
			t.broken = fmt.Errorf("of a burst of %d messages not all had arrived after %v", t.burst, lostAfter)
			out.errors++
			if out.err == nil {
				out.err = t.broken
			}
		}
		out.elapsed = time.Since(start)
	}
	out.executed += t.arrived.over.Load() - surplus
	out.ops = out.executed
	return out
}

// send sends one burst.
func (t *tells) send(out *sample) {
	var mu sync.Mutex // guards out
	var ended sync.WaitGroup
	for producer := range t.producers {
		ended.Go(func() {
			var lat histogram
			var sent uint64
			var err error
			for n := t.burst / t.producers; n > 0 && err == nil; n-- {
				if n%tellEvery == 0 {
					start := time.Now()
					err = t.do(producer)
					lat.add(time.Since(start))
				} else {
					err = t.do(producer)
				}
				sent++
			}
			mu.Lock()
			defer mu.Unlock()
			out.sent += sent
			if err != nil {
				out.errors++
				if out.err == nil {
					out.err = err
				}
			}
			out.lat.merge(&lat)
		})
	}
	ended.Wait()
}
