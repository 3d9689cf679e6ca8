package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/tandem-go/tandem/transport"
)

var errFunds = NewError("bank.insufficient_funds", "insufficient funds")

func TestCodeOfAndRan(t *testing.T) {
	overloaded := Errorf(Overloaded, NotRun, "full")
	for _, row := range []struct {
		name string
		err  error
		code Code
		ran  Verdict
	}{
		{"nil", nil, 0, HasRun},
		{"any other error", io.EOF, Failed, Unknown},
		{"context canceled", context.Canceled, Canceled, Unknown},
		{"context deadline", fmt.Errorf("x: %w", context.DeadlineExceeded), Expired, Unknown},
		{"a bare code", Denied, Denied, Unknown},
		{"an Error", overloaded, Overloaded, NotRun},
		{"wrapped", fmt.Errorf("a: %w", fmt.Errorf("b: %w", overloaded)), Overloaded, NotRun},
		{"joined", errors.Join(io.EOF, overloaded), Overloaded, NotRun},
		{"an application's", errFunds, Failed, HasRun},
		{"the outermost counts", Errorf(Expired, Unknown, "late: %w", overloaded), Expired, Unknown},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := CodeOf(row.err); got != row.code {
				t.Errorf("code %v, want %v", got, row.code)
			}
			if got := Ran(row.err); got != row.ran {
				t.Errorf("ran: %v, want %v", got, row.ran)
			}
		})
	}
}

func TestErrorIs(t *testing.T) {
	overloaded := Errorf(Overloaded, NotRun, "full")
	twin := NewError("bank.insufficient_funds", "not enough") // as it arrives from another node
	for _, row := range []struct {
		name   string
		err    error
		target error
		want   bool
	}{
		{"its code", overloaded, Overloaded, true},
		{"another code", overloaded, Denied, false},
		{"its code through wrapping", fmt.Errorf("x: %w", overloaded), Overloaded, true},
		{"an application's by name", twin, errFunds, true},
		{"an application's by another name", NewError("bank.closed", "insufficient funds"), errFunds, false},
		{"no name matches no name", Errorf(Failed, HasRun, "a"), Errorf(Failed, HasRun, "a"), false},
		{"an application's is Failed", errFunds, Failed, true},
		{"Expired is a deadline", Errorf(Expired, Unknown, ""), context.DeadlineExceeded, true},
		{"Canceled is a cancel", Errorf(Canceled, Unknown, ""), context.Canceled, true},
		{"Expired is no cancel", Errorf(Expired, Unknown, ""), context.Canceled, false},
		{"Unavailable is neither", Errorf(Unavailable, Unknown, ""), context.DeadlineExceeded, false},
		{"%w is a cause", Errorf(TooLarge, NotRun, "%w", transport.ErrTooLarge), transport.ErrTooLarge, true},
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
		{(&Error{Code: Overloaded, Verdict: NotRun, Node: "b", Message: "full"}).Error(), "rpc: overloaded (node b): full [not run]"},
		{(&Error{Code: Expired}).Error(), "rpc: expired [unknown]"},
		{errFunds.Error(), "insufficient funds"},
		{Denied.Error(), "rpc: denied"},
		{Code(99).Error(), "rpc: code(99)"},
		{Code(0).String(), "none"},
		{lastCode.String(), "cycle"},
		{Verdict(9).String(), "ran"},
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
	if err := FromContext(canceled, NotRun); CodeOf(err) != Canceled || Ran(err) != NotRun || !errors.Is(err, why) {
		t.Errorf("canceled: %v", err)
	}
	if err := FromContext(late, Unknown); CodeOf(err) != Expired || Ran(err) != Unknown || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("late: %v", err)
	}
}
