package actor

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"sync"

	"github.com/tandem-go/tandem/rpc"
)

// Defer has the request that is being handled answered later, once, from anywhere: what
// the handler returns does not count then, unless it is an error, which ends the
// request. The handler's context goes on until the answer.
//
//	func (d *Desk) Sign(ctx *actor.Context, m Sign) (Signature, error) {
//		later := actor.Defer[Signature](ctx)
//		go func() { later.Answer(signSlowly(m)) }()
//		return Signature{}, nil
//	}
//
// If nobody answers until the caller has given up, or the Deferred is collected as
// garbage without an answer, the request ends in an error that says so.
func Defer[R any](ctx *Context) *Deferred[R] {
	r := ctx.onDemand()
	r.deferral.CompareAndSwap(nil, &deferral{ctx: ctx, over: !ctx.asks || ctx.done})
	d := r.deferral.Load()
	later := &Deferred[R]{d}
	if d.begin() {
		runtime.AddCleanup(later, (*deferral).forgotten, d) // so nothing that d keeps may refer to later for good
	}
	return later
}

// Deferred is a request that is still to be answered. Its methods may be called
// concurrently; the first answer counts.
type Deferred[R any] struct{ d *deferral }

// Answer ends the request with a reply. The error says that it had an answer already,
// that nobody waits for one any more, or that the reply cannot be encoded.
func (d *Deferred[R]) Answer(v R) error {
	d.d.lapse()
	err := d.d.end(func(req request) error {
		switch r := req.(type) {
		case *ask[R]:
			r.end(v, nil)
		case *rpc.Inbound:
			return d.d.ctx.System().reply(r, v, reflect.TypeFor[R]())
		case *copied:
			return r.reply(v, reflect.TypeFor[R]())
		case interface{ answer(any) error }:
			return r.answer(v)
		}
		return nil
	})
	runtime.KeepAlive(d)
	return err
}

// Fail ends the request with an error, as a handler does that returns it.
func (d *Deferred[R]) Fail(err error) error {
	d.d.lapse()
	result := d.d.fail(rpc.HandlerError(err))
	runtime.KeepAlive(d)
	return result
}

// Refuse ends the request as one that did not run: it had no effect at all, and the
// caller may try again anywhere. The error is as Answer's.
func (d *Deferred[R]) Refuse(code rpc.Code, why error) error {
	if code == 0 {
		code = rpc.Failed
	}
	d.d.lapse()
	result := d.d.end(func(r request) error {
		e := rpc.Errorf(code, rpc.NotRun, "%w", why)
		if own := (*rpc.Error)(nil); errors.As(why, &own) {
			e.User = own.User // so that errors.Is holds at the caller
		}
		r.Refuse(e)
		return nil
	})
	runtime.KeepAlive(d)
	return result
}

// deferral is what a Deferred and the handler's context share.
type deferral struct {
	ctx *Context

	mu       sync.Mutex  // guards what follows
	over     bool        // it has its answer
	held     int         // Deferreds of it that are not garbage; with the first of them the system waits
	returned bool        // the handler has
	ended    func()      // called when it is over
	unhook   func() bool // takes back what watches the context
}

// begin sees to it that the request ends with its caller's interest, and that a
// shutdown waits for it. It reports false if there is nothing to answer any more.
func (d *deferral) begin() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		return false
	}
	if d.held++; d.held > 1 {
		return true
	}
	d.ctx.System().busy.Add(1)
	d.unhook = context.AfterFunc(d.ctx.live(), d.lapse)
	return true
}

// lapse ends the request if nobody is interested in it any more.
func (d *deferral) lapse() {
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

func (d *deferral) forgotten() {
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
	if d.over {
		d.mu.Unlock()
		return rpc.Errorf(rpc.Invalid, rpc.HasRun, "the request has its answer, or nobody waits for one")
	}
	d.over = true
	req := d.ctx.req // which the context forgets once the handler has returned and this is over
	unhook, returned, ended := d.unhook, d.returned, d.ended
	d.unhook, d.ended = nil, nil
	d.mu.Unlock()
	err := with(req)
	if err != nil {
		req.Fail(failure(err))
	}
	if unhook != nil {
		unhook()
	}
	if returned {
		d.ctx.letGo()
	}
	if ended != nil {
		ended()
	}
	d.ctx.System().idle()
	return err
}

// onOver arranges that fn is called when the request has its outcome, at once if it has.
func (d *deferral) onOver(fn func()) {
	d.mu.Lock()
	over := d.over
	if !over {
		d.ended = fn
	}
	d.mu.Unlock()
	if over {
		fn()
	}
}

// handled notes that the handler has returned, and reports whether the context is over.
func (d *deferral) handled() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.returned = true
	return d.over
}

// Pipe has the result of a future come back to the actor as a message: when f is
// decided, fn turns its result into an M, which one of the actor's own handlers takes in
// its turn. So no state is touched concurrently. fn runs in another goroutine and must
// not use the actor's state. A result for an actor that has stopped is a dead letter.
//
// It is how a handler makes a request without having its actor wait:
//
//	actor.Pipe(ctx, actor.Ask(ctx.Detached(), stock, Reserve{...}), func(r Reserved, err error) reserved {
//		return reserved{order, r, err}
//	})
//
// A future that was made with the handler's own context ends with that handler; one
// made with Context.Detached outlives it.
func Pipe[R, M any](ctx *Context, f *rpc.Future[R], fn func(R, error) M) {
	c, m := ctx.cell, ctx.outgoing()
	sys := ctx.System()
	sys.busy.Add(1) // a shutdown waits for what a message causes
	f.Then(func(v R, err error) {
		defer sys.idle()
		defer func() {
			if r := recover(); r != nil {
				sys.log.Error("a function given to Pipe panicked", "actor", c.self.addr.String(), "panic", fmt.Sprint(r))
			}
		}()
		it := item{msg: fn(v, err), meta: m}
		p, put := c.park(it) // an actor cannot be held up by its own results
		if put != nil {
			sys.handBack(c.self.addr, it, putError(put))
			return
		}
		c.accepted(p)
	})
}
