package retry

import (
	"testing"
	"time"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

func TestRetryNext(t *testing.T) {
	defaults := rpc.Retry{}.WithDefaults()
	refused := func(c rpc.Code) *rpc.Error { return &rpc.Error{Code: c, Verdict: rpc.NotRun} }
	overloaded, unavailable := refused(rpc.Overloaded), refused(rpc.Unavailable)
	unknown := &rpc.Error{Code: rpc.OutcomeUnknown, Verdict: rpc.Unknown}
	const minute = time.Minute
	for _, row := range []struct {
		what   string
		f      Failure
		random float64
		pause  time.Duration
		again  bool
	}{
		{"first failure, half the range", Failure{Made: 1, Cost: 1, Err: overloaded, Left: minute}, 0.5, 25 * time.Millisecond, true},
		{"second", Failure{Made: 2, Cost: 2, Err: overloaded, Left: minute}, 0.5, 50 * time.Millisecond, true},
		{"third", Failure{Made: 3, Cost: 3, Err: overloaded, Left: minute}, 0.5, 100 * time.Millisecond, true},
		{"fourth and last", Failure{Made: 4, Cost: 4, Err: overloaded, Left: minute}, 0.5, 0, false},
		{"no time left", Failure{Made: 1, Cost: 1, Err: overloaded, Left: 25 * time.Millisecond}, 0.5, 25 * time.Millisecond, false},
		{"the server's wish", Failure{Made: 1, Cost: 1, Err: &rpc.Error{Code: rpc.Overloaded, Verdict: rpc.NotRun, RetryAfter: time.Second}, Left: minute}, 0.5, time.Second, true},
		{"the server's wish is beyond the deadline", Failure{Made: 1, Cost: 1, Err: &rpc.Error{Code: rpc.Overloaded, Verdict: rpc.NotRun, RetryAfter: time.Hour}, Left: minute}, 0, time.Hour, false},
		{"away", Failure{Made: 1, Err: unavailable, Left: minute}, 0, 0, true},
		{"away for long", Failure{Made: 500, Err: unavailable, Left: minute}, 1, defaults.MaxPause, true},
		{"away until the deadline", Failure{Made: 500, Err: unavailable, Left: time.Second}, 1, defaults.MaxPause, false},
		{"of another wire version", Failure{Made: 1, Cost: 1, Err: rpc.Errorf(rpc.Unavailable, rpc.NotRun, "%w", transport.ErrVersion), Left: minute}, 0, 0, true},
		{"of another cluster, still", Failure{Made: 4, Cost: 4, Err: rpc.Errorf(rpc.Unavailable, rpc.NotRun, "%w", transport.ErrCluster), Left: minute}, 0, 0, false},
		{"may have run", Failure{Made: 1, Cost: 1, Err: unknown, Left: minute}, 0, 0, false},
		{"may have run, idempotent", Failure{Made: 1, Cost: 1, Err: unknown, Idempotent: true, Left: minute}, 0, 0, true},
		{"may have run, and is known again", Failure{Made: 9, Err: unknown, Idempotent: true, Named: true, Left: minute}, 0, 0, true},
		{"ran", Failure{Made: 1, Cost: 1, Err: &rpc.Error{Code: rpc.Failed, Verdict: rpc.HasRun}, Idempotent: true, Left: minute}, 0, 0, false},
		{"ran, and its handler met an overload elsewhere", Failure{Made: 1, Cost: 1, Err: &rpc.Error{Code: rpc.Overloaded, Verdict: rpc.HasRun}, Idempotent: true, Left: minute}, 0, 0, false},
		{"will not pass by itself", Failure{Made: 1, Err: refused(rpc.NotFound), Left: minute}, 0, 0, false},

		{"to another instance", Failure{Made: 1, Cost: 1, Err: overloaded, Service: true, Untried: true, Left: minute}, 1, 0, true},
		{"to the fourth instance of a service that refuses", Failure{Made: 4, Cost: 4, Err: overloaded, Service: true, Untried: true, Left: minute}, 1, 0, false},
		{"to the tenth instance of a service that is away", Failure{Made: 9, Err: unavailable, Service: true, Untried: true, Left: minute}, 1, 0, true},
		{"no such actor there", Failure{Made: 1, Err: refused(rpc.NotFound), Service: true, Untried: true, Left: minute}, 1, 0, true},
		{"no such actor anywhere, now", Failure{Made: 1, Err: refused(rpc.NotFound), Service: true, Left: minute}, 1, defaults.MinPause, true},
		{"of another version", Failure{Made: 1, Err: refused(rpc.Unhandled), Service: true, Untried: true, Left: minute}, 1, 0, true},
		{"of another version, all of them", Failure{Made: 3, Err: refused(rpc.Unhandled), Service: true, Left: minute}, 1, 0, false},
		{"the same everywhere", Failure{Made: 1, Err: refused(rpc.TooLarge), Service: true, Untried: true, Left: minute}, 1, 0, false},
		{"too late everywhere", Failure{Made: 1, Err: refused(rpc.Expired), Service: true, Untried: true, Left: minute}, 1, 0, false},
		{"may have run there", Failure{Made: 1, Cost: 1, Err: unknown, Service: true, Untried: true, Left: minute}, 1, 0, false},
	} {
		if got := row.f.Costs(); got != (row.f.Cost > 0) {
			t.Errorf("%s: costs: %v", row.what, got)
		}
		pause, again := Next(rpc.Retry{}, row.f, row.random)
		if again != row.again || again && pause != row.pause {
			t.Errorf("%s: %v after %v; want %v after %v", row.what, again, pause, row.again, row.pause)
		}
	}
	many := rpc.Retry{Attempts: 1000}
	if pause, _ := Next(many, Failure{Made: 900, Cost: 900, Err: overloaded, Left: time.Hour}, 1); pause != defaults.MaxPause {
		t.Errorf("the longest pause is %v", pause)
	}
	for _, err := range []*rpc.Error{overloaded, unavailable} {
		if _, again := Next(rpc.Retry{Attempts: 1}, Failure{Made: 1, Err: err, Service: true, Untried: true, Left: time.Hour}, 0); again {
			t.Errorf("one attempt is two after %v", err)
		}
	}
	leaving := refused(rpc.Leaving)
	if pause, again := Next(rpc.Retry{}, Failure{Made: 1, Err: leaving, Service: true, Untried: true, Left: time.Second}, 0.5); pause != 0 || !again {
		t.Errorf("at an instance that leaves: %v after %v, want true at once", again, pause)
	}
	if pause, again := Next(rpc.Retry{}, Failure{Made: 40, Err: leaving, Left: time.Minute}, 0.5); pause != time.Second || !again {
		t.Errorf("at the 40th that leaves: %v after %v: waiting counts for nothing", again, pause)
	}
	if _, again := Next(rpc.Retry{}, Failure{Made: 40, Cost: 4, Err: leaving, Left: time.Minute}, 0.5); again {
		t.Error("four attempts that count are five")
	}
}

// An idempotent request is retried also if it is unknown whether it ran, and from then on its
// error says so. Other requests end in this case.
func TestRetryBudget(t *testing.T) {
	b := NewBudget(rpc.Retry{Burst: 3, Earn: 0.5})
	spend := func(want ...bool) {
		t.Helper()
		for i, w := range want {
			if b.Spend() != w {
				t.Fatalf("spend %d: %v", i, !w)
			}
		}
	}
	spend(true, true, true, false)
	b.Earn()
	spend(false)
	b.Earn()
	spend(true, false)
	for range 100 {
		b.Earn()
	}
	spend(true, true, true, false)
}
