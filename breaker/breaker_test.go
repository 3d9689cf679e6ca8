package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/breaker"
	"github.com/tandem-go/tandem/intercept"
	"github.com/tandem-go/tandem/rpc"
)

// about is what a request of a test is about. It notes the events that it raises.
type about struct {
	to, typ string
	raised  *[]string
}

func (a about) To() string   { return a.to }
func (a about) Type() string { return a.typ }
func (a about) Message() any { return nil }
func (a about) From() string { return "" }
func (a about) Raise(typ rpc.EventType, err error) {
	*a.raised = append(*a.raised, fmt.Sprint(typ, ": ", err))
}

// caller makes requests through a breaker.
type caller struct {
	b      *breaker.Breaker
	raised []string
	ran    int
}

func newCaller(t testing.TB, cfg breaker.Config) *caller {
	t.Helper()
	b, err := breaker.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &caller{b: b}
}

// ask makes a request whose outcome is err.
func (c *caller) ask(to, typ string, err error) error {
	op := &intercept.Operation{Side: intercept.Outgoing, Op: access.Call}
	op.About(about{to, typ, &c.raised})
	return intercept.Run(context.Background(), []intercept.Func{c.b.Outgoing}, op, func(context.Context) error { c.ran++; return err })
}

// events returns what was raised since the last call.
func (c *caller) events() string {
	all := strings.Join(c.raised, "\n")
	c.raised = nil
	return all
}

func failed(code rpc.Code, v rpc.Verdict) error { return rpc.Errorf(code, v, "x") }

var away = failed(rpc.Unavailable, rpc.NotRun)

func want(t *testing.T, what string, got, want any) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestWhatIsAFailure(t *testing.T) {
	for _, row := range []struct {
		err  error
		want bool
	}{
		{nil, false}, {away, true}, {failed(rpc.Overloaded, rpc.NotRun), true}, {failed(rpc.Leaving, rpc.NotRun), true}, {failed(rpc.SessionLost, rpc.NotRun), true},
		{failed(rpc.Expired, rpc.NotRun), true}, {failed(rpc.Expired, rpc.Unknown), true}, {failed(rpc.OutcomeUnknown, rpc.Unknown), true},
		{failed(rpc.Overloaded, rpc.HasRun), false}, {failed(rpc.Failed, rpc.HasRun), false}, {rpc.NewError("shop.empty", "empty"), false},
		{failed(rpc.Canceled, rpc.Unknown), false}, {failed(rpc.Canceled, rpc.NotRun), false}, {failed(rpc.Denied, rpc.NotRun), false},
		{failed(rpc.NotFound, rpc.NotRun), false}, {failed(rpc.Invalid, rpc.NotRun), false},
	} {
		want(t, fmt.Sprint(row.err), breaker.IsFailure(row.err), row.want)
		synctest.Test(t, func(t *testing.T) {
			c := newCaller(t, breaker.Config{InRow: 1})
			err := c.ask("a", "m", row.err)
			if row.err != nil && !errors.Is(err, rpc.CodeOf(row.err)) || row.err == nil && err != nil {
				t.Errorf("%v became %v", row.err, err)
			}
			want(t, fmt.Sprint("opens after ", row.err), errors.Is(c.ask("a", "m", nil), breaker.ErrOpen), row.want)
		})
	}
}

// The life of a circuit.
func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, breaker.Config{InRow: 3, Pause: time.Second, Trials: 2})
		for range 2 {
			_ = c.ask("a", "m", away)
		}
		_ = c.ask("a", "m", nil) // not in a row
		for range 3 {
			want(t, "closed", errors.Is(c.ask("a", "m", away), breaker.ErrOpen), false)
		}
		want(t, "event", c.events(), "circuit changed: breaker: m to a: open, was closed: rpc: unavailable: x [not run]")
		time.Sleep(300 * time.Millisecond)
		ran := c.ran
		err := c.ask("a", "m", nil)
		var e *rpc.Error
		if !errors.As(err, &e) || e.Code != rpc.Unavailable || e.Verdict != rpc.NotRun || !errors.Is(err, breaker.ErrOpen) || e.RetryAfter != 700*time.Millisecond+1 {
			t.Errorf("open: %v, after %v", err, e.RetryAfter)
		}
		want(t, "requests that were sent", c.ran, ran)
		want(t, "another message", c.ask("a", "n", nil), error(nil))
		want(t, "another target", c.ask("b", "m", nil), error(nil))
		time.Sleep(e.RetryAfter)
		want(t, "on trial", c.ask("a", "m", away) != nil, true)
		want(t, "events", c.events(), "circuit changed: breaker: m to a: half-open, was open\ncircuit changed: breaker: m to a: open, was half-open: rpc: unavailable: x [not run]")
		time.Sleep(time.Second + 1)
		for range 2 {
			want(t, "on trial again", c.ask("a", "m", nil), error(nil))
		}
		want(t, "events", c.events(), "circuit changed: breaker: m to a: half-open, was open\ncircuit changed: breaker: m to a: closed, was half-open")
	})
}

