// Package bubble runs tests in the bubbles of testing/synctest, where time is fake.
package bubble

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
)

// Test is synctest.Test, except that under the race detector the program has one
// processor as long as a bubble runs. All timers of a bubble share one context of the
// detector, and goroutines that fire two of them at once on two processors destroy
// it (golang/go#78156): the detector then crashes, or hangs, over sound code. It finds
// races by the order that synchronisation gives and needs no second processor for it.
// Tests that run bubbles in parallel share the one.
func Test(t *testing.T, f func(*testing.T)) {
	t.Helper()
	if raceDetector {
		enter()
		defer leave()
	}
	synctest.Test(t, f)
}

var (
	mu      sync.Mutex
	running int
	usual   int // processors outside bubbles
)

func enter() {
	mu.Lock()
	defer mu.Unlock()
	if running++; running == 1 {
		usual = runtime.GOMAXPROCS(1)
	}
}

func leave() {
	mu.Lock()
	defer mu.Unlock()
	if running--; running == 0 {
		runtime.GOMAXPROCS(usual)
	}
}
