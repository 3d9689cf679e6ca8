package rpc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Error is what a request that fails ends with. The Verdict is set by the node or link that
// knows whether the request ran, and is never derived from the code: when a handler gets
// Overloaded from another actor and returns it, that handler ran, and the Overloaded is the
// cause of its error.
//
// An Error is not changed once it was handed out, so it may be used concurrently.
type Error struct {
	Code       Code
	Verdict    Verdict
	Message    string        // for people
	User       string        // the name of the application's own error, see NewError; empty for others
	Node       string        // the node that said so; empty if this system concluded it
	RetryAfter time.Duration // the server asks for no attempt before that time has passed; 0: it does not ask
	Elsewhere  string        // with Moved: who has the virtual actor, as node/epoch/token; empty if that is not known

	// Request names the latest attempt of the request that ended with the error, see RequestID; zero: it was
	// within the node, or never got so far. Between nodes it does not travel.
	Request RequestID

	cause error
}

// NewError defines an error of the application's own, which handlers return as it is or
// wrapped. user is its name in the whole cluster: on the caller's side errors.Is matches any
// error that has the same name.
//
//	var ErrFunds = rpc.NewError("bank.insufficient_funds", "insufficient funds")
func NewError(user, message string) *Error {
	return &Error{Code: Failed, Verdict: HasRun, User: user, Message: message}
}

// Errorf returns an error with a code and a verdict. What %w in format stands for becomes
// its cause. If the cause has the same verdict, the text of the error says it only once.
func Errorf(code Code, verdict Verdict, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	e := &Error{Code: code, Verdict: verdict, Message: err.Error(), cause: errors.Unwrap(err)}
	if e.cause != nil && errors.As(e.cause, new(*Error)) {
		e.Message = without(e.Message, verdict)
	}
	return e
}

// without returns text without the verdicts that the texts of errors end with.
func without(text string, verdicts ...Verdict) string {
	for _, v := range verdicts {
		text = strings.ReplaceAll(text, " ["+v.String()+"]", "")
	}
	return text
}

// Error says what happened, which node said so, and whether the request ran. For an error of
// the application's own it is only the message.
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

// Unwrap returns the cause, or nil. Between nodes a cause travels as text only.
func (e *Error) Unwrap() error { return e.cause }

// Is matches the error's Code, an error of the application's own with the same name, and, if
// the code is Canceled or Expired, the error of package context that says the same.
func (e *Error) Is(target error) bool {
	switch t := target.(type) {
	case Code:
		return e.Code == t
	case *Error:
		return t.User != "" && e.User == t.User
	}
	return target == context.DeadlineExceeded && e.Code == Expired || target == context.Canceled && e.Code == Canceled
}

// CodeOf returns the code of the outermost *Error in the chain of err. Without one it
// returns Expired or Canceled for an error of package context, Failed for any other error,
// and 0 for nil.
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

// Ran says whether the request that ended with err ran. It returns HasRun if err is nil,
// else the verdict of the outermost *Error in the chain of err. Without one it returns
// Unknown.
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

// FromContext returns the Error of a request that ended because ctx did. Its cause is that
// of ctx.
func FromContext(ctx context.Context, verdict Verdict) *Error {
	cause := context.Cause(ctx)
	code := Canceled
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		code = Expired
	}
	return &Error{Code: code, Verdict: verdict, Message: cause.Error(), cause: cause}
}
