package actor

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
)

// Tell sends a one-way message. nil means, on this node, that it is in the actor's
// mailbox, and for another node that it was handed to a link; with rpc.Acked it is
// in the mailbox there as well, and stays there but for the policy DropOldest. A message
// for an actor that does not exist becomes a dead letter, and with rpc.Acked an error. A
// ctx that has ended before is an error too, and the message is not sent.
//
// A full mailbox blocks until ctx ends (or as its policy says); inside a handler for
// Config.SendWait at most, and not at all if it is the handler's own. It is full of what
// may run: see Mailbox.
//
// A message to an actor of the same system is not copied: what its pointers, slices and
// maps refer to is shared, so neither side may change it afterwards, unless
// Config.CopyLocal is set, which shows who does.
func Tell[M any](ctx context.Context, to Ref, m M, opts ...rpc.Option) error {
	from := handling(ctx)
	t, err := targetOf(to, from)
	if err == nil {
		err = left(ctx)
	}
	if err != nil {
		return err
	}
	if c := t.cell.Load(); c != nil && !keyed(opts) {
		if c.self.sys.minds() {
			return c.putMindful(ctx, from, item{msg: m, meta: metaOf(ctx, from, opts)}, opts, false)
		}
		if isValue[M]() {
			return putValue(ctx, from, c, m, nil, metaOf(ctx, from, opts), opts, false)
		}
		return c.put(ctx, from, item{msg: m, meta: metaOf(ctx, from, opts)}, isAcked(opts))
	}
	return tell(ctx, from, t, m, opts)
}

// Call sends a message and waits for its reply, until ctx ends, or Config.Timeout if
// ctx has no deadline. The error says whether the request ran: see rpc.Ran. When ctx
// ends, the handler's context ends too; if it has ended already, the handler never runs.
// A Call from a handler that closes a cycle of waiting actors is refused: see ErrCycle.
//
// Within a system neither the message nor the reply is copied, see Tell and Answer, unless
// Config.CopyLocal is set.
func Call[M Question[R], R any](ctx context.Context, to Ref, m M, opts ...rpc.Option) (R, error) {
	var none R
	from := handling(ctx)
	t, err := targetOf(to, from)
	if err == nil {
		err = left(ctx)
	}
	if err != nil {
		return none, err
	}
	if t.addr.node == anyNode {
		return callService[M, R](ctx, from, t, m, opts)
	}
	c := t.cell.Load()
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
		defer w.over(from.cell)
	}
	var r R
	if c != nil && !keyed(opts) {
		r, err = callLocal[M, R](ctx, from, w, c, m, opts)
	} else {
		r, err = call[M, R](ctx, from, w, nil, t, m, opts)
	}
	if err != nil {
		w.failed(from, err)
	}
	return r, err
}

// Ask sends a message and returns the future of its reply; it waits only while a
// mailbox or a window is full. The request ends when ctx does, or after
// Config.Timeout if ctx has no deadline, whether anybody awaits it or not.
func Ask[M Question[R], R any](ctx context.Context, to Ref, m M, opts ...rpc.Option) *rpc.Future[R] {
	var none R
	from := handling(ctx)
	t, err := targetOf(to, from)
	if err == nil {
		err = left(ctx)
	}
	if err != nil {
		return failed[R](err)
	}
	if t.addr.node == anyNode {
		return askService[M, R](ctx, from, t, m, opts)
	}
	c := t.cell.Load()
	if c != nil && !keyed(opts) {
		a := &ask[R]{deadline: t.sys.deadline(ctx)}
		a.promise.Of(a)
		a.watch(ctx)
		if err := put(ctx, from, c, m, a, metaOf(ctx, from, opts), opts, false); err != nil {
			a.end(none, err)
		}
		return a.promise.Future()
	}
	if c == nil && t.addr.node == t.sys.cfg.Name {
		return failed[R](t.sys.noActor(from, t.addr))
	}
	return askFar[M, R](ctx, from, nil, t, m, opts)
}

