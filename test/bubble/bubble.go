// Package bubble runs tests in the bubbles of testing/synctest, where time is fake.
package bubble

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
)

// Test is synctest.Test, except that under the race detector the program has only one
// processor while a bubble runs. All timers of a bubble share one context of the detector,
// and goroutines that fire two timers at the same time on two processors destroy that
// context (golang/go#78156). The detector then crashes or hangs, although the code is
// correct. It finds races by the order of synchronisation, for which one processor is
// sufficient. Tests that run bubbles in parallel share that processor.
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

// OneProcessor is Test, except that the program has only one processor while the bubble runs,
// also without the race detector: then more of what happens is the same in every run.
func OneProcessor(t *testing.T, f func(*testing.T)) {
	t.Helper()
	enter()
	defer leave()
	synctest.Test(t, f)
}

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
