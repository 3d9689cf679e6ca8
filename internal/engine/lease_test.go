package engine

import (
	"testing"
	"time"
)

func TestGaps(t *testing.T) {
	const beat = 2 * time.Second
	g := gaps{}
	for _, row := range []struct {
		at   time.Duration
		want bool
	}{
		{2 * time.Second, true}, {4 * time.Second, true}, {9 * time.Second, true}, // a late check is no gap
		{15 * time.Second, false}, {17 * time.Second, false}, {20 * time.Second, false}, {21 * time.Second, true},
		{100 * time.Second, false}, {105 * time.Second, false}, {111 * time.Second, false}, {113 * time.Second, false}, {117 * time.Second, true},
	} {
		if got := g.expiryAllowed(row.at, beat); got != row.want {
			t.Errorf("at %v: leases may end: %v, want %v", row.at, got, row.want)
		}
	}
}
