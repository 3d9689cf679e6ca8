package actor

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/supervise"
)

// cell is one live actor: its state and its mailbox. While the mailbox is empty, the
// actor owns no goroutine. The put that finds it idle starts a run loop, which ends
// when the mailbox is empty again. So at most one goroutine touches state at any moment.
//
// Senders write to box while the run loop reads the other fields. Therefore box and the
// other fields have a cache line each; both are 64 bytes long.
type cell struct {
	self    *target
	kind    *Kind
	state   any // only the run loop uses it
	life    cellLife
	more    atomic.Pointer[annex] // what few actors have; nil: nothing of it
	waits   atomic.Pointer[turn]  // the turn in which its handler waits for a reply; nil: it waits for none
	handled atomic.Uint64         // messages taken out of the mailbox and the lane; only the run loop writes it

	box mailbox.Box[item]
}

// item is a message in a mailbox. If it came from another node and is not decoded yet, msg
// is an *server.Inbound, which can also be a row of one-way messages.
type item struct {
	msg  any
	req  request // nil: the message is one-way
	meta *meta
}

// accepted does what a successful put requires: it hands back a message that was dropped to
// make room, and starts the run loop if the actor was idle.
func (c *cell) accepted(p mailbox.Put[item]) {
	if p.HasDropped {
		c.self.sys.handBack(c.self.addr, p.Dropped, errDropped)
	}
	if p.Wake {
		c.run()
	}
}

// run starts the run loop on a worker.
func (c *cell) run() {
	sys := c.self.sys
	sys.busy.Add(1)
	if !sys.clock.goes.Load() {
		sys.clock.set(sys)
	}
	sys.workers.run(c)
}

var (
	errStopped = rpc.Errorf(rpc.Unavailable, rpc.NotRun, "the actor stopped before the message's turn")
	errDropped = rpc.Errorf(rpc.Overloaded, rpc.NotRun, "dropped at a full mailbox")
	errGone    = rpc.Errorf(rpc.NotFound, rpc.NotRun, "the actor has stopped")
)

// work is the run loop: it handles messages until the mailbox is empty. Who has had the box say
// Wake is the only one that runs the actor, until Take has returned nil or the actor is parked.
func (c *cell) work(w *worker) {
	sys := c.self.sys
	w.pickUp(c)
	for {
		if c.life.calls() {
			if to := c.attend(w); to == parks {
				return
			} else if to == over {
				break
			}
		}
		if w.done == len(w.batch) {
			w.finishBatch(c)
			if c.kind.keeps != nil && c.box.Len() == 0 { // not behind nextBatch: then another run loop may have the actor
				c.commitRest()
			}
			if !w.nextBatch(c) {
				if c.life.calls() && c.box.Wake() { // a signal, or an end, has found this run loop busy
					continue
				}
				break
			}
		}
		if !c.kind.pool {
			c.burst(w)
		} else if !c.route(w) && c.stall(w) {
			return
		}
	}
	w.plain = nil
	if sys.draining() {
		sys.loops.end(c)
	}
	sys.idle()
}

// nextBatch takes the messages that wait in c's mailbox into w.batch. It returns false if
// there are none.
func (w *worker) nextBatch(c *cell) bool {
	if w.taken != nil && w.taken.IsLast() {
		runtime.Gosched() // a caller that was just answered may send the next message; yielding is cheaper than going idle and being woken
	}
	w.taken, w.batch, w.done, w.begun = c.box.Take(w.taken), nil, 0, 0
	if now := c.self.sys.clock.now.Load(); now != w.since.Load() {
		w.since.Store(now)
	}
	if w.taken != nil {
		w.batch = w.taken.Messages()
		w.taken.Leave()
	}
	if s := c.seat(); s != nil {
		s.took(len(w.batch))
	}
	return w.taken != nil
}

