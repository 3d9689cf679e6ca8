package supervise

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Restarts of an actor, one after the other: a line each, with the largest wait that is possible.
func TestNext(t *testing.T) {
	const ms = time.Millisecond
	type failure struct {
		after time.Duration
		d     Directive
		want  Directive
		delay time.Duration // with the largest random number
		spent bool
	}
	for _, row := range []struct {
		name     string
		strategy Strategy
		failures []failure
	}{
		{"defaults", Strategy{}, []failure{
			{0, Restart, Restart, 0, false},
			{ms, Restart, Restart, 50 * ms, false}, {ms, Restart, Restart, 100 * ms, false}, {ms, Restart, Restart, 200 * ms, false},
			{ms, Restart, Restart, 400 * ms, false}, {ms, Restart, Restart, 800 * ms, false}, {ms, Restart, Restart, 1600 * ms, false},
			{ms, Restart, Restart, 3200 * ms, false}, {ms, Restart, Restart, 5000 * ms, false}, {ms, Restart, Restart, 5000 * ms, false},
			{ms, Restart, Stop, 0, true},
		}},
		{"a window ends", Strategy{Max: 2, Window: time.Second}, []failure{
			{0, Restart, Restart, 0, false}, {600 * ms, Restart, Restart, 50 * ms, false},
			{400 * ms, Restart, Restart, 50 * ms, false}, // the first one is a second old
			{599 * ms, Restart, Stop, 0, true},
			{time.Second, Restart, Restart, 0, false}, // a quiet window
		}},
		{"none", Strategy{Max: -1}, []failure{{0, Restart, Stop, 0, true}}},
		{"others do not count", Strategy{Max: 1}, []failure{
			{0, Resume, Resume, 0, false}, {0, Resume, Resume, 0, false}, {0, Escalate, Escalate, 0, false}, {0, Stop, Stop, 0, false},
			{0, Restart, Restart, 0, false}, {0, Resume, Resume, 0, false}, {0, Restart, Stop, 0, true},
		}},
		{"no such directive", Strategy{}, []failure{{0, Escalate + 1, Stop, 0, false}}},
		{"a small bound", Strategy{Backoff: time.Hour, MaxBackoff: time.Second}, []failure{{0, Restart, Restart, 0, false}, {0, Restart, Restart, time.Second, false}}},
		{"a huge bound", Strategy{Backoff: 1 << 61, MaxBackoff: 1<<63 - 1, Window: 1 << 62}, []failure{
			{0, Restart, Restart, 0, false}, {0, Restart, Restart, 1 << 61, false}, {0, Restart, Restart, 1 << 62, false}, {0, Restart, Restart, 1<<63 - 1, false}, {0, Restart, Restart, 1<<63 - 1, false},
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var r Record
			now := time.Unix(1000, 0)
			almost := 1 - 1e-12
			for i, f := range row.failures {
				now = now.Add(f.after)
				got := r.Next(&row.strategy, now, f.d, almost)
				if short := f.delay - got.Delay; got.Directive != f.want || short < 0 || short > f.delay/1e6 || got.Exhausted != f.spent {
					t.Errorf("failure %d: %+v, want %v after %v", i, got, f.want, f.delay)
				}
			}
		})
	}
}

// Whatever happens, there are never more than Max restarts within a Window, a restart is refused
// only for that, and each wait is within its bound.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Strategy{
			Max:        rapid.IntRange(-1, 6).Draw(t, "max"),
			Window:     time.Duration(rapid.IntRange(0, 20).Draw(t, "window")) * time.Second,
			Backoff:    time.Duration(rapid.IntRange(0, 3).Draw(t, "backoff")) * time.Second,
			MaxBackoff: time.Duration(rapid.IntRange(0, 9).Draw(t, "maxBackoff")) * time.Second,
		}
		most, window, backoff, maxBackoff := s.Max, s.Window, s.Backoff, s.MaxBackoff
		if most == 0 {
			most = 10
		}
		most = max(most, 0)
		if window == 0 {
			window = time.Minute
		}
		if backoff == 0 {
			backoff = 50 * time.Millisecond
		}
		if maxBackoff == 0 {
			maxBackoff = 5 * time.Second
		}
		var r Record
		var all []time.Time
		now := time.Unix(0, 0)
		for range rapid.IntRange(1, 60).Draw(t, "failures") {
			now = now.Add(time.Duration(rapid.IntRange(0, 5000).Draw(t, "after")) * time.Millisecond)
			recent := 0
			for _, at := range all {
				if now.Sub(at) < window {
					recent++
				}
			}
			if n := r.Restarts(&s, now); n != recent {
				t.Fatalf("%d restarts, want %d", n, recent)
			}
			d := Directive(rapid.IntRange(0, 3).Draw(t, "directive"))
			random := rapid.Float64Range(0, 0.999).Draw(t, "random")
			got := r.Next(&s, now, d, random)
			switch {
			case d != Restart:
				if got != (Decision{Directive: d}) {
					t.Fatalf("%v became %+v", d, got)
				}
			case recent >= most:
				if got != (Decision{Directive: Stop, Exhausted: true}) {
					t.Fatalf("after %d of %d: %+v", recent, most, got)
				}
			default:
				bound := 0.0
				if recent > 0 {
					bound = float64(min(backoff<<(recent-1), maxBackoff))
				}
				if want := time.Duration(random * bound); got != (Decision{Delay: want}) {
					t.Fatalf("after %d: %+v, want %v", recent, got, want)
				}
				all = append(all, now)
			}
		}
		if cap(r.recent) > 64 {
			t.Fatalf("a record keeps %d", cap(r.recent))
		}
	})
}

func TestValidate(t *testing.T) {
	if err := (Strategy{}).Validate(); err != nil {
		t.Error(err)
	}
	err := Strategy{Max: MaxRestarts + 1, Window: -1, Backoff: -1, MaxBackoff: -1}.Validate()
	for _, name := range []string{"Max is", "Window", " Backoff", "MaxBackoff"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not say %s", err, name)
		}
	}
}

func TestNames(t *testing.T) {
	for d, want := range map[Directive]string{Restart: "restart", Resume: "resume", Stop: "stop", Escalate: "escalate", 9: "directive(9)"} {
		if d.String() != want {
			t.Errorf("%d is %s", d, d)
		}
	}
}
