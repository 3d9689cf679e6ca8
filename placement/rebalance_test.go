package placement

import (
	"fmt"
	"testing"
	"time"
)

// However long it takes, no more are given up than the rate says, and none before the hosts have settled.
func TestPace(t *testing.T) {
	for _, rate := range []float64{0.1, 1, 7, 100, 1000, 1e6} {
		p, start := NewPace(rate), time.Unix(1000, 0)
		p.Changed(start)
		now, given, left := start.Add(time.Second), 0, 1<<20
		p.Changed(now)
		if n, pause := p.Take(now, left); n != 0 || pause != SettleTime {
			t.Fatalf("%v: %d at once, pause %v", rate, n, pause)
		}
		if n, _ := p.Take(now.Add(SettleTime-1), left); n != 0 {
			t.Fatalf("%v: %d before they have settled", rate, n)
		}
		now = now.Add(SettleTime)
		for began := now; now.Sub(began) < time.Minute && given < left; {
			n, pause := p.Take(now, left-given)
			given += n
			if most := rate*(now.Sub(began)+paceBatch).Seconds() + 1; float64(given) > most+0.001 {
				t.Fatalf("%v: %d after %v, at most %v", rate, given, now.Sub(began), most)
			}
			if given < left && pause <= 0 {
				t.Fatalf("%v: %d are left, and no pause", rate, left-given)
			}
			now = now.Add(pause)
		}
		if want := min(left, int(rate*59)); given < want {
			t.Errorf("%v: %d in a minute, want %d", rate, given, want)
		}
	}
}

// What a node should not have is what has been chosen for others; it is a fair share when a node joins, and none when one has gone.
func TestMisplaced(t *testing.T) {
	keys := func(yield func(Key) bool) {
		for i := range 3000 {
			if !yield(Key{"k", fmt.Sprint(i)}) {
				return
			}
		}
	}
	two, three := NewHosts("", []Host{{Node: "a"}, {Node: "b"}}), NewHosts("", []Host{{Node: "a"}, {Node: "b"}, {Node: "c"}})
	of := func(h *Hosts, node string) map[string]int {
		got := map[string]int{}
		for m := range h.Misplaced(node, keys) {
			if to, _ := h.Choose(m.Key); to != m.To || to == node {
				t.Errorf("%v goes from %s to %s, and %s is chosen", m.Key, node, m.To, to)
			}
			got[m.To]++
		}
		return got
	}
	if got := of(two, "a"); len(got) != 1 || got["b"] < 1400 || got["b"] > 1600 {
		t.Errorf("%v", got)
	}
	if got := of(three, "a"); got["b"] < 900 || got["c"] < 900 || got["b"]+got["c"] > 2100 {
		t.Errorf("%v", got)
	}
	if got := of(NewHosts("", nil), "a"); len(got) != 0 {
		t.Errorf("nobody is chosen: %v", got)
	}
	for range three.Misplaced("a", keys) {
		break
	}
}
