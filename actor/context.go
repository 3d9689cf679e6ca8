package actor

import (
	"context"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
)

// Context is what a handler knows about the message that it handles. It is a
// context.Context: that of a request ends when the handler returns, when the caller cancels
// or when the deadline passes; every one ends when a shutdown runs out of time. It
// may be passed to other goroutines and kept, because it is never reused for another message.
// Only one-way messages without a trace, from one principal and node, that have the same sender or
// none, may share a Context.
type Context struct {
	cell   *cell
	msg    any
	req    request        // nil for a one-way message
	meta   *meta          // nil: no sender, no trace and no headers
	origin *server.Origin // nil: the message comes from this node

	rest atomic.Pointer[rest] // nil: not needed yet
	life contextLife
	asks bool // the message is a request; stays true when req is nil again
}

// rest holds the parts of a Context that are made on first use.
type rest struct {
	deferral atomic.Pointer[deferral] // set once Defer was called
	detached atomic.Bool              // Detached was called

	mu     sync.Mutex // guards what follows
	mine   *meta      // what messages carry that the handler sends
	calls  *calling   // what its Calls carry
	inner  context.Context
	cancel func()

	values context.Context // what interceptors have made of the context; nil: nothing. It is set before the handler is called
}

// onDemand returns the rest of c, which it makes on first use.
func (c *Context) onDemand() *rest {
	if r := c.rest.Load(); r != nil {
		return r
	}
	c.rest.CompareAndSwap(nil, new(rest))
	return c.rest.Load()
}

// deferred returns the deferral of c if the handler has called Defer, else nil.
func (c *Context) deferred() *deferral {
	if r := c.rest.Load(); r != nil {
		return r.deferral.Load()
	}
	return nil
}

// request is a message whose sender waits for an outcome, such as *ask[R] or *server.Inbound.
type request interface {
	Start() bool      // false: the request must not run, and has its outcome
	WillNotRun() bool // true: Start will return false; it still has to be called, for the request to get its outcome
	Fail(*rpc.Error)  // the verdict says whether its handler ran; after NotRun it may run elsewhere, or later
	Deadline() (time.Time, bool)
	OnCancel(func())
	PutBack() bool // after Start: the request waits for another turn. false: it has its outcome
}

// System is the system that the actor lives in.
func (c *Context) System() *System { return c.cell.self.sys }

// Self is the actor itself.
func (c *Context) Self() Ref {
	return Ref{to: c.cell.address()}
}

// Sender is the actor that sent the message, or the zero Ref if none did. Its node is always
// the node that sent the message: an address of another node is ignored, and so is the address
// of a node that has not proved its name (see Principal). A node may name any of its own actors.
func (c *Context) Sender() Ref {
	if c.meta == nil {
		return Ref{}
	}
	return c.meta.sender
}

// Trace is the W3C trace context that the message came with; zero for none.
func (c *Context) Trace() rpc.Trace {
	if c.meta == nil {
		return rpc.Trace{}
	}
	return c.meta.trace
}

// Header is the value of the header that the message came with under key, see
// rpc.WithHeader; empty for none. It proves nothing, because the sender may write anything.
func (c *Context) Header(key string) string {
	if c.meta != nil {
		for _, h := range c.meta.headers {
			if h.Key == key {
				return h.Value
			}
		}
	}
	return ""
}

// Progress sets how far a submitted job is, for Token.Poll. The application decides what
// done and total count. For other messages Progress does nothing.
func (c *Context) Progress(done, total int64) {
	if j, ok := c.request().(*job); ok {
		j.progress(done, total)
	}
}

// mustAnswer reports whether the handler still has to answer a request.
func (c *Context) mustAnswer() bool { return c.req != nil && c.life.unanswered() }

// refuse ends the request that is being handled as one that did not run.
func (c *Context) refuse(err *rpc.Error) {
	if c.mustAnswer() {
		c.req.Fail(err)
		c.life.answer()
	}
}

// Message is the message itself, for a Receiver. In a handler, which gets the message as an
// argument, it is nil.
func (c *Context) Message() any {
	if !c.cell.kind.receiver {
		return nil
	}
	if _, ok := c.msg.(reusable); ok {
		return nil
	}
	return c.msg
}

// Stop ends the actor once the handler has returned. Requests that wait in its mailbox fail
// as rpc.Unavailable, and one-way messages become dead letters. Its children end before it.
func (c *Context) Stop() { c.cell.end(nil) }

// Reply answers the request that is being handled, for a Receiver. The error says that
// nobody waits for a reply (any more), or that v cannot be the reply.
func (c *Context) Reply(v any) error { return c.reply(v, reflect.TypeOf(v), (*System).reply) }

