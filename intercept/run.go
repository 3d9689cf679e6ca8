package intercept

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/tandem-go/tandem/rpc"
)

// Refusal is the error of an operation that an incoming interceptor has refused.
type Refusal struct{ Err *rpc.Error }

func (r Refusal) Error() string { return r.Err.Error() }

// Unwrap returns the error that the caller gets.
func (r Refusal) Unwrap() error { return r.Err }

// Action is what interceptors run around.
type Action interface {
	// Do carries the operation out, under the context that the innermost interceptor has given to next.
	Do(ctx context.Context) error
}

type action func(context.Context) error

func (a action) Do(ctx context.Context) error { return a(ctx) }

// Run is Passage.Run, for one operation.
func Run(ctx context.Context, fns []Func, op *Operation, do func(context.Context) error) error {
	return new(Passage).Run(ctx, fns, op, action(do))
}

// Passage is the memory that the passage of an operation through interceptors takes. When Run has
// returned, it may be used for another operation: each interceptor then costs one allocation, that of
// its next. A next that is called late does not disturb the other operation.
type Passage struct {
	fns  []Func
	op   *Operation
	act  Action
	open []step // one for each interceptor; only one goroutine at a time is in the innermost one

	stage stage
	inner error // of act
}

// step is one call of an interceptor.
type step struct {
	gate
	of    *Passage
	index int // of the interceptor
}

// Run runs the interceptors around act, the first as the outermost, and returns the outcome of
// the operation. An outgoing one is an *rpc.Error or what act has returned. The error of an
// incoming one that was refused is a Refusal. A panic of an outgoing interceptor is returned; one
// of an incoming interceptor, and every runtime.Goexit, goes on, and p must not be used again then.
func (p *Passage) Run(ctx context.Context, fns []Func, op *Operation, act Action) (err error) {
	p.begin(fns, op, act)
	if op.Side == Outgoing {
		defer func() {
			if reason := recover(); reason != nil {
				err = p.settle(rpc.Errorf(rpc.Panicked, rpc.Unknown, "an interceptor of the sender panicked: %v", reason))
			}
		}()
	}
	return p.step(0, ctx)
}

// stage is how far an operation has got.
type stage uint8

const (
	outside stage = iota // no call of act yet
	inside               // act was called
	through              // act has returned
)

// begin prepares p for an operation.
func (p *Passage) begin(fns []Func, op *Operation, act Action) {
	p.fns, p.op, p.act, p.stage, p.inner = fns, op, act, outside, nil
	if len(p.open) != len(fns) {
		p.open = make([]step, len(fns))
		for i := range p.open {
			p.open[i].of, p.open[i].index = p, i
		}
	}
}

// step calls the interceptor of index i, or act if there are no more.
func (p *Passage) step(i int, ctx context.Context) error {
	if i == len(p.fns) {
		p.stage = inside
		p.inner = p.act.Do(ctx)
		p.stage = through
		p.op.Verdict = p.verdict()
		return p.inner
	}
	return p.settle(p.enter(i, ctx))
}

func (p *Passage) enter(i int, ctx context.Context) error {
	s := &p.open[i]
	ticket := s.issue()
	defer s.close(ticket)
	return p.fns[i](ctx, p.op, func(ctx context.Context) error {
		if !s.pass(ticket) {
			return rpc.Errorf(rpc.Invalid, rpc.NotRun, "%w", ErrSecondNext)
		}
		defer s.leave(ticket)
		return s.of.step(s.index+1, ctx)
	})
}

// settle returns the outcome of the operation after an interceptor, or act, has returned err.
func (p *Passage) settle(err error) error {
	p.op.Verdict = p.verdict()
	switch {
	case p.stage == outside && err == nil:
		return p.refusal(rpc.Errorf(rpc.Denied, rpc.NotRun, "%w", ErrSkipped))
	case p.stage == outside:
		return p.refusal(err)
	case err == nil && p.stage == inside:
		return rpc.Errorf(rpc.Panicked, p.op.Verdict, "an interceptor went on after a panic")
	case err == nil:
		return p.inner
	case p.op.Side == Incoming || rpc.Ran(err) == p.op.Verdict:
		return err
	}
	return with(err, p.op.Verdict, rpc.Failed)
}

// refusal is the outcome of an operation that was refused with err.
func (p *Passage) refusal(err error) error {
	if own, ok := err.(Refusal); ok { // of an inner interceptor
		return own
	}
	e := with(err, rpc.NotRun, rpc.Denied)
	if p.op.Side == Incoming {
		return Refusal{e}
	}
	return e
}

// verdict says whether the handler ran.
func (p *Passage) verdict() rpc.Verdict {
	switch {
	case p.stage == outside:
		return rpc.NotRun
	case p.op.Side == Incoming:
		return rpc.HasRun
	case p.stage == inside:
		return rpc.Unknown
	case p.inner != nil:
		return rpc.Ran(p.inner)
	case p.op.oneWay():
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

// gate lets one call of next through, until it is closed: the one that has the ticket. Its word is
// the ticket and a gateState, so a ticket of an earlier operation opens nothing:
//
//	vacant ──pass──► taken ──leave──► shut
//	   │               └─close──► awaited ──leave──► shut
//	   └─────close─────► shut
type gate struct {
	word atomic.Uint64
	left chan struct{} // closed when the call that close waits for has left; set before awaited
}

type gateState = uint64

const (
	vacant  gateState = iota // no call of next yet
	taken                    // one has passed, and has not left
	awaited                  // the interceptor has returned, and waits for it to leave
	shut                     // no call passes any more

	ticketStep = shut + 1
)

// issue opens the gate, which is shut or new, for a new ticket.
func (g *gate) issue() (ticket uint64) {
	ticket = g.word.Load()&^shut + ticketStep
	g.word.Store(ticket + vacant)
	return ticket
}

// pass reports whether this is the first call, and in time. The caller then must call leave.
func (g *gate) pass(ticket uint64) bool {
	return g.word.CompareAndSwap(ticket+vacant, ticket+taken)
}

func (g *gate) leave(ticket uint64) {
	if !g.word.CompareAndSwap(ticket+taken, ticket+shut) {
		left := g.left
		g.word.Store(ticket + shut)
		close(left)
	}
}

// close shuts the gate, and waits for the call that has passed it.
func (g *gate) close(ticket uint64) {
	if g.word.Load() == ticket+shut || g.word.CompareAndSwap(ticket+vacant, ticket+shut) {
		return
	}
	left := make(chan struct{})
	g.left = left
	if g.word.CompareAndSwap(ticket+taken, ticket+awaited) {
		<-left
	}
}
