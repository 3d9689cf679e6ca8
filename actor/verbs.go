package actor

import (
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/tandem-go/tandem/internal/promise"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/rpc"
)

// Tell sends a one-way message. On the same node nil means that it is in the actor's mailbox;
// to another node nil means that it was handed to a link, and with rpc.Acked that it is in the
// mailbox there. Only the policy DropOldest can remove it from a mailbox again. A message
// for an actor that does not exist becomes a dead letter, or an error with rpc.Acked. If ctx
// has already ended, the message is not sent, and the error says so.
//
// A full mailbox blocks the sender until ctx ends, unless its policy says otherwise. A handler
// waits for Config.SendWait at most, and not at all if the mailbox is its own. Requests that
// will never run take up no room: see Mailbox.
//
// A message to an actor of the same system is not copied. What its pointers, slices and
// maps refer to is shared, so neither side may change it afterwards. With Config.CopyLocal
// messages are copied, so that tests show who does.
func Tell[M any](ctx context.Context, to Ref, m M, opts ...rpc.Option) error {
	if t := to.to; t != nil && len(opts) == 0 {
		if c := t.cell.Load(); c != nil && !c.self.sys.checksSends() {
			return tellCell(ctx, c, m)
		}
	}
	return tellWith(ctx, to, m, opts)
}

// tellCell is the short form of Tell for the usual case: to an actor of this system, without
// options. It looks at ctx only if that may say anything, because each look is a call.
func tellCell[M any](ctx context.Context, c *cell, m M) error {
	var from *Context
	var meta *meta
	if ctx != context.Background() {
		var err error
		if from, meta, err = under(ctx); err != nil {
			return err
		}
		if t := from.transaction(ctx); t != nil {
			return t.later(ctx, from, c.address(), m, reflect.TypeFor[M](), nil)
		}
	}
	if isValue[M]() {
		return putValue(ctx, from, c, m, nil, meta, nil, false)
	}
	wake, ok := c.box.Push(item{msg: m, meta: meta})
	if ok && !wake {
		return nil
	}
	if !ok {
		return c.putFull(ctx, from, item{msg: m, meta: meta}, false)
	}
	c.run()
	return nil
}

// under returns the handler that sends under ctx, if one does, and what a message without
// options carries then. It returns an error if ctx has ended.
func under(ctx context.Context) (from *Context, meta *meta, err error) {
	from = handling(ctx)
	if err = contextError(ctx); err == nil {
		meta = metaOf(ctx, from, nil)
	}
	return from, meta, err
}

// tellWith is Tell in all other cases.
func tellWith[M any](ctx context.Context, to Ref, m M, opts []rpc.Option) error {
	from := handling(ctx)
	t, err := targetOf(to, from)
	if err == nil {
		err = contextError(ctx)
	}
	if err != nil {
		return err
	}
	set := settingsOf(opts)
	if fns := t.sys.intercepts(ctx, from, t); fns != nil {
		return tellThrough(ctx, fns, from, t, m, set)
	}
	return tellInside(ctx, from, t, m, set)
}

// tellInside is Tell inside the interceptors of the sender.
func tellInside[M any](ctx context.Context, from *Context, t *target, m M, set *settings) error {
	if own := from.transaction(ctx); own != nil {
		return own.later(ctx, from, t, m, reflect.TypeFor[M](), set)
	}
	err := tellDirect(ctx, from, t, m, set)
	if t.addr.node == anywhere && rpc.Ran(err) == rpc.NotRun && rpc.CodeOf(err) == rpc.NotFound { // its activation here has just ended
		return tellOn(ctx, t, placement.Holder{}, m, metaOf(ctx, from, set))
	}
	return err
}

// tellDirect is tellInside; at a virtual actor, it may find its activation here at its end.
func tellDirect[M any](ctx context.Context, from *Context, t *target, m M, set *settings) error {
	if c := t.cell.Load(); c != nil && !set.ByRoad() {
		if c.self.sys.checksSends() {
			return c.putChecked(ctx, from, item{msg: m, meta: metaOf(ctx, from, set)}, set, false)
		}
		if isValue[M]() {
			return putValue(ctx, from, c, m, nil, metaOf(ctx, from, set), set, false)
		}
		return c.put(ctx, from, item{msg: m, meta: metaOf(ctx, from, set)}, set.IsAcked())
	}
	return tell(ctx, from, t, m, set)
}

// Call sends a message and waits for its reply until ctx ends, or for Config.Timeout if
// ctx has no deadline. The error says whether the request ran: see rpc.Ran. When ctx
// ends, the handler's context ends too; a handler that has not started by then never runs.
// A Call from a handler that closes a cycle of waiting actors is refused: see ErrCycle.
//
// Within a system neither the message nor the reply is copied, see Tell and Answer, unless
// Config.CopyLocal is set.
func Call[M Question[R], R any](ctx context.Context, to Ref, m M, opts ...rpc.Option) (R, error) {
	return callWith[M, R](ctx, to, m, opts)
}

