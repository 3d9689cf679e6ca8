package actor

import (
	"context"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// Context is what a handler knows of the message it handles. It is a
// context.Context: a request's ends when the handler returns, when the caller cancels
// or when its deadline passes; every one ends when a shutdown runs out of time. It
// may be passed to other goroutines and kept: it is never made another message's,
// save that one-way messages with neither sender nor trace, from one principal and node, may share one.
type Context struct {
	cell   *cell
	msg    any
	req    request     // nil for a tell
	meta   *meta       // nil: no sender and no trace
	origin *rpc.Origin // nil: the node itself

	rest  atomic.Pointer[rest] // nil: not asked for
	asks  bool                 // there is, or was, a req
	ended atomic.Bool          // msg and req have been let go of: they may be another message's from here on

	returned atomic.Bool // the handler has; not noted for all that have no rest

	// The handler's goroutine's own.
	done    bool // req has its outcome
	through bool // and nobody but this context knows req any more
}

// rest is what a Context has on demand.
type rest struct {
	deferral atomic.Pointer[deferral] // the answer was put off
	detached atomic.Bool              // Detached was called

	mu     sync.Mutex // guards what follows
	mine   *meta      // what messages sent from the handler carry
	calls  *calling   // what its Calls do
	inner  context.Context
	cancel func()
}

// onDemand returns the rest of c, which is made if need be.
func (c *Context) onDemand() *rest {
	if r := c.rest.Load(); r != nil {
		return r
	}
	c.rest.CompareAndSwap(nil, new(rest))
	return c.rest.Load()
}

// deferred returns what stands for the answer if that was put off, else nil.
func (c *Context) deferred() *deferral {
	if r := c.rest.Load(); r != nil {
		return r.deferral.Load()
	}
	return nil
}

// meta is what travels beside a message within a system.
type meta struct {
	sender  Ref
	trace   rpc.Trace
	headers []transport.Header
	turn    *turn // in which the sender waits; nil: it goes on
}

// request is a message whose sender waits for an outcome: *ask[R] or *rpc.Inbound.
type request interface {
	Start() bool  // false: it must not run, and has its outcome
	Lapsed() bool // true: Start is false from now on; it is to be called, for the outcome
	Refuse(*rpc.Error)
	Fail(*rpc.Error)
	Deadline() (time.Time, bool)
	OnCancel(func())
}

// System is the system that the actor lives in.
func (c *Context) System() *System { return c.cell.self.sys }

// Self is the actor itself.
func (c *Context) Self() Ref { return Ref{to: c.cell.self} }

// Sender is the actor that sent the message, or the zero Ref if none did. Its node is the one
// that sent the message: an address of another one, or of a node that the sender only says it
// is (rpc.Inbound.From), is none. Which actor of its own a node names is for it to say.
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
// rpc.WithHeader; empty for none. The sender wrote it: it proves nothing.
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

// Progress says how far a job that was submitted is, for its Token.Poll; what done and
// total count is the application's affair. For other messages it does nothing.
func (c *Context) Progress(done, total int64) {
	if j, ok := c.request().(*job); ok {
		j.progress(done, total)
	}
}

// refuse ends the request being handled as one that did not run.
func (c *Context) refuse(err *rpc.Error) {
	if c.req != nil && !c.done {
		c.req.Refuse(err)
		c.done = true
	}
}

// Message is the message itself, for a Receiver; nil in a handler, which has it.
func (c *Context) Message() any {
	if !c.cell.kind.receiver {
		return nil
	}
	if _, ok := c.msg.(boxed); ok {
		return nil
	}
	return c.msg
}

// Stop ends the actor once the handler has returned. What waits in its mailbox is
// handed back: requests as Unavailable, tells as dead letters.
func (c *Context) Stop() { c.cell.stop() }

// Reply answers the request being handled, once, for a Receiver. The error says that
// there is nothing to answer, or that v cannot be the answer.
func (c *Context) Reply(v any) error { return c.reply(v, reflect.TypeOf(v)) }

// reply answers with a value that is sent as a typ.
func (c *Context) reply(v any, typ reflect.Type) error {
	if c.req == nil || c.done {
		return rpc.Errorf(rpc.Invalid, rpc.HasRun, "nobody waits for a reply to this message")
	}
	var err error
	switch r := c.req.(type) {
	case *rpc.Inbound:
		err = c.System().reply(r, v, typ)
	case *copied:
		err = r.reply(v, typ)
	case interface{ answer(any) error }:
		err = r.answer(v)
	}
	c.done = err == nil
	return err
}

// finish ends a message after its handler returned err.
func (c *Context) finish(msg any, err error) {
	if d := c.deferred(); d != nil {
		if err != nil {
			_ = d.fail(failure(err))
		}
		c.done = true
		return
	}
	switch waits := c.req != nil && !c.done; {
	case waits && err != nil:
		c.req.Fail(failure(err))
	case waits:
		c.req.Fail(rpc.Errorf(rpc.Failed, rpc.HasRun, "the handler did not answer"))
	case err != nil:
		c.System().handlerFailed(c, msg, err)
	}
	c.done = true
}

// outgoing is what messages sent from this handler carry.
func (c *Context) outgoing() *meta {
	r := c.onDemand()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mine == nil {
		r.mine = &meta{sender: c.Self(), trace: c.Trace()}
	}
	return r.mine
}

// live returns the context proper, made on first use: most handlers never look.
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
	if c.ended.Load() {
		r.inner, r.cancel = context.WithCancel(ctx)
		r.cancel()
		return r.inner
	}
	stop := func() {}
	in, remote := c.req.(*rpc.Inbound)
	grows := remote && in.Keyed() // when another caller asks under its key
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

// followDeadline calls cancel at a request's deadline, which may move meanwhile.
func followDeadline(in *rpc.Inbound, cancel context.CancelCauseFunc) (stop func()) {
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

// end ends the context of a request when its handler has returned.
func (c *Context) end() {
	if c.rest.Load() != nil {
		c.turnOver()
	}
	if c.asks {
		if d := c.deferred(); d != nil && !d.handled() {
			return
		}
		in, _ := c.req.(*rpc.Inbound)
		c.letGo()
		if in != nil && c.through {
			in.Free()
		}
		return
	}
	c.forget()
}

// turnOver notes that the handler has returned.
func (c *Context) turnOver() {
	c.returned.Store(true)
	if c.cell.waits.Load() != nil { // a goroutine that it leaves behind waits, and its actor does not
		c.cell.waits.Store(nil)
	}
}

// letGo ends a request's context, and keeps nothing of the request: contexts lie in blocks
// that outlive them.
func (c *Context) letGo() {
	c.ended.Store(true) // first: whoever makes the rest after it was looked for finds this
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
	if !c.cell.kind.receiver { // whose Message may be asked for yet, and whose context is its own
		c.msg = nil
	}
}

// request is what is asked for, nil once that is over. Unlike req it may be read by
// whoever keeps the context; an Inbound may be another message's soon.
func (c *Context) request() (req request) {
	c.asking(func(r request) { req = r })
	return req
}

// asking calls do with what is asked for, which it is until do returns, unless it is over.
func (c *Context) asking(do func(request)) {
	if !c.asks {
		return
	}
	r := c.onDemand() // whose lock keeps the end from passing meanwhile
	r.mu.Lock()
	defer r.mu.Unlock()
	if !c.ended.Load() {
		do(c.req)
	}
}

// Detached is a context that carries the message's trace and sender, and ends with the
// system rather than with the handler: for requests whose results are piped back, and
// for goroutines that outlive the handler. Once that has returned, what is sent under it
// may wait like anything sent from outside, for the actor itself as well.
func (c *Context) Detached() context.Context {
	c.onDemand().detached.Store(true)
	return detached{c}
}

// detached reports whether Detached was called.
func (c *Context) detached() bool {
	r := c.rest.Load()
	return r != nil && r.detached.Load()
}

// inTurn reports whether c is the context of a handler that has not returned: while it
// waits, its actor does.
func (c *Context) inTurn() bool {
	return c != nil && !c.returned.Load() && !c.ended.Load()
}

// detached is a handler's context without its end.
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

// left is an error if the caller has left before anything was sent, which then is not.
func left(ctx context.Context) error {
	if c, ok := ctx.(*Context); ok && !c.mayBeOver() {
		return nil
	}
	if ctx.Err() == nil {
		return nil
	}
	return rpc.FromContext(ctx, rpc.NotRun)
}

// mayBeOver reports whether it is worth while to ask for c.Err, which makes a context: while
// nobody has asked yet, a request's has not ended before its handler returns.
func (c *Context) mayBeOver() bool {
	if !c.asks || c.ended.Load() {
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

// isDetached reports whether ctx is, or descends from, one that Detached made.
func isDetached(ctx context.Context) bool { return ctx.Value(detachedKey{}) != nil }

// Deadline is when the request ends for its caller; a tell has none, and neither has a
// request whose handler has returned.
func (c *Context) Deadline() (at time.Time, ok bool) {
	c.asking(func(r request) { at, ok = r.Deadline() })
	return at, ok
}

// Done is part of context.Context.
func (c *Context) Done() <-chan struct{} { return c.live().Done() }

// Err is part of context.Context.
func (c *Context) Err() error { return c.live().Err() }

// AfterFunc lets context.WithTimeout and its like follow this context without a
// goroutine of their own.
func (c *Context) AfterFunc(f func()) (stop func() bool) { return context.AfterFunc(c.live(), f) }

// Value finds the trace context; actors have no other values.
func (c *Context) Value(key any) any {
	switch key.(type) {
	case contextKey:
		return c
	}
	if t := c.Trace(); !t.IsZero() && rpc.IsTraceKey(key) {
		return t
	}
	return nil
}

type contextKey struct{}

// handling returns the handler's context that ctx is or descends from, or nil.
func handling(ctx context.Context) *Context {
	if c, ok := ctx.(*Context); ok {
		return c
	}
	c, _ := ctx.Value(contextKey{}).(*Context)
	return c
}

// metaOf is what a message sent under ctx carries; nil for nothing.
func metaOf(ctx context.Context, from *Context, opts []rpc.Option) *meta {
	var m *meta
	if from != nil || rpc.Traced(ctx) {
		m = traceMeta(ctx, from)
	}
	return m.with(opts)
}

// with is m with the headers that opts give.
func (m *meta) with(opts []rpc.Option) *meta {
	if len(opts) == 0 {
		return m
	}
	headers := rpc.Apply(opts).Headers
	if len(headers) == 0 {
		return m
	}
	var more meta
	if m != nil {
		more = *m
	}
	more.headers = headers
	return &more
}

func traceMeta(ctx context.Context, from *Context) *meta {
	if ctx == context.Context(from) {
		return from.outgoing()
	}
	switch t := rpc.TraceOf(ctx); {
	case from != nil && t == from.Trace():
		return from.outgoing()
	case from != nil: // a span that the handler began
		return &meta{sender: from.Self(), trace: t}
	case t != rpc.Trace{}:
		return &meta{trace: t}
	}
	return nil
}