// askFar is Ask of an actor on another node.
func askFar[M Question[R], R any](ctx context.Context, from *Context, at *visit, t *target, m M, opts []rpc.Option) *rpc.Future[R] {
	p, call, err := send[M, R](ctx, from, at, t, m, opts)
	if err != nil {
		if at != nil {
			at.over(err)
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
	return p.Future()
}

// failed returns a future that has ended with err.
func failed[R any](err error) *rpc.Future[R] {
	var none R
	p := rpc.NewPromise[R](nil)
	p.Resolve(none, err)
	return p.Future()
}

// callLocal is Call to an actor of this system.
func callLocal[M Question[R], R any](ctx context.Context, from *Context, w *calling, c *cell, m M, opts []rpc.Option) (R, error) {
	a := &ask[R]{}
	var timeout *time.Timer
	var expired <-chan time.Time
	if at, ok := ctx.Deadline(); ok {
		a.deadline = at
	} else {
		timeout = c.self.sys.timers.get()
		timeout.Reset(c.self.sys.cfg.Timeout)
		expired = timeout.C
	}
	if err := put(ctx, from, c, m, a, metaOfCall(ctx, from, w, opts), opts, false); err != nil {
		var none R
		return none, err
	}
	r, err := a.await(ctx, &c.self.sys.waiters, expired)
	if timeout != nil {
		timeout.Stop()
		c.self.sys.timers.pool.Put(timeout)
	}
	return r, err
}

// timers spares a timer per call. Since Go 1.23 a stopped timer's channel is empty.
type timers struct{ pool sync.Pool }

// get returns a stopped timer.
func (p *timers) get() *time.Timer {
	if t, ok := p.pool.Get().(*time.Timer); ok {
		return t
	}
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// targetOf finds the system to send with: the ref's own, else the handler's.
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

// put is cell.put, save that it minds the system's state, and that a message that is a value
// comes in a box.
// must has a one-way message be an error where it would be a dead letter, as if it were Acked.
func put[M any](ctx context.Context, from *Context, c *cell, m M, req request, meta *meta, opts []rpc.Option, must bool) error {
	if c.self.sys.minds() {
		return c.putMindful(ctx, from, item{m, req, meta}, opts, must)
	}
	if isValue[M]() {
		return putValue(ctx, from, c, m, req, meta, opts, must)
	}
	return c.put(ctx, from, item{m, req, meta}, must || isAcked(opts))
}

func putValue[M any](ctx context.Context, from *Context, c *cell, m M, req request, meta *meta, opts []rpc.Option, must bool) error {
	wake, ok := c.box.PushWith(func(place *item) {
		boxIn[M](&place.msg).V = m
		place.req, place.meta = req, meta
	})
	if !ok {
		return c.putFull(ctx, from, item{m, req, meta}, must || isAcked(opts))
	}
	if wake {
		c.run()
	}
	return nil
}

// put puts a message into the actor's mailbox. A message that is told to an actor
// which has stopped meanwhile becomes a dead letter.
//
// acked is Acked of a one-way message: what does not get into the mailbox is an error.
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

// putFull is put where the mailbox was found full or closed.
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
		c.accepted(p)
		if acked && p.HasDropped && c.box.DropsNewest() {
			return errDropped
		}
		return nil
	}
	e := putError(err)
	if it.req == nil && e == errGone && !acked {
		c.self.sys.handBack(c.self.addr, it, e)
		return nil
	}
	return e
}

// isAcked reports whether opts ask for an acked one-way message.
func isAcked(opts []rpc.Option) bool { return len(opts) > 0 && rpc.Apply(opts).Acked }

// keyed reports whether opts give the request a name of the caller's own.
func keyed(opts []rpc.Option) bool { return len(opts) > 0 && rpc.Apply(opts).Key != nil }

// errWaited ends a wait for room.
var errWaited = errors.New("actor: no room in the mailbox")

// wait is put into a full mailbox: bounded even where ctx is not.
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
