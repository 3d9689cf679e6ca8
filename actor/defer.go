package actor

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"sync"

	"github.com/tandem-go/tandem/intercept"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
)

// Defer has the request that is being handled answered later, by one call from any goroutine.
// What the handler returns is then ignored, unless it is an error, which ends the
// request. The handler's context lasts until the answer.
//
//	func (n *Notary) Sign(ctx *actor.Context, m Sign) (Signature, error) {
//		later := actor.Defer[Signature](ctx)
//		go func() { later.Answer(signSlowly(m)) }()
//		return Signature{}, nil
//	}
//
// If the caller cancels before an answer, or the Deferred is garbage collected without one,
// the request ends with an error that says so.
func Defer[R any](ctx *Context) *Deferred[R] {
	r, d := ctx.onDemand(), &deferral{ctx: ctx}
	if !ctx.asks || ctx.life.now() != unanswered {
		d.state = decided
	}
	r.deferral.CompareAndSwap(nil, d)
	d = r.deferral.Load()
	later := &Deferred[R]{d}
	if d.begin() {
		d.guard(runtime.AddCleanup(later, (*deferral).collected, d)) // so d must not keep a reference to later
	}
	return later
}

// Deferred is a request that is still to be answered. Its methods may be called
// concurrently; the first answer counts.
type Deferred[R any] struct{ d *deferral }

// Answer ends the request with a reply. The error says that the request already has an answer,
// that nobody waits for one any more, or that the reply cannot be encoded.
func (d *Deferred[R]) Answer(v R) error {
	d.d.endIfAbandoned()
	err := d.d.end(func(req request) error {
		switch r := req.(type) {
		case *ask[R]:
			r.end(v, nil)
		case *server.Inbound:
			return d.d.ctx.System().reply(r, v, reflect.TypeFor[R]())
		case encodes:
			return r.reply(v, reflect.TypeFor[R]())
		case interface{ answer(any) error }:
			return r.answer(v)
		}
		return nil
	})
	runtime.KeepAlive(d)
	return err
}

// Fail ends the request with an error, as if the handler had returned it.
func (d *Deferred[R]) Fail(err error) error {
	d.d.endIfAbandoned()
	result := d.d.fail(handlerError(err))
	runtime.KeepAlive(d)
	return result
}

// Refuse ends the request as one that did not run. The handler promises that it had no effect
// at all: the caller may retry it anywhere. The returned error is as for Answer.
func (d *Deferred[R]) Refuse(code rpc.Code, why error) error {
	if code == 0 {
		code = rpc.Failed
	}
	d.d.endIfAbandoned()
	result := d.d.end(func(r request) error {
		e := rpc.Errorf(code, rpc.NotRun, "%w", why)
		if own := (*rpc.Error)(nil); errors.As(why, &own) {
			e.User = own.User // so that errors.Is holds at the caller
		}
		r.Fail(e)
		return nil
	})
	runtime.KeepAlive(d)
	return result
}

// deferralState is how far a request has come whose answer was put off:
//
//	pending ──answer──► decided     the handler runs
//	   │                   │
//	   ▼                   ▼        handlerReturned
//	awaited ──answer──► complete    it has returned
//
// There is no other way between two states. Who completes it releases the handler's context.
type deferralState uint8

const (
	pending deferralState = iota
	awaited
	decided // the request has its outcome, or there was nothing to answer
	complete
)

// answer returns false if there is an outcome already.
func (s *deferralState) answer() bool {
	switch *s {
	case pending:
		*s = decided
	case awaited:
		*s = complete
	default:
		return false
	}
	return true
}

func (s *deferralState) handlerReturned() {
	switch *s {
	case pending:
		*s = awaited
	case decided:
		*s = complete
	}
}

// over reports whether there is an outcome.
func (s deferralState) over() bool { return s >= decided }

// deferral is what a Deferred and the handler's context share.
type deferral struct {
	ctx *Context

	mu     sync.Mutex // guards what follows
	state  deferralState
	held   int               // Deferreds of it that are not garbage; from the first one on, a shutdown waits for the request
	guards []runtime.Cleanup // call collected, one for each of them; stopped with the outcome: they keep the system, which may keep the Deferreds
	atEnd  func()            // called when it has its outcome
	unhook func() bool       // stops watching the context
}

// begin arranges that the request ends when its caller cancels, and that a shutdown waits
// for it. It returns false if there is nothing to answer any more.
func (d *deferral) begin() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.state.over() {
		return false
	}
	if d.held++; d.held > 1 {
		return true
	}
	d.ctx.System().busy.Add(1)
	if p := d.ctx.cell.place(); p != nil {
		p.deferred.Add(1)
	}
	d.unhook = context.AfterFunc(d.ctx.live(), d.endIfAbandoned)
	return true
}

