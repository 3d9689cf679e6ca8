package intercept_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/intercept"
	"github.com/tandem-go/tandem/rpc"
)

type next = func(context.Context) error

// passes goes on, and returns what next returned.
func passes(ctx context.Context, _ *intercept.Operation, go_ next) error { return go_(ctx) }

// The outcome of an operation, by what its one interceptor does, and what the operation itself
// returns.
func TestOutcome(t *testing.T) {
	mine, ran := errors.New("mine"), rpc.Errorf(rpc.Failed, rpc.HasRun, "theirs")
	notRun := rpc.Errorf(rpc.Overloaded, rpc.NotRun, "theirs")
	for _, row := range []struct {
		name  string
		op    access.Op
		side  intercept.Side
		inner error
		fn    func(ctx context.Context, n next) error
		want  string
	}{
		{"goes on", access.Call, intercept.Outgoing, nil, func(ctx context.Context, n next) error { return n(ctx) }, "1 run, <nil>, ran"},
		{"goes on, one-way", access.Send, intercept.Outgoing, nil, func(ctx context.Context, n next) error { return n(ctx) }, "1 run, <nil>, unknown"},
		{"goes on and fails", access.Call, intercept.Outgoing, ran, func(ctx context.Context, n next) error { return n(ctx) }, "1 run, failed: theirs, ran"},
		{"wraps", access.Call, intercept.Outgoing, notRun, func(ctx context.Context, n next) error { return fmt.Errorf("wrapped: %w", n(ctx)) }, "1 run, overloaded: theirs, not run"},
		{"lies", access.Call, intercept.Outgoing, ran, func(ctx context.Context, n next) error { _ = n(ctx); return notRun }, "1 run, overloaded: theirs, ran"},
		{"hides", access.Call, intercept.Outgoing, notRun, func(ctx context.Context, n next) error { _ = n(ctx); return nil }, "1 run, overloaded: theirs, not run"},
		{"refuses", access.Call, intercept.Outgoing, nil, func(context.Context, next) error { return mine }, "0 run, denied: mine, not run"},
		{"refuses with a verdict", access.Call, intercept.Incoming, nil, func(context.Context, next) error { return ran }, "0 run, failed: theirs, not run"},
		{"skips", access.Call, intercept.Incoming, nil, func(context.Context, next) error { return nil }, "0 run, denied: intercept: an interceptor returned nil without a call of next, not run"},
		{"panics before", access.Call, intercept.Outgoing, nil, func(context.Context, next) error { panic("x") }, "0 run, panicked: an interceptor of the sender panicked: x, not run"},
		{"panics after", access.Call, intercept.Outgoing, notRun, func(ctx context.Context, n next) error { _ = n(ctx); panic("x") }, "1 run, panicked: an interceptor of the sender panicked: x, not run"},
		{"twice", access.Call, intercept.Incoming, nil, func(ctx context.Context, n next) error { _ = n(ctx); return n(ctx) }, "1 run, invalid: intercept: next was called before, or the interceptor has returned, ran"},
	} {
		t.Run(row.name, func(t *testing.T) {
			op, runs := &intercept.Operation{Side: row.side, Op: row.op}, 0
			fns := []intercept.Func{passes, func(ctx context.Context, _ *intercept.Operation, n next) error { return row.fn(ctx, n) }, passes}
			err := intercept.Run(t.Context(), fns, op, func(context.Context) error { runs++; return row.inner })
			text := fmt.Sprint(err)
			var e *rpc.Error
			if errors.As(err, &e) {
				text = fmt.Sprintf("%v: %s", strings.TrimPrefix(e.Code.Error(), "rpc: "), e.Message)
				if row.side == intercept.Outgoing && e.Verdict != op.Verdict {
					t.Errorf("the error says %v, the operation %v", e.Verdict, op.Verdict)
				}
			}
			if got := fmt.Sprintf("%d run, %s, %v", runs, text, op.Verdict); got != row.want {
				t.Errorf("got %s\nwant %s", got, row.want)
			}
		})
	}
}

// next in another goroutine is waited for; after the interceptor has returned it does nothing.
func TestNextElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var late next
		inside, hold := make(chan bool), make(chan bool)
		ended := make(chan error)
		go func() {
			ended <- intercept.Run(t.Context(), []intercept.Func{func(ctx context.Context, _ *intercept.Operation, n next) error {
				late = n
				go func() { _ = n(ctx) }()
				<-inside
				return nil
			}}, &intercept.Operation{Side: intercept.Incoming, Op: access.Call}, func(context.Context) error {
				inside <- true
				<-hold
				return nil
			})
		}()
		synctest.Wait()
		select {
		case err := <-ended:
			t.Fatalf("ended while next runs: %v", err)
		default:
		}
		close(hold)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := late(t.Context()); !errors.Is(err, intercept.ErrSecondNext) || rpc.Ran(err) != rpc.NotRun {
			t.Error(err)
		}
	})
}

// Headers are those of the sender and those that interceptors have set; the first of a name counts.
func TestHeaders(t *testing.T) {
	op := &intercept.Operation{Side: intercept.Outgoing}
	op.Came("a", "1")
	op.SetHeader("a", "2")
	op.SetHeader("b", "3")
	var added []string
	op.Added(func(k, v string) { added = append(added, k+v) })
	if op.Header("a") != "1" || op.Header("b") != "3" || op.Header("c") != "" || fmt.Sprint(added) != "[b3]" {
		t.Error(op.Header("a"), op.Header("b"), added)
	}
	in := &intercept.Operation{Side: intercept.Incoming}
	if in.SetHeader("a", "1"); in.Header("a") != "" {
		t.Error("a header was added to a message that has arrived")
	}
}
