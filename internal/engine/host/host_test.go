package host

import (
	"math"
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	almost := math.Nextafter(1, 0)
	for _, row := range []struct {
		n    int
		high time.Duration
	}{
		{-1, 0}, {0, 0}, {1, 100 * time.Millisecond}, {2, 200 * time.Millisecond}, {3, 400 * time.Millisecond},
		{4, 800 * time.Millisecond}, {5, 1600 * time.Millisecond}, {6, 2 * time.Second}, {64, 2 * time.Second}, {math.MaxInt, 2 * time.Second},
	} {
		if got := backoff(row.n, 0); got != 0 {
			t.Errorf("backoff(%d, 0) = %v, want 0: full jitter", row.n, got)
		}
		if got := backoff(row.n, almost); got > row.high || got < row.high-time.Microsecond {
			t.Errorf("backoff(%d, 1) = %v, want %v", row.n, got, row.high)
		}
	}
}
