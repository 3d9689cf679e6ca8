package jetstream

import (
	"context"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// judge says what follows from the checks. It never believes a single check that fails, and
// never recreates the stream if items are gone.
func TestJudge(t *testing.T) {
	created := time.Unix(1000, 0)
	fine := observation{created: created, items: 3, used: true}
	gone := observation{err: natsjs.ErrStreamNotFound}
	away := observation{err: context.DeadlineExceeded}
	other := observation{created: created.Add(time.Hour)}
	part := fine
	part.missing = true
	for name, c := range map[string]struct {
		used bool
		see  []observation
		want []decision
	}{
		"fine":                          {true, []observation{fine, fine}, []decision{{}, {}}},
		"one check without an answer":   {true, []observation{away, fine, gone, fine}, []decision{{}, {}, {}, {}}},
		"away, and back":                {true, []observation{away, away, away, fine}, []decision{{}, {state: Away}, {state: Away}, {}}},
		"gone, for good":                {true, []observation{gone, gone, other}, []decision{{}, {state: Gone}, {state: Gone}}},
		"away does not count as gone":   {true, []observation{gone, away, gone, fine}, []decision{{}, {}, {}, {}}},
		"recreated by another":          {true, []observation{other}, []decision{{state: Gone}}},
		"never used, and gone":          {false, []observation{gone, gone}, []decision{{}, {remake: true}}},
		"never used, recreated already": {false, []observation{other, other}, []decision{{}, {}}},
		"a part is gone":                {true, []observation{part, fine}, []decision{{remake: true}, {}}},
	} {
		w := watch{created: created, used: c.used}
		for i, s := range c.see {
			if got := w.judge(s); got != c.want[i] {
				t.Errorf("%s: look %d: %+v, want %+v", name, i, got, c.want[i])
			}
		}
	}
}
