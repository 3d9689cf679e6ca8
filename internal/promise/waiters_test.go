package promise

import (
	"runtime"
	"sync"
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
					p, began := new(Promise[int]), time.Now()
					if i%5 == 0 {
						p.Done() // so that it is not the only one that waits
					}
					if p.Wait(pool.Get(), stop, true) {
						t.Error("decided by nobody")
					}
					if took := time.Since(began); took != timeout {
						t.Errorf("wait %d took %v, want %v", i, took, timeout)
					}
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

// The timer runs again when somebody waits after a time in which nobody did.
func TestTimeoutAfterQuiet(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var pool Waiters
		pool.Init(time.Second)
		for range 5 {
			if p := new(Promise[int]); p.Wait(pool.Get(), nil, true) {
				t.Error("decided by nobody")
			}
			p := new(Promise[int])
			go p.Resolve(1, nil)
			if !p.Wait(pool.Get(), nil, true) {
				t.Error("the result did not come")
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
			if p := new(Promise[int]); p.Wait(pool.Get(), nil, true) || time.Since(began) != time.Second {
				t.Errorf("waited for %v", time.Since(began))
			}
		})
		time.Sleep(time.Second / 2)
		pool.Close()
		ended.Wait()
		p := new(Promise[int])
		go p.Resolve(1, nil)
		if p.Wait(pool.Get(), nil, true); !pool.timed.Load() {
			t.Fatal("there is no timer to stop")
		}
		if pool.Close(); pool.timed.Load() || pool.timer.Stop() {
			t.Error("the timer goes on")
		}
	})
}

// A result, the end of the time, and the end of the context at the same moment: what wakes a
// waiter must never reach a later Wait.
func TestResultAndTimeout(t *testing.T) {
	const waits = 300
	var pool Waiters
	pool.Init(time.Millisecond)
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			w := pool.Get()
			defer pool.Put(w)
			for i := range waits {
				p := new(Promise[int])
				var stop chan struct{}
				if i%3 == 0 {
					stop = make(chan struct{})
					time.AfterFunc(time.Millisecond, func() { close(stop) })
				}
				timer := time.AfterFunc(time.Duration(800+i%8*50)*time.Microsecond, func() { p.Resolve(g*waits+i, nil) })
				switch v, err := 0, error(nil); {
				case p.Wait(w, stop, true):
					if v, err = p.Result(); v != g*waits+i || err != nil {
						t.Errorf("got %d, %v", v, err)
					}
				default:
					if !timer.Stop() {
						p.Wait(w, nil, false)
					}
				}
			}
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
	promises := make([]Promise[int], 1000)
	for i := range promises {
		ended.Go(func() {
			w := pool.Get()
			promises[i].Wait(w, nil, true)
			pool.Put(w)
		})
	}
	for i := range promises {
		promises[i].Resolve(1, nil)
	}
	ended.Wait()
	clear(promises)
	for range 4 { // a sync.Pool lets go of what was not taken for two collections
		runtime.GC()
	}
	if pool.wakeAll(); len(pool.all) > 100 {
		t.Errorf("%d waiters are left", len(pool.all))
	}
}
