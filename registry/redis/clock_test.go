package redis

import (
	"testing"
	"time"
)

func TestClock(t *testing.T) {
	at := func(d time.Duration) time.Time { return time.Unix(1000, 0).Add(d) }
	c := clock{}
	for i, step := range []struct {
		theirs, ours time.Duration
		want         bool
	}{
		{0, 100 * time.Hour, false}, // the first look proves nothing
		{2 * time.Second, 100*time.Hour + 2*time.Second, false},
		{12 * time.Second, 100*time.Hour + 4*time.Second, true}, // set forward
		{14 * time.Second, 100*time.Hour + 6*time.Second, false},
		{4 * time.Second, 100*time.Hour + 8*time.Second, false}, // set back: leases last longer
		{7 * time.Second, 100*time.Hour + 10*time.Second, false},
		{8 * time.Second, 100*time.Hour + 60*time.Second, false}, // this process was paused, and so was the server's clock
		{68 * time.Second, 100*time.Hour + 60*time.Second, true}, // and goes on
	} {
		if got := c.jumped(at(step.theirs), at(step.ours), 4*time.Second); got != step.want {
			t.Errorf("step %d: %v", i, got)
		}
	}
}
