package actor

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
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
	traits  *traits // nil for most actors
	state   any     // only the run loop uses it
	pace    *pace   // of recording requests as begun; only the run loop uses it; nil until it has recorded one
	stopped atomic.Bool
	leaving atomic.Bool          // leave has been called
	waits   atomic.Pointer[turn] // the turn in which its handler waits for a reply; nil: it waits for none

	box mailbox.Box[item]
}

// item is a message in a mailbox. If it came from another node and is not decoded yet, msg
// is an *server.Inbound.
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
	c.self.sys.busy.Add(1)
	c.self.sys.workers.run(c)
}

var (
	errStopped = rpc.Errorf(rpc.Unavailable, rpc.NotRun, "the actor stopped before the message's turn")
	errDropped = rpc.Errorf(rpc.Overloaded, rpc.NotRun, "dropped at a full mailbox")
	errGone    = rpc.Errorf(rpc.NotFound, rpc.NotRun, "the actor has stopped")
)

// work is the run loop: it handles messages until the mailbox is empty.
func (c *cell) work(w *worker) {
	sys := c.self.sys
	for w.nextBatch(c) {
		for w.done < len(w.batch) {
			c.burst(w)
		}
		w.finishBatch(sys)
	}
	w.plain = nil
	if c.stopped.Load() {
		c.leave()
	}
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
	if w.taken == nil {
		return false
	}
	w.batch = w.taken.Messages()
	w.taken.Leave()
	return true
}

// burst handles messages of the batch until all are handled or a handler panics.
func (c *cell) burst(w *worker) {
	var ctx *Context
	defer func() {
		if ctx != nil { // a handler did not return
			reason := recover()
			c.crashed(ctx, w.batch[w.done-1].msg, reason)
			w.batch[w.done-1], w.plain = item{}, nil
			if reason == nil { // runtime.Goexit: this goroutine ends, the actor does not
				go w.resume(c)
			}
		}
	}()
	var typ reflect.Type
	var h *handler
	var emptied bool // h empties the codec.Reusable that messages of typ come in
	recorded := c.kind.recorded()
	for w.done < len(w.batch) {
		if recorded {
			c.prepare(w)
		}
		it := &w.batch[w.done]
		w.done++
		if c.stopped.Load() {
			c.self.sys.handBack(c.self.addr, *it, errStopped)
			*it = item{}
			continue
		}
		if it.req != nil && !it.req.Start() {
			*it = item{}
			continue
		}
		in, remote := it.msg.(*server.Inbound)
		from := originOf(it)
		if remote && it.req == nil && !c.decodeTell(w, it, in) {
			*it = item{}
			continue
		}
		if t := reflect.TypeOf(it.msg); t != typ {
			typ, h = t, c.kind.handlers[typeOf(it.msg)]
			_, reused := it.msg.(reusable)
			emptied = reused && h != nil && h.decodeInto != nil
		}
		if it.req == nil && it.meta == nil && h != nil && h.run != nil { // such messages can share a context, for nothing distinguishes their contexts
			ctx = w.plainContext(c, from)
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

// handle runs the handler of a message that has a context of its own.
func (c *cell) handle(ctx *Context, w *worker, it *item, h *handler) {
	if in, ok := it.msg.(*server.Inbound); ok {
		if in.Receipt {
			in.Reply(0, 0, nil)
			return
		}
		h = c.kind.handlerOf(c.self.sys, in.TypeID)
		if !c.decodeRequest(ctx, w, in, h) {
			return
		}
	}
	switch {
	case h != nil && h.run != nil:
		h.run(c.state, ctx, ctx.msg, &w.reusable)
	case c.kind.receiver:
		ctx.msg = plainValue(ctx.msg)
		if c.kind.observe != nil {
			c.kind.observe(ctx)
		}
		ctx.finish(ctx.msg, c.state.(Receiver).Receive(ctx))
	default:
		c.self.sys.handBack(c.self.addr, *it, rpc.Errorf(rpc.Unhandled, rpc.NotRun, "%s has no handler for %v", c.kind.name, typeOf(it.msg)))
	}
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
	msg, refusal := c.decode(w, in, c.kind.handlerOf(c.self.sys, in.TypeID))
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
	sys := c.self.sys
	if h == nil {
		return nil, sys.unhandled(c.kind, in.TypeID)
	}
	cd, err := sys.codecs.ByID(in.Codec)
	if err != nil {
		return nil, rpc.Errorf(rpc.Undecodable, rpc.NotRun, "%w", err)
	}
	var msg any
	if h.decodeInto != nil {
		msg, err = h.decodeInto(&w.reusable.message, cd, in.Body())
	} else {
		msg, err = h.decode(cd, in.Body())
	}
	if err != nil {
		return nil, bodyError(sys.hidePanic(err, c.self.addr, fmt.Sprint(h.typ)), rpc.NotRun, fmt.Sprint("message ", h.typ))
	}
	return msg, nil
}

// crashed deals with a handler that panicked or ended its goroutine. The caller gets an
// error, and the actor goes on with fresh state.
func (c *cell) crashed(ctx *Context, msg, reason any) {
	sys := c.self.sys
	if reason == nil {
		reason = "the handler called runtime.Goexit"
	}
	if ctx.msg != nil {
		msg = ctx.msg // the decoded message
	}
	req, mustAnswer := ctx.req, ctx.mustAnswer()
	ctx.end()
	name := fmt.Sprint(typeOf(msg))
	sys.stats.panics.Add(1)
	err := panicked("the handler of "+name, reason)
	sys.faults.note(DeadLetter{Time: time.Now(), To: c.self.addr.String(), Type: name, Reason: err}, c.kind.name)
	if d := ctx.deferred(); d != nil {
		_ = d.fail(sys.forCaller(req, err))
	} else if mustAnswer {
		req.Fail(sys.forCaller(req, err))
	}
	sys.event(Event{Type: ActorRestarted, Actor: c.self.addr.String(), Err: err})
	state, fresh := c.kind.fresh()
	if fresh != nil {
		sys.log.Error("the actor's state could not be recreated; it stops", "actor", c.self.addr.String(), "err", fresh)
		c.stop()
		return
	}
	c.state = state
	sys.waitLists.end(c)
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

// stop ends the actor after the message that it is handling. The messages that wait in its
// mailbox are handed back.
func (c *cell) stop() {
	if c.stopped.Swap(true) {
		return
	}
	rest, busy := c.box.Close()
	for _, it := range rest {
		c.self.sys.handBack(c.self.addr, it, errStopped)
	}
	if !busy {
		c.leave()
	}
}

// leave frees the actor's name once nothing of it runs. Both stop and the end of the run
// loop may call it; the first call counts.
//
// The name is freed last, so that nothing of the old actor is left when the name can be
// taken again.
func (c *cell) leave() {
	if c.leaving.Swap(true) {
		return
	}
	sys := c.self.sys
	c.state = nil // a context that the application keeps still refers to the cell
	sys.waitLists.end(c)
	for _, service := range c.services() {
		sys.members.withdraw(service, c.self.addr.name)
	}
	sys.refs.leave(c)
	sys.event(Event{Type: ActorStopped, Actor: c.self.addr.String()})
}

// services are the services that the actor is an instance of.
func (c *cell) services() []string {
	if c.traits == nil {
		return nil
	}
	return c.traits.services
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
