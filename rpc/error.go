package rpc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Error is what every failed request ends with. Its Verdict is set by the hop that
// knows, never derived from the code: when a handler gets Overloaded from another
// actor and returns it, that handler ran, and the Overloaded is its cause.
//
// An Error is immutable once it was handed out.
type Error struct {
	Code       Code
	Verdict    Verdict
	Message    string        // for people
	User       string        // the application's own code, see NewError
	Node       string        // the node that said so; empty if this system inferred it
	RetryAfter time.Duration // the server asks not to be tried earlier; 0 for no wish

	cause error
}

// NewError defines an error of the application's own, to be returned from handlers,
// bare or wrapped. user names it across the cluster: on the caller's side errors.Is
// matches any error that carries the same name.
//
//	var ErrFunds = rpc.NewError("bank.insufficient_funds", "insufficient funds")
func NewError(user, message string) *Error {
	return &Error{Code: Failed, Verdict: HasRun, User: user, Message: message}
}

// Errorf returns an error of a code with a verdict. A %w in format becomes its cause:
// where that has the same verdict, its text does not say it a second time.
func Errorf(code Code, verdict Verdict, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	e := &Error{Code: code, Verdict: verdict, Message: err.Error(), cause: errors.Unwrap(err)}
	if e.cause != nil && errors.As(e.cause, new(*Error)) {
		e.Message = without(e.Message, verdict)
	}
	return e
}

// without is the text of errors without the given verdicts.
func without(text string, verdicts ...Verdict) string {
	for _, v := range verdicts {
		text = strings.ReplaceAll(text, " ["+v.String()+"]", "")
	}
	return text
}

// Error says what happened, who said so, and whether the request ran. For an
// application's error it is the application's message alone.
func (e *Error) Error() string {
	if e.User != "" {
		return e.Message
	}
	s := "rpc: " + e.Code.String()
	if e.Node != "" {
		s += " (node " + e.Node + ")"
	}
	if e.Message != "" {
		s += ": " + e.Message
	}
	return s + " [" + e.Verdict.String() + "]"
}

// Unwrap returns the cause on this node, if any; a cause on another node is text.
func (e *Error) Unwrap() error { return e.cause }

// Is matches a Code, an application's error of the same name, and, for Canceled and
// Expired, the errors of package context.
func (e *Error) Is(target error) bool {
	switch t := target.(type) {
	case Code:
		return e.Code == t
	case *Error:
		return t.User != "" && e.User == t.User
	}
	return target == context.DeadlineExceeded && e.Code == Expired || target == context.Canceled && e.Code == Canceled
}

// CodeOf returns err's code: that of the outermost *Error in its chain, Expired or
// Canceled for an error of package context, Failed for any other error, and 0 for nil.
func CodeOf(err error) Code {
	var e *Error
	var c Code
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e.Code
	case errors.As(err, &c):
		return c
	case errors.Is(err, context.DeadlineExceeded):
		return Expired
	case errors.Is(err, context.Canceled):
		return Canceled
	}
	return Failed
}

// Ran says whether the request that ended with err ran: HasRun if err is nil, the
// verdict of the outermost *Error in its chain, else Unknown; a bare error of
// package context is Unknown.
func Ran(err error) Verdict {
	var e *Error
	switch {
	case err == nil:
		return HasRun
	case errors.As(err, &e):
		return e.Verdict
	}
	return Unknown
}

// HandlerError is what a request ends with whose handler returned err: it ran,
// whatever err says of requests that the handler made itself. The name of an
// application's error in err's chain is kept.
func HandlerError(err error) *Error {
	return &Error{Code: Failed, Verdict: HasRun, Message: err.Error(), User: userCode(err), cause: err}
}

func userCode(err error) string {
	for {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.User != "" {
			return e.User
		}
		err = e.cause
	}
}

// FromContext turns the end of a context into an Error.
func FromContext(ctx context.Context, verdict Verdict) *Error {
	cause := context.Cause(ctx)
	code := Canceled
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		code = Expired
	}
	return &Error{Code: code, Verdict: verdict, Message: cause.Error(), cause: cause}
}
