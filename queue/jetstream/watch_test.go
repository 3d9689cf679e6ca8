package jetstream

import (
	"context"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// What follows from what is seen: one look that shows nothing is believed in no case, and
// items are never made anew over others that are gone.
func TestJudge(t *testing.T) {
	created := time.Unix(1000, 0)
	fine := sight{created: created, items: 3, used: true}
	gone := sight{err: natsjs.ErrStreamNotFound}
	away := sight{err: context.DeadlineExceeded}
	other := sight{created: created.Add(time.Hour)}
	part := fine
	part.missing = true
	for name, c := range map[string]struct {
		used bool
		see  []sight
		want []verdict
	}{
		"fine":                          {true, []sight{fine, fine}, []verdict{{}, {}}},
		"one look at nothing":           {true, []sight{away, fine, gone, fine}, []verdict{{}, {}, {}, {}}},
		"away, and back":                {true, []sight{away, away, away, fine}, []verdict{{}, {state: Away}, {state: Away}, {}}},
		"gone, for good":                {true, []sight{gone, gone, other}, []verdict{{}, {state: Gone}, {state: Gone}}},
		"away does not count as gone":   {true, []sight{gone, away, gone, fine}, []verdict{{}, {}, {}, {}}},
		"made anew by another":          {true, []sight{other}, []verdict{{state: Gone}}},
		"never used, and gone":          {false, []sight{gone, gone}, []verdict{{}, {remake: true}}},
		"never used, made anew already": {false, []sight{other, other}, []verdict{{}, {}}},
		"a part is gone":                {true, []sight{part, fine}, []verdict{{remake: true}, {}}},
	} {
		w := watch{created: created, used: c.used}
		for i, s := range c.see {
			if got := w.judge(s); got != c.want[i] {
				t.Errorf("%s: look %d: %+v, want %+v", name, i, got, c.want[i])
			}
		}
	}
}
