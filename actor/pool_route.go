package actor

import (
	"fmt"
	"math/rand/v2"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/route"
	"github.com/tandem-go/tandem/rpc"
)

// A pool passes messages on in order, as they came: what came from another node is not decoded,
// unless the policy needs its key, or several workers get it.

// head is the first message that the pool has not passed on yet, if that has begun.
type head struct {
	cut    item       // the message, if it was taken from a row
	keyed  bool       // key or noKey is known
	key    string     // for the policy
	noKey  *rpc.Error // why the message has no key
	owed   []*cell    // of a broadcast: the workers that still get it
	begun  bool       // of a broadcast: owed is set
	values []any      // of a request for several workers: the message, decoded for each of them
}

// next forgets the message.
func (h *head) next() {
	clear(h.values)
	*h = head{values: h.values[:0], owed: h.owed[:0]}
}

// route passes messages of the batch in hand on until all are, or something else is to be done
// first. It returns false if a message has to wait for room.
func (c *cell) route(w *worker) bool {
	p := c.pool()
	for look := stateBits; w.done < len(w.batch); look |= signaled {
		if c.life.word.Load()&look != 0 {
			return true
		}
		it := &w.batch[w.done]
		one, rest := it, 0
		in, remote := it.msg.(*server.Inbound)
		if p.head.cut.msg == nil && remote && in.Left() > 0 {
			p.head.cut = item{msg: in.Split(), meta: it.meta}
			if in.Left() > 0 {
				w.more++
			}
		}
		if p.head.cut.msg != nil {
			one, rest = &p.head.cut, in.Left()
		}
		if !c.pass(w, one) {
			return false
		}
		p.head.next()
		if rest == 0 { // its memory belongs to the worker
			*it = item{}
			w.done++
		}
	}
	return true
}

// stall waits for room: it lets the run loop end until a signal comes. It returns false if the run
// loop has to go on.
func (c *cell) stall(w *worker) bool {
	c.pool().hungry.Store(true)
	if c.route(w) { // a worker may have got room before it could see that
		return false
	}
	return c.park(w)
}

// handBackHead hands back what the pool has begun to pass on, because the pool ends.
func (c *cell) handBackHead(w *worker) {
	p, sys := c.pool(), c.self.sys
	h := p.head
	p.head = head{}
	if !h.begun && h.cut.msg == nil || w.done == len(w.batch) {
		return
	}
	it := w.batch[w.done]
	one := it
	if h.cut.msg != nil {
		one = h.cut
	}
	if in, remote := one.msg.(*server.Inbound); !h.begun {
		sys.handBack(c.self.addr, one, errStopped)
	} else { // others have got it already
		for _, worker := range h.owed {
			var body []byte
			if remote {
				body = in.Body()
			}
			sys.lost(worker.self.addr, one, body, errStopped, "")
		}
		if remote {
			in.Drop()
		}
	}
	if in, remote := it.msg.(*server.Inbound); !remote || in.Left() == 0 {
		w.batch[w.done] = item{}
		w.done++
	}
}

// pass passes one message on, or ends it. It returns false if it has to wait for room.
func (c *cell) pass(w *worker, it *item) bool {
	p, sys := c.pool(), c.self.sys
	by := p.table.Policy
	in, _ := it.msg.(*server.Inbound)
	switch {
	case it.req != nil && it.req.WillNotRun():
		it.req.Start() // returns false, and ends the request just as its turn would have
		return true
	case in != nil && in.Receipt:
		if in.Start() {
			in.Reply(0, 0, nil)
		}
		return true
	case by.Broadcasts() && it.req != nil:
		sys.handBack(c.self.addr, *it, rpc.Errorf(rpc.Invalid, rpc.NotRun, "%v broadcasts to its workers, and a request has one answer: see route.FirstOf", c.self.addr))
		return true
	case by.Broadcasts():
		return c.broadcast(w, it, in)
	}
	if _, keyed := by.Keyed(); keyed && !p.head.keyed {
		c.findKey(w, it, in)
	}
	if p.head.noKey != nil {
		sys.handBack(c.self.addr, *it, p.head.noKey)
		return true
	}
	p.look()
	p.order = p.table.Order(p.order[:0], p.view, p.head.key, rand.Uint64())
	if n := by.Races(); n > 1 && c.mayRace(it, in) {
		return c.race(w, it, in, n)
	}
	for _, i := range p.order {
		if p.crew[i].takes(*it) {
			p.table.Took(p.view[i].Number)
			return true
		}
	}
	return false
}

