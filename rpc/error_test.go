package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

var errFunds = rpc.NewError("bank.insufficient_funds", "insufficient funds")

func TestCodeOfAndRan(t *testing.T) {
	overloaded := rpc.Errorf(rpc.Overloaded, rpc.NotRun, "full")
	for _, row := range []struct {
		name string
		err  error
		code rpc.Code
		ran  rpc.Verdict
	}{
		{"nil", nil, 0, rpc.HasRun},
		{"any other error", io.EOF, rpc.Failed, rpc.Unknown},
		{"context canceled", context.Canceled, rpc.Canceled, rpc.Unknown},
		{"context deadline", fmt.Errorf("x: %w", context.DeadlineExceeded), rpc.Expired, rpc.Unknown},
		{"a bare code", rpc.Denied, rpc.Denied, rpc.Unknown},
		{"an Error", overloaded, rpc.Overloaded, rpc.NotRun},
		{"wrapped", fmt.Errorf("a: %w", fmt.Errorf("b: %w", overloaded)), rpc.Overloaded, rpc.NotRun},
		{"joined", errors.Join(io.EOF, overloaded), rpc.Overloaded, rpc.NotRun},
		{"an application's", errFunds, rpc.Failed, rpc.HasRun},
		{"the outermost counts", rpc.Errorf(rpc.Expired, rpc.Unknown, "late: %w", overloaded), rpc.Expired, rpc.Unknown},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := rpc.CodeOf(row.err); got != row.code {
				t.Errorf("code %v, want %v", got, row.code)
			}
			if got := rpc.Ran(row.err); got != row.ran {
				t.Errorf("ran: %v, want %v", got, row.ran)
			}
		})
	}
}

func TestErrorIs(t *testing.T) {
	overloaded := rpc.Errorf(rpc.Overloaded, rpc.NotRun, "full")
	twin := rpc.NewError("bank.insufficient_funds", "not enough") // as it arrives from another node
	for _, row := range []struct {
		name   string
		err    error
		target error
		want   bool
	}{
		{"its code", overloaded, rpc.Overloaded, true},
		{"another code", overloaded, rpc.Denied, false},
		{"its code through wrapping", fmt.Errorf("x: %w", overloaded), rpc.Overloaded, true},
		{"an application's by name", twin, errFunds, true},
		{"an application's by another name", rpc.NewError("bank.closed", "insufficient funds"), errFunds, false},
		{"no name matches no name", rpc.Errorf(rpc.Failed, rpc.HasRun, "a"), rpc.Errorf(rpc.Failed, rpc.HasRun, "a"), false},
		{"an application's is Failed", errFunds, rpc.Failed, true},
		{"Expired is a deadline", rpc.Errorf(rpc.Expired, rpc.Unknown, ""), context.DeadlineExceeded, true},
		{"Canceled is a cancel", rpc.Errorf(rpc.Canceled, rpc.Unknown, ""), context.Canceled, true},
		{"Expired is no cancel", rpc.Errorf(rpc.Expired, rpc.Unknown, ""), context.Canceled, false},
		{"Unavailable is neither", rpc.Errorf(rpc.Unavailable, rpc.Unknown, ""), context.DeadlineExceeded, false},
		{"%w is a cause", rpc.Errorf(rpc.TooLarge, rpc.NotRun, "%w", transport.ErrTooLarge), transport.ErrTooLarge, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := errors.Is(row.err, row.target); got != row.want {
				t.Errorf("errors.Is(%v, %v) = %v", row.err, row.target, got)
			}
		})
	}
}

func TestErrorText(t *testing.T) {
	for _, row := range []struct{ err, want string }{
		{(&rpc.Error{Code: rpc.Overloaded, Verdict: rpc.NotRun, Node: "b", Message: "full"}).Error(), "rpc: overloaded (node b): full [not run]"},
		{(&rpc.Error{Code: rpc.Expired}).Error(), "rpc: expired [unknown]"},
		{errFunds.Error(), "insufficient funds"},
		{rpc.Denied.Error(), "rpc: denied"},
		{rpc.Code(99).Error(), "rpc: code(99)"},
		{rpc.Code(0).String(), "none"},
		{rpc.Moved.String(), "moved"}, // the last one
		{(rpc.Moved + 1).String(), "code(23)"},
		{rpc.Verdict(9).String(), "ran"},
	} {
		if row.err != row.want {
			t.Errorf("text %q, want %q", row.err, row.want)
		}
	}
}

func TestFromContext(t *testing.T) {
	why := errors.New("enough")
	canceled, cancel := context.WithCancelCause(context.Background())
	cancel(why)
	late, stop := context.WithDeadline(context.Background(), time.Unix(0, 0))
	defer stop()
	if err := rpc.FromContext(canceled, rpc.NotRun); rpc.CodeOf(err) != rpc.Canceled || rpc.Ran(err) != rpc.NotRun || !errors.Is(err, why) {
		t.Errorf("canceled: %v", err)
	}
	if err := rpc.FromContext(late, rpc.Unknown); rpc.CodeOf(err) != rpc.Expired || rpc.Ran(err) != rpc.Unknown || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("late: %v", err)
	}
}
