package rpc

import (
	"context"
	"testing"
	"time"

	"github.com/tandem-go/tandem/transport"
)

func TestRetryNext(t *testing.T) {
	refused := func(c Code) *Error { return &Error{Code: c, Verdict: NotRun} }
	overloaded, unavailable := refused(Overloaded), refused(Unavailable)
	unknown := &Error{Code: OutcomeUnknown, Verdict: Unknown}
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
		{"the server's wish", Failure{Made: 1, Cost: 1, Err: &Error{Code: Overloaded, Verdict: NotRun, RetryAfter: time.Second}, Left: minute}, 0.5, time.Second, true},
		{"the server's wish is beyond the deadline", Failure{Made: 1, Cost: 1, Err: &Error{Code: Overloaded, Verdict: NotRun, RetryAfter: time.Hour}, Left: minute}, 0, time.Hour, false},
		{"away", Failure{Made: 1, Err: unavailable, Left: minute}, 0, 0, true},
		{"away for long", Failure{Made: 500, Err: unavailable, Left: minute}, 1, DefaultMaxPause, true},
		{"away until the deadline", Failure{Made: 500, Err: unavailable, Left: time.Second}, 1, DefaultMaxPause, false},
		{"of another wire version", Failure{Made: 1, Cost: 1, Err: Errorf(Unavailable, NotRun, "%w", transport.ErrVersion), Left: minute}, 0, 0, true},
		{"of another cluster, still", Failure{Made: 4, Cost: 4, Err: Errorf(Unavailable, NotRun, "%w", transport.ErrCluster), Left: minute}, 0, 0, false},
		{"may have run", Failure{Made: 1, Cost: 1, Err: unknown, Left: minute}, 0, 0, false},
		{"may have run, idempotent", Failure{Made: 1, Cost: 1, Err: unknown, Idempotent: true, Left: minute}, 0, 0, true},
		{"ran", Failure{Made: 1, Cost: 1, Err: &Error{Code: Failed, Verdict: HasRun}, Idempotent: true, Left: minute}, 0, 0, false},
		{"ran, and its handler met an overload elsewhere", Failure{Made: 1, Cost: 1, Err: &Error{Code: Overloaded, Verdict: HasRun}, Idempotent: true, Left: minute}, 0, 0, false},
		{"will not pass by itself", Failure{Made: 1, Err: refused(NotFound), Left: minute}, 0, 0, false},

		{"to another instance", Failure{Made: 1, Cost: 1, Err: overloaded, Service: true, Untried: true, Left: minute}, 1, 0, true},
		{"to the fourth instance of a service that refuses", Failure{Made: 4, Cost: 4, Err: overloaded, Service: true, Untried: true, Left: minute}, 1, 0, false},
		{"to the tenth instance of a service that is away", Failure{Made: 9, Err: unavailable, Service: true, Untried: true, Left: minute}, 1, 0, true},
		{"no such actor there", Failure{Made: 1, Err: refused(NotFound), Service: true, Untried: true, Left: minute}, 1, 0, true},
		{"no such actor anywhere, now", Failure{Made: 1, Err: refused(NotFound), Service: true, Left: minute}, 1, DefaultMinPause, true},
		{"of another version", Failure{Made: 1, Err: refused(Unhandled), Service: true, Untried: true, Left: minute}, 1, 0, true},
		{"of another version, all of them", Failure{Made: 3, Err: refused(Unhandled), Service: true, Left: minute}, 1, 0, false},
		{"the same everywhere", Failure{Made: 1, Err: refused(TooLarge), Service: true, Untried: true, Left: minute}, 1, 0, false},
		{"too late everywhere", Failure{Made: 1, Err: refused(Expired), Service: true, Untried: true, Left: minute}, 1, 0, false},
		{"may have run there", Failure{Made: 1, Cost: 1, Err: unknown, Service: true, Untried: true, Left: minute}, 1, 0, false},
	} {
		if got := row.f.Costs(); got != (row.f.Cost > 0) {
			t.Errorf("%s: costs: %v", row.what, got)
		}
		pause, again := Retry{}.Next(row.f, row.random)
		if again != row.again || again && pause != row.pause {
			t.Errorf("%s: %v after %v; want %v after %v", row.what, again, pause, row.again, row.pause)
		}
	}
	many := Retry{Attempts: 1000}
	if pause, _ := many.Next(Failure{Made: 900, Cost: 900, Err: overloaded, Left: time.Hour}, 1); pause != DefaultMaxPause {
		t.Errorf("the longest pause is %v", pause)
	}
	for _, err := range []*Error{overloaded, unavailable} {
		if _, again := (Retry{Attempts: 1}).Next(Failure{Made: 1, Err: err, Service: true, Untried: true, Left: time.Hour}, 0); again {
			t.Errorf("one attempt is two after %v", err)
		}
	}
	leaving := errLeft("b")
	if pause, again := (Retry{}).Next(Failure{Made: 1, Err: leaving, Service: true, Untried: true, Left: time.Second}, 0.5); pause != 0 || !again {
		t.Errorf("at an instance that leaves: %v after %v, want true at once", again, pause)
	}
	if pause, again := (Retry{}).Next(Failure{Made: 40, Err: leaving, Left: time.Minute}, 0.5); pause != time.Second || !again {
		t.Errorf("at the 40th that leaves: %v after %v: waiting counts for nothing", again, pause)
	}
	if _, again := (Retry{}).Next(Failure{Made: 40, Cost: 4, Err: leaving, Left: time.Minute}, 0.5); again {
		t.Error("four attempts that count are five")
	}
}

