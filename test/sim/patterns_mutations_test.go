//go:build !race

// What is planted here is for the checkers to find, not for the race detector.

package sim

import (
	"strings"
	"testing"
)

// patternMutations break a promise about jobs, queues and streams, or report something wrong.
// The checks must find each of them.
var patternMutations = []struct{ name, found string }{
	{"a job runs twice", "and it has run on"},
	{"a second answer is accepted", "was answered twice"},
	{"a second submission gets another token", "has two tokens"},
	{"an unknown submission is called not run", "was said never to run: Submit"},
	{"a job goes back", "was further on before"},
	{"progress goes back", "had done"},
	{"an Await hangs", "did not return for"},
	{"a result is another job's", "gave the result of"},
	{"two results for one token", "gave the results of runs"},
	{"a lost job is called failed", "is said to have run"},
	{"a job that runs is called refused", "was said never to run: Await"},

	{"an id is forgotten", "twice"},
	{"a queue is too full", "items, and may hold"},
	{"a lost push is called accepted", "was said to be in the queue"},
	{"a push is called refused", "was said never to be"},
	{"a batch is out of order", "was given out before"},
	{"an attempt is not counted", "was given out twice as attempt"},
	{"a lease is not respected", "lasts until"},
	{"attempts have no end", "th time"},
	{"a late ack is called good", "and its lease ended"},
	{"two acks are good", "was acked twice"},
	{"an item is lost", "and was lost"},
	{"a dead letter is lost", "and was lost"},
	{"an item dies too early", "is dead after"},
	{"an acked item is dead", "is dead, and was acked"},

	{"an item is doubled", "and wanted"},
	{"an item is left out", "and wanted"},
	{"a producer goes on", "never ended"},
	{"a producer runs ahead", "items before its reader"},
	{"a stream is opened twice", "times"},
	{"a stream is called refused", "and said never to be"},
	{"a stream hangs", "did not end for"},
	{"a cut stream is called ended", "came to its end after"},
	{"the end of an upload comes early", "its sender had sent"},
	{"a tally is another one", "was answered with"},
}

// TestPatternMutations shows that the checks can fail.
func TestPatternMutations(t *testing.T) {
	const most = 60 // seeds
	for _, m := range oneIn(*planted, patternMutations) {
		t.Run(m.name, func(t *testing.T) {
			for s := range uint64(most) {
				for _, wrong := range run(t, s+1, cheat{pattern: m.name}, true).wrong {
					if strings.Contains(wrong, m.found) {
						t.Logf("found by seed %d: %s", s+1, wrong)
						return
					}
				}
			}
			t.Errorf("not found by %d seeds", most)
		})
	}
}
