package stored_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/internal/stored"
	"github.com/tandem-go/tandem/state"
)

// Outcomes are bounded for a caller and in all. Acks make room, and so do time and the end of a caller.
func TestOutcomesAreBounded(t *testing.T) {
	r := newRig(t, stored.Config{Outcomes: 5, CallerOutcomes: 2}, stored.Loaded{})
	k := func(name string, seconds int) stored.Name {
		return stored.Name{Caller: name, Expires: start.Add(time.Duration(seconds) * time.Second)}
	}
	r.does(num(1), "1", "", stored.Leaves)
	r.does(num(2), "2", "", stored.Leaves)
	r.admit(num(3), "3", stored.Full)
	r.does(stored.Name{Caller: "c", Counter: 3, Below: 2}, "3", "", stored.Leaves)
	r.admit(num(1), "1", stored.Stale)
	r.admit(stored.Name{Caller: "q", Counter: 4, Below: 5}, "4", stored.Stale)
	r.admit(stored.Name{Caller: strings.Repeat("c", state.MaxText+1), Counter: 4}, "4", stored.Invalid)
	r.does(k("x", 5), "key", "", stored.Waits)
	r.does(k("y", 9), "key", "", stored.Waits)
	r.admit(k("z", 9), "key", stored.Full)
	r.admit(stored.Name{Caller: "d", Counter: 1}, "a mark, a number and two keys", stored.Full)
	r.begin("")
	r.stored("key", "key")
	r.admit(k("x", 5), "key", stored.Replay)
	if ad := r.Admit(stored.Name{Caller: "d", Counter: 1}, "after x", start.Add(5*time.Second)); ad.Decision != stored.Run {
		t.Error(ad.Decision)
	} else if fate, _ := r.Handled("after x", ad.Request, stored.Result{}); fate != stored.Leaves {
		t.Error(fate)
	}
	if d := r.Admit(k("x", 5), "late key", start.Add(5*time.Second)).Decision; d != stored.Stale {
		t.Error(d)
	}
	r.admit(k("x", 5), "key", stored.Full)
	r.Forget("c")
	r.Forget("nobody")
	r.does(k("x", 5), "key", "new", stored.Waits)
	c := r.begin("new")
	var names []string
	for _, o := range c.Record.Outcomes {
		names = append(names, o.Caller)
	}
	if slices.Sort(names); !slices.Equal(names, []string{"d", "x", "y"}) {
		t.Errorf("%q are kept", names)
	}

	r = newRig(t, stored.Config{OutcomeBytes: 4 * (stored.OutcomeSize + 40), CallerBytes: 2 * (stored.OutcomeSize + 40)}, stored.Loaded{})
	ad := r.admit(num(1), "large", stored.Run)
	if fate, _ := r.Handled("large", ad.Request, stored.Result{Outcome: stored.Outcome{Body: make([]byte, 200)}}); fate != stored.TooLarge {
		t.Error(fate)
	}
	ad = r.admit(num(1), "half", stored.Run)
	if fate, _ := r.Handled("half", ad.Request, stored.Result{Outcome: stored.Outcome{Body: make([]byte, 25)}}); fate != stored.Leaves {
		t.Error(fate)
	}
	ad = r.admit(num(2), "more", stored.Run)
	if fate, _ := r.Handled("more", ad.Request, stored.Result{Outcome: stored.Outcome{Body: make([]byte, 50)}}); fate != stored.Crowded {
		t.Error(fate)
	}
	if err := r.Accounts(); err != nil {
		t.Error(err)
	}
}

// A message fails alone if with it the record would be one byte too large. A store that takes less than
// was said is believed.
func TestTheLargestRecord(t *testing.T) {
	empty := (&state.Stored{Key: key}).Size()
	r := newRig(t, stored.Config{MaxRecord: empty + 100}, stored.Loaded{})
	fill := func(n int) string { return strings.Repeat("x", n) }
	r.does(stored.Name{}, "fits", fill(100), stored.Waits)
	r.does(stored.Name{}, "does not", fill(101), stored.TooLarge)
	r.state(fill(100))
	r.does(stored.Name{}, "sends", "", stored.TooLarge, tell("a", "b"))
	r.does(stored.Name{}, "no verb", "", stored.Wrong, state.Message{To: "a"})
	r.does(stored.Name{}, "is smaller", fill(99), stored.Waits)
	r.begin(fill(99))
	if f := r.Failed(errOf(state.ErrTooLarge)); len(f.NotRun) != 2 {
		t.Errorf("%+v", f)
	}
	r.does(stored.Name{}, "as large", fill(99), stored.TooLarge)
	r.does(stored.Name{}, "smaller yet", fill(98), stored.Waits)
	r.begin(fill(98))
	r.stored("smaller yet")
}
