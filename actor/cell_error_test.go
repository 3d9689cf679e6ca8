package actor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/tandem-go/tandem/rpc"
)

// If a handler returns an error, the verdict is HasRun, even if the error is that of another
// request with another verdict. The error remains the cause, and the name of an application's
// error survives wrapping.
func TestHandlerError(t *testing.T) {
	funds := rpc.NewError("bank.insufficient_funds", "insufficient funds")
	overloaded := rpc.Errorf(rpc.Overloaded, rpc.NotRun, "full")
	for _, row := range []struct {
		name string
		err  error
		is   error // what else the result matches
		user string
	}{
		{"another's Overloaded", overloaded, overloaded, ""},
		{"another's Overloaded, wrapped", fmt.Errorf("asking b: %w", overloaded), rpc.Overloaded, ""},
		{"its context's error", context.Canceled, context.Canceled, ""},
		{"an application's", funds, funds, funds.User},
		{"an application's, wrapped", fmt.Errorf("withdraw: %w", funds), funds, funds.User},
		{"through a nested handler", handlerError(fmt.Errorf("b: %w", handlerError(fmt.Errorf("c: %w", funds)))), funds, funds.User},
		{"below an error of the framework", rpc.Errorf(rpc.Failed, rpc.HasRun, "x: %w", funds), funds, funds.User},
		{"joined behind another", errors.Join(io.EOF, funds), funds, funds.User},
		{"any other error", io.EOF, io.EOF, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := handlerError(row.err)
			if err.Code != rpc.Failed || err.Verdict != rpc.HasRun || err.User != row.user || err.Message != row.err.Error() {
				t.Errorf("%+v", err)
			}
			if !errors.Is(err, row.is) || errors.Is(err, funds) != (row.user != "") {
				t.Errorf("%v: matches %v: %v, the application's: %v", err, row.is, errors.Is(err, row.is), errors.Is(err, funds))
			}
		})
	}
}