// burst handles messages of the batch until all are handled, a handler panics, or something else
// is to be done first. A signal lets one message pass, so that signals do not hold all up.
func (c *cell) burst(w *worker) {
	var ctx *Context
	defer func() {
		if ctx != nil { // a handler did not return
			reason := recover()
			it := &w.batch[w.done-1]
			c.crashed(ctx, it.msg, reason)
			w.plain = nil
			w.leaveCrashed(it)
			if reason == nil { // runtime.Goexit: this goroutine ends, the actor does not
				go c.workOn(w)
			}
		}
	}()
	kind := c.current()
	if w.last.kind != kind {
		w.last = lookup{kind: kind}
	}
	typ, h, emptied := w.last.typ, w.last.handler, w.last.emptied
	careful := c.kind.recorded() || c.kind.placed || c.seat() != nil
	for first := urgent; w.done < len(w.batch); first |= signaled {
		if careful {
			c.beforeNext(w)
		}
		if c.life.word.Load()&first != 0 {
			return
		}
		it := &w.batch[w.done]
		w.done++
		if it.req != nil && !it.req.Start() {
			*it = item{}
			continue
		}
		in, remote := it.msg.(*server.Inbound)
		if careful && remote && in.Confirm && it.req != nil { // it came while the actor was being activated
			it.msg, it.req = in.AsTell(), nil
			in.Reply(0, 0, nil)
			in = it.msg.(*server.Inbound)
		}
		if remote && in.Left() > 0 {
			c.burstRow(w, it, in, &ctx)
			continue
		}
		from := originOf(it)
		if remote && it.req == nil && !c.decodeTell(w, it, in) {
			*it = item{}
			continue
		}
		if t := reflect.TypeOf(it.msg); t != typ {
			typ, h = t, kind.handlers[typeOf(it.msg)]
			_, reused := it.msg.(reusable)
			emptied = reused && h != nil && h.decodeInto != nil
			w.last = lookup{kind, typ, h, emptied}
			if w.doing.Load() != h {
				w.doing.Store(h)
			}
		}
		if c.kind.keeps != nil {
			ctx = w.context(c, it, from)
			c.transact(ctx, w, it, h)
			ctx.end()
			it.req, it.meta = nil, nil
		} else if it.req == nil && it.meta == nil && h != nil && h.run != nil { // such messages can share a context, for nothing distinguishes their contexts
			if ctx = w.plain; ctx == nil || ctx.origin != from {
				ctx = w.plainContext(c, from)
			}
			h.run(c.state, ctx, it.msg, &w.reusable)
			if ctx.rest.Load() != nil && ctx.detached() {
				ctx.handlerReturned()
				w.plain = nil
			}
		} else {
			ctx = w.context(c, it, from)
			c.handle(ctx, w, it, h)
			ctx.end()
			it.req, it.meta = nil, nil
		}
		ctx = nil
		if !emptied || remote { // otherwise its memory stays, for the next message in this place
			it.msg = nil
		}
	}
}

// beforeNext does for few actors what is due before each message.
func (c *cell) beforeNext(w *worker) {
	if c.kind.recorded() {
		c.prepare(w)
	}
	if c.kind.placed && !c.holds() {
		c.fenceOff()
	}
	if s := c.seat(); s != nil {
		s.inHand.Store(int32(len(w.batch) - w.done))
	}
}

// handle runs the handler of a message that has a context of its own.
func (c *cell) handle(ctx *Context, w *worker, it *item, h *handler) {
	if in, ok := it.msg.(*server.Inbound); ok {
		if in.Receipt {
			in.Reply(0, 0, nil)
			return
		}
		h = w.last.kind.handlerOf(c.self.sys, in.TypeID)
		if w.doing.Load() != h {
			w.doing.Store(h)
		}
		if !c.decodeRequest(ctx, w, in, h) {
			return
		}
	}
	switch {
	case h != nil && h.run != nil:
		h.run(c.state, ctx, ctx.msg, &w.reusable)
	case c.kind.receiver:
		ctx.msg = plainValue(ctx.msg)
		err := c.receive(ctx)
		if c.kind.placed && !c.holds() {
			err = c.outcomeUnsure()
		}
		ctx.finish(ctx.msg, err)
		ctx.putAside()
	default:
		c.self.sys.handBack(c.self.addr, *it, rpc.Errorf(rpc.Unhandled, rpc.NotRun, "%s has no handler for %v", c.kind.name, typeOf(it.msg)))
	}
}

// receive calls the Receiver, inside the interceptors of its kind.
func (c *cell) receive(ctx *Context) error {
	receive := c.state.(Receiver).Receive
	if c.kind.incoming != nil {
		fns := ctx.receivers()
		if len(fns) == 0 {
			return receive(ctx)
		}
		own := func(_ any, c *Context, _ any) (none struct{}, err error) { return none, receive(c) }
		_, err := new(arriving[any, any, struct{}]).through(fns, own, nil, ctx, ctx.msg)
		return err
	}
	return receive(ctx)
}

// decodeRequest decodes a request from another node. It returns false if it refused the request.
func (c *cell) decodeRequest(ctx *Context, w *worker, in *server.Inbound, h *handler) bool {
	msg, refusal := c.decode(w, in, h)
	if refusal != nil {
		in.Fail(refusal)
		return false
	}
	in.Decoded()
	ctx.msg = msg
	return true
}

