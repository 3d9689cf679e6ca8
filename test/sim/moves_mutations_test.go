//go:build !race

package sim

import (
	"strings"
	"testing"
)

// moveMutations break a promise about virtual and stored actors on purpose. The checks must find each of them.
var moveMutations = []struct{ name, found string }{
	{"a store does not fence", "was taken after one of"},
	{"an effect is doubled", "has had its effect 2 times"},
	{"an effect is forgotten", "was answered, and has no effect"},
	{"a message is lost", "has not come to"},
	{"a message is doubled", "2 times"},
	{"a message is late", "after place"},
	{"a reader tells of the past", "has seen"},
	{"an answer is called not run", "was said not to have run, and has an effect"},
	{"an answer gets lost", "although its caller lives"},
	{"an old activation answers", "was answered by activation 1 after"},
	{"a firing is handled twice", "was handled 2 times"},
	{"a firing is missed", "was not handled"},
	{"a change of a reminder is lost", "and the store has got"},
}

// TestMoveMutations shows that the checks can fail.
func TestMoveMutations(t *testing.T) {
	const patience = 60 // seeds
	for _, m := range oneIn(*planted, moveMutations) {
		t.Run(m.name, func(t *testing.T) {
			for s := range uint64(patience) {
				for _, wrong := range move(t, s+1, m.name, true).wrong {
					if strings.Contains(wrong, m.found) {
						t.Logf("found by seed %d: %s", s+1, wrong)
						return
					}
				}
			}
			t.Errorf("not found by %d seeds", patience)
		})
	}
}
