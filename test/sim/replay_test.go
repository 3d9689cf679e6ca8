package sim

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
)

var replay = flag.Int("sim.replay", 5, "how many seeds to run twice, to see how far they replay")

// TestReplay runs seeds twice and reports how much is the same in both runs: what every caller
// was told, and when.
func TestReplay(t *testing.T) {
	ops, same, whole := 0, 0, 0
	for s := range uint64(*replay) {
		first, second := run(t, *from+s, cheat{}, true), run(t, *from+s, cheat{}, true)
		if fmt.Sprint(first.plan) != fmt.Sprint(second.plan) {
			t.Errorf("seed %d has two plans:\n%v\n%v", *from+s, first.plan, second.plan)
		}
		a, b := strings.Split(first.print, "\n"), strings.Split(second.print, "\n")
		equal := 0
		for _, line := range a {
			if _, found := slices.BinarySearch(b, line); found {
				equal++
			}
		}
		ops, same = ops+len(a), same+equal
		if equal == len(a) && len(a) == len(b) {
			whole++
		}
	}
	if *replay > 0 {
		t.Logf("%d of %d operations (%d %%) begin and end alike in both runs; %d of %d seeds are the same throughout", same, ops, 100*same/ops, whole, *replay)
	}
}