// reply answers with v, which is sent as a value of type typ; far is how a request that came by a road is answered.
func (c *Context) reply(v any, typ reflect.Type, far func(*System, *server.Inbound, any, reflect.Type) error) error {
	if !c.mustAnswer() {
		return rpc.Errorf(rpc.Invalid, rpc.HasRun, "nobody waits for a reply to this message")
	}
	if c.cell.kind.placed && !c.cell.holds() {
		return c.cell.outcomeUnsure()
	}
	var err error
	switch r := c.req.(type) {
	case *server.Inbound:
		err = far(c.System(), r, v, typ)
	case encodes:
		err = r.reply(v, typ)
	case interface{ answer(any) error }:
		err = r.answer(v)
	}
	if err == nil {
		c.life.answer()
	}
	return err
}

// finish is called when the handler of a message has returned err, before end. It ends the
// request, unless a Deferred does, or logs the error of a one-way message.
func (c *Context) finish(msg any, err error) {
	if c.life.stashed() {
		return
	}
	t, _ := c.req.(*transaction)
	if t != nil && err != nil {
		t.fails(failure(err))
	}
	if d := c.deferred(); d != nil {
		if err != nil {
			_ = d.fail(failure(err))
		}
		c.life.answer()
		return
	}
	in, _ := c.req.(*server.Inbound)
	waits := c.mustAnswer()
	kept := waits && in != nil && wantsNoReply(in) // nobody looks at the error. What was answered belongs to the engine
	if kept && err != nil {
		c.System().handlerFailed(c, msg, err)
	}
	switch {
	case waits && err == nil && kept:
		in.Reply(0, 0, nil)
	case waits && err != nil:
		if _, stored := c.req.(*delivery); stored || t != nil && !t.isAnswered() {
			c.System().handlerFailed(c, msg, err)
		}
		c.req.Fail(failure(err))
	case waits:
		if d, stored := c.req.(*delivery); stored {
			d.end(nil)
			return
		}
		if t != nil && !t.isAnswered() {
			t.handled()
			return
		}
		c.req.Fail(rpc.Errorf(rpc.Failed, rpc.HasRun, "the handler did not answer"))
	case err != nil:
		c.System().handlerFailed(c, msg, err)
	}
}

// outgoing is what messages carry that this handler sends.
func (c *Context) outgoing() *meta {
	r := c.onDemand()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mine == nil {
		r.mine = &meta{sender: c.Self(), trace: c.span()}
	}
	return r.mine
}

// live returns the context that c stands for. It is made on first use, because most handlers
// never need it.
func (c *Context) live() context.Context {
	if !c.asks {
		return c.System().ctx
	}
	r := c.onDemand()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.inner != nil {
		return r.inner
	}
	ctx := c.System().ctx
	if c.life.released() {
		r.inner, r.cancel = context.WithCancel(ctx)
		r.cancel()
		return r.inner
	}
	stop := func() {}
	in, remote := c.req.(*server.Inbound)
	grows := remote && in.Keyed() // the deadline moves when another caller asks under the same key
	if at, ok := c.req.Deadline(); ok && !grows {
		ctx, stop = context.WithDeadline(ctx, at)
	}
	inner, cancel := context.WithCancelCause(ctx)
	if grows {
		stop = followDeadline(in, cancel)
	}
	r.inner = inner
	r.cancel = func() {
		cancel(nil)
		stop()
	}
	c.req.OnCancel(func() { cancel(rpc.Errorf(rpc.Canceled, rpc.HasRun, "the caller gave up")) })
	return r.inner
}

// followDeadline calls cancel at a request's deadline, which may be moved until then.
func followDeadline(in *server.Inbound, cancel context.CancelCauseFunc) (stop func()) {
	var mu sync.Mutex // guards timer
	var timer *time.Timer
	check := func() {
		at, ok := in.Deadline()
		wait := time.Until(at)
		switch {
		case !ok:
		case wait <= 0:
			cancel(rpc.Errorf(rpc.Expired, rpc.HasRun, "the deadline passed while the handler ran"))
		default:
			mu.Lock()
			timer.Reset(wait)
			mu.Unlock()
		}
	}
	mu.Lock()
	timer = time.AfterFunc(time.Hour, check)
	mu.Unlock()
	check()
	return func() {
		mu.Lock()
		defer mu.Unlock()
		timer.Stop()
	}
}

// end is called when the handler has returned. It ends the context of a request, unless a Deferred
// still has to answer.
func (c *Context) end() {
	if c.asks && c.life.released() { // the handler's reply did so
		return
	}
	if r := c.rest.Load(); r != nil {
		c.handlerReturned()
		if d := r.deferral.Load(); d != nil && !d.handlerReturned() {
			return
		}
	}
	if !c.asks {
		c.forget()
		return
	}
	req, owned := c.req, c.life.owned()
	c.release()
	if !owned {
		return
	}
	switch req := req.(type) {
	case *server.Inbound:
		req.Free()
	case *transaction:
		req.released()
	}
}