// An idempotent request is made anew also where nobody knows whether it ran, and its
// error says so for good; others end there.
func TestIdempotentRequest(t *testing.T) {
	for _, idempotent := range []bool{false, true} {
		withRig(t, func(t *testing.T, r *rig) {
			a, b := r.start("a", "a1", direct), r.start("b", "b1", direct)
			b.handle(func(_ *Inbound, body string) string { time.Sleep(time.Second); return body })
			req := request("b", "x", patience)
			req.Retry, req.Rare = &Retry{}, &Rare{Idempotent: idempotent}
			f, _ := a.send(req)
			time.Sleep(time.Second / 2)
			b = r.start("b", "b2", direct)
			b.handle(func(_ *Inbound, body string) string { return "anew " + body })
			r.net.Reset("direct", "a", "b")
			got, err := f.Await(context.Background())
			if idempotent && (got != "anew x" || err != nil) {
				t.Errorf("idempotent: %q, %v", got, err)
			}
			if !idempotent {
				wantErr(t, "not idempotent", err, OutcomeUnknown, Unknown)
			}
			time.Sleep(time.Minute)
		})
	}
}

func TestRetryBudget(t *testing.T) {
	b := NewBudget(Retry{Burst: 3, Earn: 0.5})
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

// A caller that gives up while an attempt waits for room in the window waits no longer.
func TestGiveUpWhileARetryWaitsForRoom(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", direct, func(c *Config) { c.Window = 1 }), r.start("b", "b1", direct)
		b.serve = func(in *Inbound) {
			if string(in.TakeBody()) == "refused" {
				in.Refuse(Errorf(Overloaded, NotRun, "no"))
				return
			}
			in.Start()
			time.Sleep(20 * time.Second)
			in.Reply(1, 1, nil)
		}
		req := request("b", "refused", patience)
		req.Retry = &Retry{}
		f, call := a.send(req)
		slow, _ := a.send(request("b", "slow", patience)) // takes the place once the first attempt was refused
		time.Sleep(time.Second)
		began := time.Now()
		call.GiveUp(Canceled, "enough")
		_, err := f.Await(t.Context())
		wantErr(t, "a request whose retry had not left", err, Canceled, NotRun)
		if took := time.Since(began); took > 0 {
			t.Errorf("took %v", took)
		}
		if _, err := slow.Await(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