// guard has c stopped when the request has its outcome.
func (d *deferral) guard(c runtime.Cleanup) {
	d.mu.Lock()
	over := d.state.over()
	if !over {
		d.guards = append(d.guards, c)
	}
	d.mu.Unlock()
	if over {
		c.Stop()
	}
}

// endIfAbandoned ends the request if its caller does not wait for it any more.
func (d *deferral) endIfAbandoned() {
	if !d.ctx.asks || d.ctx.live().Err() == nil {
		return
	}
	why := context.Cause(d.ctx.live())
	_ = d.fail(rpc.Errorf(rpc.CodeOf(why), rpc.HasRun, "nobody answered it before its end: %w", why))
}

func (d *deferral) fail(err *rpc.Error) error {
	return d.end(func(req request) error {
		req.Fail(err)
		return nil
	})
}

// collected is called when a Deferred was garbage collected.
func (d *deferral) collected() {
	d.mu.Lock()
	d.held--
	held := d.held
	d.mu.Unlock()
	if held > 0 {
		return
	}
	_ = d.fail(rpc.Errorf(rpc.Failed, rpc.HasRun, "the handler put its answer off, and forgot it"))
}

// end gives the request its outcome, unless it has one.
func (d *deferral) end(with func(request) error) error {
	d.mu.Lock()
	if !d.state.answer() {
		d.mu.Unlock()
		return rpc.Errorf(rpc.Invalid, rpc.HasRun, "the request has its answer, or nobody waits for one")
	}
	req := d.ctx.req // which the context has until it is released
	unhook, release, atEnd, guards := d.unhook, d.state == complete, d.atEnd, d.guards
	d.unhook, d.atEnd, d.guards = nil, nil, nil
	d.mu.Unlock()
	for _, g := range guards {
		g.Stop()
	}
	c := d.ctx.cell
	switch {
	case c.kind.placed && !c.holds():
		with = func(request) error { return c.outcomeUnsure() }
	case c.kind.placed && c.life.now() == gone: // another activation may have answered since
		with = func(request) error { return errAnsweredLate }
	}
	err := with(req)
	if err != nil {
		req.Fail(failure(err))
	}
	if unhook != nil {
		unhook()
	}
	if release {
		d.ctx.release()
	}
	if atEnd != nil {
		atEnd()
	}
	if p := c.place(); p != nil {
		p.deferred.Add(-1)
	}
	d.ctx.System().idle()
	return err
}

// onEnd has fn called when the request has its outcome, and at once if it has one.
func (d *deferral) onEnd(fn func()) {
	d.mu.Lock()
	over := d.state.over()
	if !over {
		d.atEnd = fn
	}
	d.mu.Unlock()
	if over {
		fn()
	}
}

// handlerReturned notes that the handler has returned. It reports whether the request has its
// outcome, so that the context can end.
func (d *deferral) handlerReturned() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state.handlerReturned()
	return d.state == complete
}

// Pipe delivers the result of a future to the actor as a message: when f has its result,
// fn turns it into an M, which one of the actor's own handlers handles in its turn. So the
// state is not touched concurrently. fn runs in another goroutine and must not use the
// actor's state. If the actor has stopped, the message becomes a dead letter.
//
// With Pipe a handler makes a request without making its actor wait:
//
//	actor.Pipe(ctx, actor.Ask(ctx.Detached(), stock, Reserve{...}), func(r Reserved, err error) reserved {
//		return reserved{order, r, err}
//	})
//
// A future that was made with the handler's own context ends with that handler; one
// made with Context.Detached outlives it.
func Pipe[R, M any](ctx *Context, f *rpc.Future[R], fn func(R, error) M) {
	c, m := ctx.cell, ctx.outgoing()
	if c.kind.incoming != nil {
		m = m.caused(cause{kind: intercept.Piped})
	}
	sys := ctx.System()
	sys.busy.Add(1) // a shutdown waits for the result
	f.Then(func(v R, err error) {
		defer sys.idle()
		defer func() {
			if r := recover(); r != nil {
				sys.log.Error("a function given to Pipe panicked", "actor", c.self.addr.String(), "panic", fmt.Sprint(r))
			}
		}()
		it := item{msg: fn(v, err), meta: m}
		p, put := c.enqueue(it) // without waiting: an actor must not be held up by its own results
		if put != nil {
			sys.handBack(c.self.addr, it, putError(put))
			return
		}
		c.accepted(p)
	})
}
