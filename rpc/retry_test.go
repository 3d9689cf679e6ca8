package rpc

import (
	"context"
	"testing"
	"time"
)

func TestRetryNext(t *testing.T) {
	overloaded := &Error{Code: Overloaded, Verdict: NotRun}
	for _, row := range []struct {
		what       string
		made       int
		err        *Error
		idempotent bool
		left       time.Duration
		random     float64
		pause      time.Duration
		again      bool
	}{
		{"first failure, half the range", 1, overloaded, false, time.Minute, 0.5, 25 * time.Millisecond, true},
		{"second", 2, overloaded, false, time.Minute, 0.5, 50 * time.Millisecond, true},
		{"third", 3, overloaded, false, time.Minute, 0.5, 100 * time.Millisecond, true},
		{"fourth and last", 4, overloaded, false, time.Minute, 0.5, 0, false},
		{"no time left", 1, overloaded, false, 25 * time.Millisecond, 0.5, 25 * time.Millisecond, false},
		{"the server's wish", 1, &Error{Code: Overloaded, Verdict: NotRun, RetryAfter: time.Second}, false, time.Minute, 0.5, time.Second, true},
		{"the server's wish is beyond the deadline", 1, &Error{Code: Overloaded, Verdict: NotRun, RetryAfter: time.Hour}, false, time.Minute, 0, time.Hour, false},
		{"unavailable", 1, &Error{Code: Unavailable, Verdict: NotRun}, false, time.Minute, 0, 0, true},
		{"may have run", 1, &Error{Code: OutcomeUnknown, Verdict: Unknown}, false, time.Minute, 0, 0, false},
		{"may have run, idempotent", 1, &Error{Code: OutcomeUnknown, Verdict: Unknown}, true, time.Minute, 0, 0, true},
		{"ran", 1, &Error{Code: Failed, Verdict: HasRun}, true, time.Minute, 0, 0, false},
		{"ran, and its handler met an overload elsewhere", 1, &Error{Code: Overloaded, Verdict: HasRun}, true, time.Minute, 0, 0, false},
		{"will not pass by itself", 1, &Error{Code: NotFound, Verdict: NotRun}, false, time.Minute, 0, 0, false},
	} {
		pause, again := Retry{}.Next(row.made, row.made, row.err, row.idempotent, row.left, row.random)
		if again != row.again || again && pause != row.pause {
			t.Errorf("%s: %v after %v; want %v after %v", row.what, again, pause, row.again, row.pause)
		}
	}
	many := Retry{Attempts: 1000}
	if pause, _ := many.Next(900, 900, overloaded, false, time.Hour, 1); pause != DefaultMaxPause {
		t.Errorf("the longest pause is %v", pause)
	}
	if _, again := (Retry{Attempts: 1}).Next(1, 1, overloaded, false, time.Hour, 0); again {
		t.Error("one attempt is two")
	}
	leaving := errLeft("b")
	if pause, again := (Retry{}).Next(1, 0, leaving, false, time.Second, 0.5); pause != 0 || !again {
		t.Errorf("at a node that leaves: %v after %v, want true at once", again, pause)
	}
	if pause, again := (Retry{}).Next(40, 0, leaving, false, time.Minute, 0.5); pause != time.Second || !again {
		t.Errorf("at the 40th that leaves: %v after %v: waiting counts for nothing", again, pause)
	}
	if _, again := (Retry{}).Next(40, 4, leaving, false, time.Minute, 0.5); again {
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