// callWith is Call of a message of any type.
func callWith[M, R any](ctx context.Context, to Ref, m M, opts []rpc.Option) (R, error) {
	set := settingsOf(opts)
	var none R
	from := handling(ctx)
	t, err := targetOf(to, from)
	if err == nil {
		err = contextError(ctx)
	}
	if err != nil {
		return none, err
	}
	if fns := t.sys.intercepts(ctx, from, t); fns != nil {
		return callThrough[M, R](ctx, fns, from, t, m, set)
	}
	return callInside[M, R](ctx, from, t, m, set)
}

// callInside is Call inside the interceptors of the sender.
func callInside[M, R any](ctx context.Context, from *Context, t *target, m M, set *settings) (r R, err error) {
	var none R
	c := t.cell.Load()
	if t.addr.routed() && (c == nil || set.ByRoad()) {
		return callService[M, R](ctx, from, t, m, set)
	}
	if c != nil {
		if from.isIn(c) {
			return none, rpc.Errorf(rpc.Invalid, rpc.NotRun, "%v calls itself and would wait for ever", t.addr)
		}
	} else if t.addr.node == t.sys.cfg.Name {
		return none, t.sys.noActor(from, t.addr)
	}
	var w *calling
	if from.waits() {
		if w, err = from.waitFor(t, c); err != nil {
			return none, err
		}
		defer w.end(from.cell)
	}
	if c != nil && !set.ByRoad() {
		r, err = callLocal[M, R](ctx, from, w, c, m, set)
	} else {
		r, err = call[M, R](ctx, from, w, nil, t, m, set)
	}
	if err != nil {
		w.failed(from, err)
		if t.addr.node == anywhere && rpc.Ran(err) == rpc.NotRun && (err == errGone || err == errStopped) { // its activation here has just ended
			v := t.sys.routedCall(ctx, from, t, set)
			defer v.free()
			v.waits = from.waits()
			if v.waitAgain(ctx, err) {
				return callNext[M, R](ctx, from, v, m, set)
			}
		}
	}
	return r, err
}

// Ask sends a message and returns the future of its reply. It waits only while a
// mailbox or a window is full. The request ends when ctx ends, or after
// Config.Timeout if ctx has no deadline, whether anybody awaits it or not.
func Ask[M Question[R], R any](ctx context.Context, to Ref, m M, opts ...rpc.Option) *rpc.Future[R] {
	return askWith[M, R](ctx, to, m, opts)
}

// askWith is Ask of a message of any type.
func askWith[M, R any](ctx context.Context, to Ref, m M, opts []rpc.Option) *rpc.Future[R] {
	var none R
	from := handling(ctx)
	t, err := targetOf(to, from)
	if err == nil {
		err = contextError(ctx)
	}
	if err != nil {
		return failed[R](err)
	}
	if fns := t.sys.intercepts(ctx, from, t); fns != nil {
		return askThrough[M, R](ctx, fns, t, to, m, opts)
	}
	set := settingsOf(opts)
	if t.addr.routed() {
		return askService[M, R](ctx, from, t, m, set)
	}
	c := t.cell.Load()
	if c != nil && !set.ByRoad() {
		a := newAsking[R](ctx, t.sys)
		if err := put(ctx, from, c, m, a, metaOf(ctx, from, set), set, false); err != nil {
			a.end(none, err)
		}
		return future(a.future)
	}
	if c == nil && t.addr.node == t.sys.cfg.Name {
		return failed[R](t.sys.noActor(from, t.addr))
	}
	return askFar[M, R](ctx, from, nil, t, m, set)
}

// askFar is Ask of an actor on another node.
func askFar[M, R any](ctx context.Context, from *Context, at *routedCall, t *target, m M, opts *settings) *rpc.Future[R] {
	p, call, err := send[M, R](ctx, from, at, t, m, opts)
	if err != nil {
		if at != nil {
			at.end(err)
		}
		return failed[R](err)
	}
	p.Of(call)
	if ctx.Done() != nil {
		stop := context.AfterFunc(ctx, func() {
			e := rpc.FromContext(ctx, rpc.Unknown)
			call.GiveUp(e.Code, e.Message)
		})
		p.OnEnd(func() { stop() })
	}
	return future(p)
}

// future returns p as the public type.
func future[R any](p *promise.Promise[R]) *rpc.Future[R] { return (*rpc.Future[R])(p) }