// decodeTell decodes a one-way message from another node. It returns false if it made the
// message a dead letter.
func (c *cell) decodeTell(w *worker, it *item, in *server.Inbound) bool {
	msg, refusal := c.decode(w, in, w.last.kind.handlerOf(c.self.sys, in.TypeID))
	if refusal != nil {
		c.self.sys.handBack(c.self.addr, *it, refusal)
		return false
	}
	it.msg = msg
	w.decoded = append(w.decoded, in)
	return true
}

// decode decodes a message from another node, into w's reusable memory if the handler can take
// it from there.
func (c *cell) decode(w *worker, in *server.Inbound, h *handler) (any, *rpc.Error) {
	cd, refusal := c.codecOf(in, h)
	if refusal != nil {
		return nil, refusal
	}
	return c.decodeBody(w, cd, in.Body(), h)
}

// codecOf returns the codec of a message, or why it cannot be decoded for the handler h.
func (c *cell) codecOf(in *server.Inbound, h *handler) (codec.Codec, *rpc.Error) {
	if h == nil {
		return nil, c.self.sys.unhandled(c.kind, in.TypeID)
	}
	if in.Codec == codec.IDCompact {
		return c.self.sys.compacts.codecOf(in, h.typ), nil
	}
	cd, err := c.self.sys.codecs.ByID(in.Codec)
	if err != nil {
		return nil, rpc.Errorf(rpc.Undecodable, rpc.NotRun, "%w", err)
	}
	return cd, nil
}

func (c *cell) decodeBody(w *worker, cd codec.Codec, body []byte, h *handler) (msg any, refusal *rpc.Error) {
	var err error
	if h.decodeInto != nil {
		msg, err = h.decodeInto(&w.reusable.message, cd, body)
	} else {
		msg, err = h.decode(cd, body)
	}
	if err != nil {
		return nil, bodyError(c.self.sys.hidePanic(err, c.self.addr, fmt.Sprint(h.typ)), rpc.NotRun, fmt.Sprint("message ", h.typ))
	}
	return msg, nil
}

// crashed deals with a handler that panicked or ended its goroutine. The caller gets an
// error, and the actor is suspended, see cell.recover.
func (c *cell) crashed(ctx *Context, msg, reason any) {
	sys := c.self.sys
	if reason == nil {
		reason = "the handler called runtime.Goexit"
	}
	if ctx.msg != nil {
		msg = ctx.msg // the decoded message
	}
	req, mustAnswer := ctx.req, ctx.mustAnswer()
	stashed := ctx.asks && ctx.life.stashed() // but its message is not kept
	ctx.end()
	name := fmt.Sprint(typeOf(msg))
	sys.stats.panics.Add(1)
	err := panicked("the handler of "+name, reason)
	c.noteFailureUnder(ctx.Trace(), name, err)
	if t, ok := req.(*transaction); ok {
		if t.req != nil {
			err = sys.forCaller(t.req, err)
		}
		t.fails(err)
		c.conclude(t)
		c.fail(supervise.Failure{Err: err, Message: name})
		return
	}
	if d := ctx.deferred(); d != nil && !stashed {
		_ = d.fail(sys.forCaller(req, err))
	} else if mustAnswer || stashed {
		req.Fail(sys.forCaller(req, err))
	}
	c.fail(supervise.Failure{Err: err, Message: name})
}

// fresh makes a new state. It returns an error if the function that makes it panicked.
func (k *Kind) fresh() (state any, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("actor: making the state of a %s panicked: %v", k.name, r)
		}
	}()
	return k.make(), nil
}

// handlerOf returns the handler for a type id, or nil.
func (k *Kind) handlerOf(s *System, id uint64) *handler {
	slot := &s.kindTypes[spread(uintptr(unsafe.Pointer(k)))]
	known := slot.Load()
	if known == nil || known.of != k {
		known = s.learn(k)
		slot.Store(known)
	}
	return known.byID[id]
}

// putError turns a mailbox's error into the error that a sender gets.
func putError(err error) *rpc.Error {
	switch {
	case errors.Is(err, mailbox.ErrClosed):
		return errGone
	case errors.Is(err, mailbox.ErrFull):
		return rpc.Errorf(rpc.Overloaded, rpc.NotRun, "the actor's mailbox is full")
	}
	return rpc.Errorf(rpc.CodeOf(err), rpc.NotRun, "%w", err)
}