// handlerReturned notes that the handler has returned.
func (c *Context) handlerReturned() {
	c.life.handlerReturned()
	if c.cell.waits.Load() != nil { // a goroutine that the handler has left behind may wait, but the actor does not
		c.cell.waits.Store(nil)
	}
}

// release ends a request's context and drops its references to the request. Contexts are
// allocated in blocks, which would keep the request alive otherwise.
func (c *Context) release() {
	c.life.release() // first, so that a goroutine that makes the rest from now on sees it
	r := c.rest.Load()
	if r == nil {
		c.forget()
		return
	}
	r.mu.Lock()
	cancel := r.cancel
	c.forget()
	r.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

func (c *Context) forget() {
	c.req = nil
	if !c.cell.kind.receiver { // a Receiver's Message may still be asked for, and its Context is not in a block
		c.msg = nil
	}
}

// request is the request that is being handled, and nil once c was released. Unlike req it may be
// read by any goroutine. The caller must not keep an Inbound, which may be reused for another
// message.
func (c *Context) request() (req request) {
	c.asking(func(r request) { req = r })
	return req
}

// asking calls do with the request, unless c was released. The request is not reused until do
// returns.
func (c *Context) asking(do func(request)) {
	if !c.asks {
		return
	}
	r := c.onDemand() // its lock keeps c from dropping the request meanwhile
	r.mu.Lock()
	defer r.mu.Unlock()
	if !c.life.released() {
		do(c.req)
	}
}

// Detached is a context that carries the message's trace and sender, and ends with the
// system rather than with the handler. It is for requests whose results are piped back, and
// for goroutines that outlive the handler. After the handler has returned, a Call under it may
// wait for any actor, including this one, as if it came from outside.
func (c *Context) Detached() context.Context {
	c.onDemand().detached.Store(true)
	return detached{c}
}

// detached reports whether Detached was called.
func (c *Context) detached() bool {
	r := c.rest.Load()
	return r != nil && r.detached.Load()
}

// inTurn reports whether c is the context of a handler that has not returned. While such a
// handler waits, its actor waits too.
func (c *Context) inTurn() bool {
	return c != nil && c.life.running()
}

// detached is a handler's context that does not end with the handler.
type detached struct{ c *Context }

func (d detached) Deadline() (time.Time, bool) { return time.Time{}, false }
func (d detached) Done() <-chan struct{}       { return d.c.System().ctx.Done() }
func (d detached) Err() error                  { return d.c.System().ctx.Err() }
func (d detached) Value(key any) any {
	if key == (detachedKey{}) {
		return true
	}
	return d.c.Value(key)
}

type detachedKey struct{}

// contextError returns an error if ctx has ended before anything was sent.
func contextError(ctx context.Context) error {
	if c, ok := ctx.(*Context); ok && !c.mayHaveEnded() {
		return nil
	}
	if ctx.Err() == nil {
		return nil
	}
	return rpc.FromContext(ctx, rpc.NotRun)
}

// mayHaveEnded reports whether c.Err has to be called, which makes the live context. Without
// a live context, that of a request does not end before its handler returns.
func (c *Context) mayHaveEnded() bool {
	if !c.asks || c.life.released() {
		return true
	}
	r := c.rest.Load()
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.inner != nil
}

// isDetached reports whether ctx was made by Detached, or is derived from such a context.
func isDetached(ctx context.Context) bool { return ctx.Value(detachedKey{}) != nil }

// Deadline is when the request ends for its caller. A one-way message has none, and neither
// has a request whose handler has returned.
func (c *Context) Deadline() (at time.Time, ok bool) {
	c.asking(func(r request) { at, ok = r.Deadline() })
	return at, ok
}

// Done implements context.Context.
func (c *Context) Done() <-chan struct{} { return c.live().Done() }

// Err implements context.Context.
func (c *Context) Err() error { return c.live().Err() }

// AfterFunc lets context.WithTimeout and its like follow this context without a
// goroutine of their own.
func (c *Context) AfterFunc(f func()) (stop func() bool) { return context.AfterFunc(c.live(), f) }

// Value implements context.Context. It has the trace context, and the values that interceptors
// have added.
func (c *Context) Value(key any) any {
	if r := c.rest.Load(); r != nil && r.values != nil && key != (contextKey{}) {
		return r.values.Value(key)
	}
	return c.own(key)
}

type contextKey struct{}

// handling returns the handler's context that ctx is, or is derived from, or nil.
func handling(ctx context.Context) *Context {
	if c, ok := ctx.(*Context); ok {
		return c
	}
	c, _ := ctx.Value(contextKey{}).(*Context)
	return c
}
