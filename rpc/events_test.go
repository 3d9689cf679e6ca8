package rpc

import (
	"strings"
	"testing"
	"time"
)

// A peer that cannot be reached is one event, however often that is tried, and its
// return is another one.
func TestPeerDownIsSaidOnce(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a := r.start("a", "a1", twoRoads)
		r.start("b", "b1", twoRoads)
		for round := 1; round <= 3; round++ {
			r.net.Partition("", "b", "")
			r.net.Reset("", "b", "")
			for range 20 {
				_, err := a.ask("b", "x")
				wantErr(t, "nobody answers", err, Unavailable, NotRun)
				if text := err.Error(); strings.Contains(text, "\n") || strings.Count(text, "[") != 1 {
					t.Errorf("not one line with one verdict: %q", text)
				}
			}
			if n := a.saw(PeerDown); n != round {
				t.Errorf("round %d: it was down %d times", round, n)
			}
			r.net.Heal("", "b", "")
			time.Sleep(10 * time.Second)
			a.echoes("b", "x")
			if n := a.saw(PeerUp); n != round {
				t.Errorf("round %d: it was up %d times", round, n)
			}
		}
	})
}