// failed returns a future that has failed with err.
func failed[R any](err error) *rpc.Future[R] {
	return future(promise.Failed[R](err))
}

// callLocal is Call to an actor of this system.
func callLocal[M, R any](ctx context.Context, from *Context, w *calling, c *cell, m M, opts *settings) (R, error) {
	a := newAsk[R](c.self.sys)
	at, hasDeadline := ctx.Deadline()
	a.deadline = at
	if err := put(ctx, from, c, m, a, metaOfCall(ctx, from, w, opts), opts, false); err != nil {
		var none R
		return none, err
	}
	if w != nil && c.awaitsChildren() { // since waitFor has looked
		c.refuseWaiting()
	}
	return a.await(ctx, c.self.sys, !hasDeadline)
}

// targetOf returns the target of a ref. An unbound ref is bound to the handler's system.
func targetOf(to Ref, from *Context) (*target, error) {
	switch {
	case to.to != nil:
		return to.to, nil
	case to.IsZero():
		return nil, rpc.Errorf(rpc.Invalid, rpc.NotRun, "the ref addresses nobody")
	case from == nil:
		return nil, rpc.Errorf(rpc.Invalid, rpc.NotRun, "send to %v: %w", to, ErrUnbound)
	}
	return from.System().Bind(to).to, nil
}

// deadline is when a request made under ctx ends.
func (s *System) deadline(ctx context.Context) time.Time {
	if at, ok := ctx.Deadline(); ok {
		return at
	}
	return time.Now().Add(s.cfg.Timeout)
}

// put is cell.put, but it checks the system's state, and puts a message that is a value into
// reusable memory. With must, a one-way message that would become a dead letter is an error
// instead, as with rpc.Acked.
func put[M any](ctx context.Context, from *Context, c *cell, m M, req request, meta *meta, opts *settings, must bool) error {
	if c.self.sys.checksSends() {
		return c.putChecked(ctx, from, item{m, req, meta}, opts, must)
	}
	if isValue[M]() {
		return putValue(ctx, from, c, m, req, meta, opts, must)
	}
	return c.put(ctx, from, item{m, req, meta}, must || opts.IsAcked())
}

func putValue[M any](ctx context.Context, from *Context, c *cell, m M, req request, meta *meta, opts *settings, must bool) error {
	wake, ok := c.box.PushWith(func(place *item) {
		reusableIn[M](&place.msg).V = m
		place.req, place.meta = req, meta
	})
	if !ok {
		return c.putFull(ctx, from, item{m, req, meta}, must || opts.IsAcked())
	}
	if wake {
		c.run()
	}
	return nil
}

// put puts a message into the actor's mailbox. A one-way message to an actor that has
// stopped becomes a dead letter.
//
// acked says that a one-way message has rpc.Acked: then it is an error if the message does
// not get into the mailbox.
func (c *cell) put(ctx context.Context, from *Context, it item, acked bool) error {
	wake, ok := c.box.Push(it)
	if !ok {
		return c.putFull(ctx, from, it, acked)
	}
	if wake {
		c.run()
	}
	return nil
}

// putFull is put for a mailbox that was found full or closed.
func (c *cell) putFull(ctx context.Context, from *Context, it item, acked bool) error {
	c.sweep()
	var p mailbox.Put[item]
	var err error
	if c.box.Blocks() && !from.isIn(c) {
		p, err = c.wait(ctx, from, it)
	} else {
		p, err = c.box.Offer(it)
	}
	if err == nil {
		if acked && it.req == nil && p.Own { // its sender gets the error, so it is no dead letter
			return errDropped
		}
		c.accepted(p)
		return nil
	}
	e := putError(err)
	if it.req == nil && e == errGone && !acked {
		if c.kind.placed && c.self.sys.virtuals.sendOn(c.virtualSelf(), it, placement.Holder{}) {
			return nil
		}
		c.self.sys.handBack(c.self.addr, it, e)
		return nil
	}
	return e
}

// errWaited is the cause when a wait for room has taken too long.
var errWaited = errors.New("actor: no room in the mailbox")

// wait waits for room in a full mailbox. The wait is bounded even if ctx is not.
func (c *cell) wait(ctx context.Context, from *Context, it item) (mailbox.Put[item], error) {
	bound, code := c.self.sys.cfg.Timeout, rpc.Expired
	if from.inTurn() {
		bound, code = c.self.sys.cfg.SendWait, rpc.Overloaded
	}
	ctx, cancel := context.WithTimeoutCause(ctx, bound, errWaited)
	defer cancel()
	p, err := c.putWhen(ctx, it)
	if errors.Is(err, errWaited) {
		err = rpc.Errorf(code, rpc.NotRun, "the mailbox of %v was full for %v", c.self.addr, bound)
	}
	return p, err
}
