//go:build !race

// What is planted here is for the checkers to find, not for the race detector.

package sim

import (
	"strings"
	"testing"

	"github.com/tandem-go/tandem/internal/draw"
)

// lifeMutations break a promise about the lives of actors, or report something wrong. The checks must
// find each of them.
var lifeMutations = []struct {
	name  string
	of    func(lives) bool // the plans that have to do with it
	found string
}{
	{"restarts have no limit", lives.mortals, "and there may be"},
	{"a restart does not wait", lives.mortals, "did not wait for its restart"},
	{"a restart waits too long", lives.mortals, "would have been the longest"},
	{"an actor is stopped too early", lives.mortals, "was stopped after 0 restarts"},
	{"Restarting is called twice", lives.mortals, "Restarting was called for"},
	{"Stopping is not called", lives.mortals, "is not over, and there is a further one"},
	{"a life never ends", lives.mortals, "never ended, and its system has"},
	{"a message is handled too late", lives.mortals, "which was over"},
	{"a stop is called done", lives.mortals, "was said to have ended"},
	{"a stop is called not done", lives.mortals, "nobody has stopped it"},

	{"an end is told twice", lives.watches, "which it does not watch"},
	{"an unwatched end is told", lives.watches, "which it does not watch"},
	{"an end is not told", lives.watches, "has heard nothing"},
	{"an end is none", lives.watches, "and it lives"},
	{"nobody is there", lives.watches, "was said to be of nobody"},

	{"a cancelled timer goes on", lives.timers, "ticks, and is over"},
	{"a tick outlives its incarnation", lives.timers, "ticks at incarnation"},
	{"ticks pile up", lives.timers, "too early"},
	{"a tick comes early", lives.timers, "too early"},
	{"a timer stands still", lives.timers, "does not tick"},
	{"a timer has had no time", lives.timers, "has not had its time"},

	{"a publication arrives twice", lives.topics, "arrived twice"},
	{"publications change places", lives.topics, "arrived after"},
	{"a group gets two", lives.topics, "arrived at two members"},
	{"a subscription does not end", lives.topics, "had unsubscribed before"},
	{"a publication is lost", lives.topics, "has not got"},
	{"a publication is called refused", lives.topics, "was said to have reached nobody"},

	{"a message of a pool runs twice", lives.pools, "ran 2 times"},
	{"a pool is not resized", lives.pools, "was to have"},

	{"a letter is handled twice", lives.posts, "ran 2 times"},
	{"letters change places", lives.posts, "was handled after"},
	{"a letter is forgotten", lives.posts, "was kept, and is forgotten"},
	{"a letter is given up in silence", lives.posts, "events say that a message was given up"},
	{"a letter is called given up", lives.posts, "was given up as not run, and ran"},
	{"a letter is given up without cause", lives.posts, "and its node was not lost"},
	{"a letter is called refused", lives.posts, "was refused, and ran"},
	{"a letter waits for ever", lives.posts, "still has"},
}

func (l lives) mortals() bool { return l.Mortals }
func (l lives) watches() bool { return l.Watches }
func (l lives) timers() bool  { return l.Timers }
func (l lives) topics() bool  { return l.Topics }
func (l lives) pools() bool   { return l.Pools }
func (l lives) posts() bool   { return l.Posts }

// TestLifeMutations shows that the checks can fail.
func TestLifeMutations(t *testing.T) {
	const patience = 60 // seeds
	for _, m := range oneIn(*planted, lifeMutations) {
		t.Run(m.name, func(t *testing.T) {
			tried := 0
			for s := uint64(1); tried < patience; s++ {
				if !m.of(newPlan(draw.From(s, "plan")).Lives) {
					continue
				}
				tried++
				for _, wrong := range run(t, s, cheat{pattern: m.name}, true).wrong {
					if strings.Contains(wrong, m.found) {
						t.Logf("found by seed %d, after %d of its kind: %s", s, tried, wrong)
						return
					}
				}
			}
			t.Errorf("not found by %d seeds", patience)
		})
	}
}