// look notes what the policy has to know of the workers.
func (p *pool) look() {
	p.view = p.view[:0]
	for _, worker := range p.crew {
		v := route.Worker{Number: worker.seat().number}
		if p.table.Policy.Loads() {
			v.Load = worker.load()
		}
		p.view = append(p.view, v)
	}
}

// takes puts a message into a worker's mailbox, if there is room.
func (c *cell) takes(it item) bool {
	wake, ok := c.box.Push(it)
	if !ok && !c.life.ends() {
		c.sweep()
		wake, ok = c.box.Push(it)
	}
	if wake {
		c.run()
	}
	return ok
}

// findKey finds the key of a message, or why it has none.
func (c *cell) findKey(w *worker, it *item, in *server.Inbound) {
	p := c.pool()
	h := &p.head
	var msg any
	if in == nil {
		it.msg = plainValue(it.msg)
		msg = it.msg
	} else if msg, h.noKey = c.decodeAlone(in); h.noKey != nil {
		return
	}
	var ok bool
	c.guarded(w, "the key function of a pool", func() error {
		h.key, ok = p.table.Policy.Key(msg)
		return nil
	}, func(err *rpc.Error) {
		want, _ := p.table.Policy.Keyed()
		if h.keyed = true; err != nil {
			c.noteFailure(fmt.Sprint(typeOf(msg)), err)
			h.noKey = rpc.Errorf(rpc.Invalid, rpc.NotRun, "the function that finds the key of a %T panicked", msg)
		} else if !ok {
			h.noKey = rpc.Errorf(rpc.Invalid, rpc.NotRun, "%v chooses a worker by the key of a %v, and the message is a %T", c.self.addr, want, msg)
		}
	})
}

// decodeAlone decodes a message from another node into memory of its own.
func (c *cell) decodeAlone(in *server.Inbound) (any, *rpc.Error) {
	h := c.kind.handlerOf(c.self.sys, in.TypeID)
	cd, refusal := c.codecOf(in, h)
	if refusal != nil {
		return nil, refusal
	}
	msg, err := h.decode(cd, in.Body())
	if err != nil {
		return nil, bodyError(c.self.sys.hidePanic(err, c.self.addr, fmt.Sprint(h.typ)), rpc.NotRun, fmt.Sprint("message ", h.typ))
	}
	return msg, nil
}

// broadcast passes a one-way message on to all workers. It returns false if some have no room yet.
// A worker that has ended gets it no more.
func (c *cell) broadcast(w *worker, it *item, in *server.Inbound) bool {
	h := &c.pool().head
	if !h.begun {
		if len(c.pool().crew) == 0 {
			return false
		}
		h.begun, h.owed = true, append(h.owed, c.pool().crew...)
		if in == nil {
			it.msg = plainValue(it.msg)
		}
	}
	owed := h.owed[:0]
	for _, worker := range h.owed {
		if !worker.life.ends() && !c.copyTo(worker, it, in) && !worker.life.ends() {
			owed = append(owed, worker)
		}
	}
	clear(h.owed[len(owed):])
	if h.owed = owed; len(owed) > 0 {
		return false
	}
	if in != nil {
		w.decoded = append(w.decoded, in)
	}
	return true
}

// copyTo puts a copy of a one-way message into a worker's mailbox. It returns false if there is no room.
func (c *cell) copyTo(worker *cell, it *item, in *server.Inbound) bool {
	if in == nil {
		return worker.takes(*it)
	}
	one := in.Copy()
	if one == nil {
		c.self.sys.lost(worker.self.addr, *it, in.Body(), rpc.Errorf(rpc.Overloaded, rpc.NotRun, "no memory for a copy of the message"), "")
		return true
	}
	if worker.takes(item{msg: one, meta: it.meta}) {
		return true
	}
	one.Drop()
	return false
}
