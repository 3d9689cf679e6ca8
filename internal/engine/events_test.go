package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// A peer that cannot be reached causes one event, however often it is dialled, and its return
// causes another one.
func TestPeerDownIsSaidOnce(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a := r.start("a", "a1", twoRoads)
		r.start("b", "b1", twoRoads)
		for round := 1; round <= 3; round++ {
			r.net.Partition("", "b", "")
			r.net.Reset("", "b", "")
			for range 20 {
				_, err := a.ask("b", "x")
				wantErr(t, "nobody answers", err, rpc.Unavailable, rpc.NotRun)
				if text := err.Error(); strings.Contains(text, "\n") || strings.Count(text, "[") != 1 {
					t.Errorf("not one line with one verdict: %q", text)
				}
			}
			if n := a.saw(rpc.PeerDown); n != round {
				t.Errorf("round %d: it was down %d times", round, n)
			}
			r.net.Heal("", "b", "")
			time.Sleep(10 * time.Second)
			a.echoes("b", "x")
			if n := a.saw(rpc.PeerUp); n != round {
				t.Errorf("round %d: it was up %d times", round, n)
			}
		}
	})
}

// During ten seconds of failing attempts there is one PeerDown, and after the return one
// PeerUp.
func TestFailingDialsAreOneEvent(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a := r.start("a", "a1", twoRoads)
		r.start("b", "b1", twoRoads)
		r.net.Partition("", "b", "")
		for range 10 {
			_, err := a.ask("b", "x")
			wantErr(t, "nobody answers", err, rpc.Unavailable, rpc.NotRun)
			if text := err.Error(); strings.Contains(text, "\n") || strings.Count(text, "[") != 1 || !strings.HasSuffix(text, "[not run]") {
				t.Errorf("not one line with one verdict at its end: %q", text)
			}
			time.Sleep(time.Second)
		}
		if down, up := a.saw(rpc.PeerDown), a.saw(rpc.PeerUp); down != 1 || up != 0 {
			t.Errorf("it was down %d times and up %d times", down, up)
		}
		r.net.Heal("", "b", "")
		time.Sleep(10 * time.Second)
		a.echoes("b", "x")
		if down, up := a.saw(rpc.PeerDown), a.saw(rpc.PeerUp); down != 1 || up != 1 {
			t.Errorf("after its return it was down %d times and up %d times", down, up)
		}
	})
}
