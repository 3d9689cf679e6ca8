package promise

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/test/bubble"
)

// A limited Wait ends when its time-out has passed, whenever it begins and whoever waits beside it.
func TestTimeout(t *testing.T) {
	for _, timeout := range []time.Duration{time.Nanosecond, time.Millisecond, 100 * time.Millisecond, 30 * time.Second, time.Hour} {
		bubble.Test(t, func(t *testing.T) {
			var pool Waiters
			pool.Init(timeout)
			var ended sync.WaitGroup
			for i := range 40 {
				stop := make(chan struct{})
				if i%2 == 0 {
					stop = nil
				}
				ended.Go(func() {
					time.Sleep(timeout * time.Duration(i) / 13)
					w, began := pool.Get(), time.Now()
					if w.Wait(stop, true) {
						t.Error("woken by nobody")
					}
					if took := time.Since(began); took != timeout {
						t.Errorf("wait %d took %v, want %v", i, took, timeout)
					}
					pool.Put(w)
				})
			}
			ended.Wait()
			time.Sleep(timeout + time.Minute)
			synctest.Wait()
			if pool.timed.Load() {
				t.Error("the timer runs although nobody waits")
			}
		})
	}
}

// The timer runs again when somebody waits after a time in which nobody did. A Wait that ended
// with nothing leaves the Waiter as it was.
func TestTimeoutAfterQuiet(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var pool Waiters
		pool.Init(time.Second)
		w := pool.Get()
		for range 5 {
			if w.Wait(nil, true) {
				t.Error("woken by nobody")
			}
			stop := make(chan struct{})
			close(stop)
			if w.Wait(stop, true) {
				t.Error("woken by nobody")
			}
			go w.Wake()
			if !w.Wait(nil, true) {
				t.Error("not woken")
			}
			time.Sleep(time.Minute)
		}
	})
}

// Close leaves no timer behind, and takes nobody's time-out away.
func TestClose(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var pool Waiters
		pool.Init(time.Second)
		pool.Close()
		began := time.Now()
		var ended sync.WaitGroup
		ended.Go(func() {
			if pool.Get().Wait(nil, true) || time.Since(began) != time.Second {
				t.Errorf("waited for %v", time.Since(began))
			}
		})
		time.Sleep(time.Second / 2)
		pool.Close()
		ended.Wait()
		w := pool.Get()
		go w.Wake()
		if w.Wait(nil, true); !pool.timed.Load() {
			t.Fatal("there is no timer to stop")
		}
		if pool.Close(); pool.timed.Load() || pool.timer.Stop() {
			t.Error("the timer goes on")
		}
	})
}

// A result, the end of the time, and the end of the context at the same moment: each Wake ends one
// Wait, and what else wakes a Waiter never reaches a later Wait.
func TestResultAndTimeout(t *testing.T) {
	const waits = 300
	var pool Waiters
	pool.Init(time.Millisecond)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			w := pool.Get()
			for i := range waits {
				var stop chan struct{}
				if i%3 == 0 {
					stop = make(chan struct{})
					time.AfterFunc(time.Millisecond, func() { close(stop) })
				}
				var result atomic.Bool
				timer := time.AfterFunc(time.Duration(800+i%8*50)*time.Microsecond, func() {
					result.Store(true)
					w.Wake()
				})
				switch {
				case w.Wait(stop, true):
					if !result.Load() {
						t.Error("woken before there was a result")
					}
				case !timer.Stop():
					if !w.Wait(nil, false) {
						t.Error("a wait without limit ended without a result")
					}
				}
			}
			pool.Put(w)
		})
	}
	all.Wait()
	pool.mu.Lock()
	defer pool.mu.Unlock()
	for _, pointer := range pool.all {
		if w := pointer.Value(); w != nil && (len(w.wake) != 0 || w.until.Load() != 0) {
			t.Errorf("a waiter that nobody uses has %d tokens, and the time %d", len(w.wake), w.until.Load())
		}
	}
}

// What a burst needed is collected, and sweep forgets it.
func TestWaitersAreCollected(t *testing.T) {
	var pool Waiters
	pool.Init(time.Hour)
	var ended sync.WaitGroup
	waiters := make([]*Waiter, 1000)
	for i := range waiters {
		w := pool.Get()
		waiters[i] = w
		ended.Go(func() {
			w.Wait(nil, true)
			pool.Put(w)
		})
	}
	for _, w := range waiters {
		w.Wake()
	}
	ended.Wait()
	clear(waiters)
	for range 4 { // a sync.Pool lets go of what was not taken for two collections
		runtime.GC()
	}
	if pool.wakeAll(); len(pool.all) > 100 {
		t.Errorf("%d waiters are left", len(pool.all))
	}
}
