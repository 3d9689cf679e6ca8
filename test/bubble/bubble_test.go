package bubble

import (
	"runtime"
	"sync"
	"testing"
	"time"
)

// TestTimersAtOnce fires timers from several goroutines of a bubble, which in a plain
// bubble sooner or later crashes the race detector of Go 1.26.
func TestTimersAtOnce(t *testing.T) {
	usual := runtime.GOMAXPROCS(0)
	Test(t, func(t *testing.T) {
		if raceDetector && runtime.GOMAXPROCS(0) != 1 {
			t.Errorf("a bubble on %d processors", runtime.GOMAXPROCS(0))
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 2000 {
					fired := make(chan struct{})
					time.AfterFunc(0, func() { close(fired) })
					<-fired
					<-time.After(0)
				}
			})
		}
		wg.Wait()
	})
	if now := runtime.GOMAXPROCS(0); now != usual {
		t.Errorf("%d processors after the bubble, %d before", now, usual)
	}
}