// A half-open circuit lets no more through than Trials, also at the same time; what the caller
// cancels gives its place back.
func TestTrials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, breaker.Config{InRow: 1, Pause: time.Second, Trials: 2})
		_ = c.ask("a", "m", away)
		time.Sleep(time.Second + 1)
		for range 5 {
			_ = c.ask("a", "m", failed(rpc.Canceled, rpc.Unknown))
		}
		want(t, "requests", c.ran, 6)
		hold := make(chan struct{})
		var wg sync.WaitGroup
		var mu sync.Mutex
		sent, refused := 0, 0
		for range 10 {
			wg.Go(func() {
				op := &intercept.Operation{Side: intercept.Outgoing, Op: access.Call}
				op.About(about{"a", "m", new([]string)})
				err := intercept.Run(t.Context(), []intercept.Func{c.b.Outgoing}, op, func(context.Context) error {
					mu.Lock()
					sent++
					mu.Unlock()
					<-hold
					return nil
				})
				if errors.Is(err, breaker.ErrOpen) {
					mu.Lock()
					refused++
					mu.Unlock()
				}
			})
		}
		synctest.Wait()
		want(t, "sent and refused", fmt.Sprint(sent, refused), "2 8")
		close(hold)
		wg.Wait()
		want(t, "closed again", c.ask("a", "m", nil), error(nil))
	})
}

// A share of failures opens a circuit, if there were enough requests in the window.
func TestShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, breaker.Config{InRow: 1000, Share: 0.5, Window: 10 * time.Second})
		mixed := func(n int) (opened bool) {
			for i := range n {
				outcome := away
				if i%2 == 0 {
					outcome = nil
				}
				opened = errors.Is(c.ask("a", "m", outcome), breaker.ErrOpen) || opened
			}
			return opened
		}
		want(t, "18 requests", mixed(18), false)
		time.Sleep(20 * time.Second)
		want(t, "18 more, later", mixed(18), false)
		want(t, "and some soon", mixed(6), true)
	})
}

// The number of circuits is bounded.
func TestMaxCircuits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, breaker.Config{InRow: 1, MaxCircuits: 2})
		_ = c.ask("a", "m", away)
		_ = c.ask("b", "m", away)
		want(t, "open", errors.Is(c.ask("a", "m", nil), breaker.ErrOpen), true)
		_ = c.ask("c", "m", nil) // in place of b
		want(t, "still open", errors.Is(c.ask("a", "m", nil), breaker.ErrOpen), true)
		want(t, "forgotten", c.ask("b", "m", nil), error(nil))
	})
}

// Other targets and messages pass, and so does what nobody answers.
func TestWhatPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, breaker.Config{InRow: 1, Targets: []string{"a*"}, Messages: []string{"m"}})
		for range 3 {
			want(t, "other target", errors.Is(c.ask("b", "m", away), breaker.ErrOpen), false)
			want(t, "other message", errors.Is(c.ask("a1", "n", away), breaker.ErrOpen), false)
		}
		op := &intercept.Operation{Side: intercept.Outgoing, Op: access.Send}
		op.About(about{"a1", "m", &c.raised})
		_ = c.ask("a1", "m", away)
		time.Sleep(6 * time.Second)
		err := intercept.Run(t.Context(), []intercept.Func{c.b.Outgoing}, op, func(context.Context) error { return nil })
		want(t, "a one-way message on trial", err, error(nil))
		if got := c.events(); strings.Contains(got, ": closed, was") {
			t.Errorf("it has closed the circuit: %s", got)
		}
	})
}

func TestFallback(t *testing.T) {
	instead := func(err error) (string, error) { return "old", nil }
	for _, row := range []struct {
		err  error
		want string
	}{{nil, "new"}, {away, "old"}, {failed(rpc.Failed, rpc.HasRun), "new"}} {
		got, err := breaker.Fallback(instead)("new", row.err)
		want(t, fmt.Sprint(row.err), got, row.want)
		if row.want == "old" && err != nil || row.want == "new" && err != row.err {
			t.Errorf("%v became %v", row.err, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	_, err := breaker.New(breaker.Config{InRow: -1, Share: 2, Window: -1, Pause: -1, Trials: -1, MaxCircuits: -1, Targets: []string{""}, Messages: []string{""}})
	for _, text := range []string{"InRow is -1", "Share is 2", "Window is -1", "Pause is -1", "Trials is -1", "MaxCircuits is -1", "Targets: an empty name", "Messages: an empty name"} {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("nothing says %q: %v", text, err)
		}
	}
}

func BenchmarkOutgoing(b *testing.B) {
	c := newCaller(b, breaker.Config{})
	for b.Loop() {
		_ = c.ask("a", "m", nil)
	}
}
