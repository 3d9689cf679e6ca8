//go:build !race

// What is planted here is for the checkers to find, not for the race detector.

package sim

import (
	"strings"
	"testing"
)

// termMutations break a promise about a service while its nodes come and go and fail, or report
// something wrong. The checks must find each of them.
var termMutations = []struct{ name, found string }{
	{"a restart fails a call", "(during restart"},
	{"a restart fails a call of one actor", "(during restart"},
	{"a leave makes a call unknown", "(during leave"},
	{"a join finds nobody", "(during join"},
	{"a sick instance holds up calls", "were slow or failed"},
	{"a sick instance fails calls", "had shown for"},
	{"an instance stays out beside others", "has ejected"},
	{"an instance that is well gets no calls", "has not called it for"},
	{"a node serves before it is set up", "before it was set up"},
	{"an errand runs twice", "ran 2 times"},
	{"a call that ran is called not run", "told that it never would"},
	{"a call fails in calm", "failed at"},
}

// TestTermMutations shows that the checks can fail.
func TestTermMutations(t *testing.T) {
	const most = 20 // seeds
	for _, m := range oneIn(*planted, termMutations) {
		t.Run(m.name, func(t *testing.T) {
			for s := range uint64(most) {
				wrong, _, _ := serve(t, s+1, m.name, true)
				for _, wrong := range wrong {
					if strings.Contains(wrong, m.found) {
						t.Logf("found by term %d: %s", s+1, wrong)
						return
					}
				}
			}
			t.Errorf("not found by %d terms", most)
		})
	}
}
