package actor

import (
	"testing"
	"time"
)

// For a quick handler the run loop begins many messages in one go, for a slow one only the
// message that it handles next.
func TestPace(t *testing.T) {
	for _, row := range []struct {
		name      string
		each      time.Duration // how long a handler takes
		low, high int           // bounds of the number that is begun at a time in the end
	}{
		{"no time at all", 0, maxAhead, maxAhead},
		{"much quicker than a record", 10 * time.Microsecond, 32, maxAhead},
		{"a tenth of a record", 100 * time.Microsecond, 5, 20},
		{"as long as a record", time.Millisecond, 1, 2},
		{"slow", time.Second, 1, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			var p pace
			n, low, high := 0, maxAhead, 0
			for i := range 100 {
				n = p.next(time.Duration(n) * row.each)
				p.waited = time.Millisecond
				if i > 50 {
					low, high = min(low, n), max(high, n)
				}
			}
			if low < row.low || high > row.high {
				t.Errorf("%d to %d are begun, want %d to %d", low, high, row.low, row.high)
			}
		})
	}
}
