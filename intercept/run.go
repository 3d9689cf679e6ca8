package intercept

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/tandem-go/tandem/rpc"
)

// Refusal is the error of an operation that an incoming interceptor has refused.
type Refusal struct{ Err *rpc.Error }

func (r Refusal) Error() string { return r.Err.Error() }

// Unwrap returns the error that the caller gets.
func (r Refusal) Unwrap() error { return r.Err }

// Run runs the interceptors around do, the first as the outermost, and returns the outcome of
// the operation. An outgoing one is an *rpc.Error or what do has returned. The error of an
// incoming one that was refused is a Refusal. A panic of an outgoing interceptor is returned; one
// of an incoming interceptor, and every runtime.Goexit, goes on.
func Run(ctx context.Context, fns []Func, op *Operation, do func(context.Context) error) (err error) {
	r := run{fns: fns, op: op, do: do}
	if op.Side == Outgoing {
		defer func() {
			if reason := recover(); reason != nil {
				err = r.settle(rpc.Errorf(rpc.Panicked, rpc.Unknown, "an interceptor of the sender panicked: %v", reason))
			}
		}()
	}
	return r.step(0, ctx)
}

// run is the passage of one operation. A step is one call of an interceptor; only one goroutine at a
// time is in the innermost one.
type run struct {
	fns []Func
	op  *Operation
	do  func(context.Context) error

	stage stage
	inner error // of do
}

// stage is how far an operation has got.
type stage uint8

const (
	outside stage = iota // no call of do yet
	inside               // do was called
	through              // do has returned
)

// step calls the interceptor of index i, or do if there are no more.
func (r *run) step(i int, ctx context.Context) error {
	if i == len(r.fns) {
		r.stage = inside
		r.inner = r.do(ctx)
		r.stage = through
		r.op.Verdict = r.verdict()
		return r.inner
	}
	return r.settle(r.enter(i, ctx))
}

func (r *run) enter(i int, ctx context.Context) error {
	var g gate
	defer g.close()
	return r.fns[i](ctx, r.op, func(ctx context.Context) error {
		if !g.pass() {
			return rpc.Errorf(rpc.Invalid, rpc.NotRun, "%w", ErrSecondNext)
		}
		defer g.passing.Done()
		return r.step(i+1, ctx)
	})
}

// settle returns the outcome of the operation after an interceptor, or do, has returned err.
func (r *run) settle(err error) error {
	r.op.Verdict = r.verdict()
	switch {
	case r.stage == outside && err == nil:
		return r.refusal(rpc.Errorf(rpc.Denied, rpc.NotRun, "%w", ErrSkipped))
	case r.stage == outside:
		return r.refusal(err)
	case err == nil && r.stage == inside:
		return rpc.Errorf(rpc.Panicked, r.op.Verdict, "an interceptor went on after a panic")
	case err == nil:
		return r.inner
	case r.op.Side == Incoming || rpc.Ran(err) == r.op.Verdict:
		return err
	}
	return with(err, r.op.Verdict, rpc.Failed)
}

// refusal is the outcome of an operation that was refused with err.
func (r *run) refusal(err error) error {
	if own, ok := err.(Refusal); ok { // of an inner interceptor
		return own
	}
	e := with(err, rpc.NotRun, rpc.Denied)
	if r.op.Side == Incoming {
		return Refusal{e}
	}
	return e
}

// verdict says whether the handler ran.
func (r *run) verdict() rpc.Verdict {
	switch {
	case r.stage == outside:
		return rpc.NotRun
	case r.op.Side == Incoming:
		return rpc.HasRun
	case r.stage == inside:
		return rpc.Unknown
	case r.inner != nil:
		return rpc.Ran(r.inner)
	case r.op.oneWay():
		return rpc.Unknown
	}
	return rpc.HasRun
}

// with returns err with a verdict. An error without a code gets the given one.
func with(err error, verdict rpc.Verdict, code rpc.Code) *rpc.Error {
	var e *rpc.Error
	if !errors.As(err, &e) {
		return rpc.Errorf(code, verdict, "%w", err)
	}
	if e == err && e.Verdict == verdict {
		return e
	}
	own := rpc.Errorf(e.Code, verdict, "%w", err)
	own.Message, own.User, own.Node, own.RetryAfter = e.Message, e.User, e.Node, e.RetryAfter
	if e != err {
		own.Message = fmt.Sprint(err)
	}
	return own
}

// gate lets one call of next through, until it is closed.
type gate struct {
	passing sync.WaitGroup

	mu     sync.Mutex // guards what follows
	closed bool
}

// pass reports whether this is the first call. The caller then must call passing.Done.
func (g *gate) pass() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.closed = true
	g.passing.Add(1)
	return true
}

// close closes the gate, and waits for the call that has passed it.
func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.passing.Wait()
}
