package actor

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// ErrCycle is what errors.Is finds in the error of a Call that would wait for ever, because
// the actor it is to waits for the caller's own, on this node or on another: the handler
// does not run. It is rpc.Cycle by another name.
//
// A cycle is one of actors that wait in Call, in their handlers' turns; that somebody awaits
// what was asked for with Ask is not seen. Within a system all of them are found, up to 64
// actors. Over several nodes one is found if each of its Calls was made on behalf of the one
// before it, and it has no more than 16 actors. So two actors on two nodes that Call each
// other at one moment, each because of another message, wait until their time-out.
var ErrCycle error = rpc.Cycle

// turn is that of a handler which makes Calls (until one is given up: what follows is another
// turn), as others know it: whom it waits for, and who waits for it. A request takes it along,
// as the head of a line of turns that all wait for its answer.
//
// A wait gets a number when another node is to know of it, and each wait one of its own: so
// what still goes on because of a request that is over closes no cycle. (Save one: that of a
// handler which has answered early, goes on, and comes back to its asker by way of a second
// actor of its node and another node.)
type turn struct {
	up    *turn                // that of the message's sender; nil: it does not wait
	far   *[]uint64            // of a turn on another node: it and those that it came with, by their numbers; nil: it is here
	to    atomic.Pointer[cell] // the latest whose reply it waits for; nil: another node's
	id    atomic.Uint64        // number of its wait; 0 for none yet
	calls atomic.Int32         // it waits in
	depth int32                // turns above it on this node, see under
}

// calling is what the Calls of a turn carry, and that turn.
type calling struct {
	meta
	turn
}

// maxCycle is how many actors of a chain of waiting ones are looked at.
const maxCycle = 64

// calling is what Calls from this handler carry.
func (c *Context) calling() *calling {
	r := c.onDemand()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls == nil {
		w := &calling{meta: meta{sender: c.Self(), trace: c.Trace()}}
		w.meta.turn = &w.turn
		if c.meta != nil && c.meta.turn != nil {
			w.under(c.meta.turn, c.System())
		}
		r.calls = w
	}
	return r.calls
}

// under puts t, which is new, below the turn that waits for it. A long line is cut to what
// a request would take along, so that none grows for ever.
func (t *turn) under(up *turn, s *System) {
	if up.depth >= maxCycle {
		line := up.line(s)
		up = &turn{far: &line}
	}
	t.up, t.depth = up, up.depth+1
}

// waits reports whether c's actor waits if a Call is made under c.
func (c *Context) waits() bool { return c.inTurn() && c.isIn(c.cell) }

// waitFor notes that the handler waits for a reply of t, which is c if it lives here, until
// over, unless that, or one for which that waits, waits for the handler's actor. Of two that
// close a cycle at one moment both may find it.
func (c *Context) waitFor(t *target, to *cell) (*calling, error) {
	w := c.calling()
	if w.to.Load() != to {
		w.to.Store(to)
	}
	if w.calls.Add(1) == 1 {
		c.cell.waits.Store(&w.turn)
		if c.returned.Load() { // meanwhile: see turnOver
			c.cell.waits.CompareAndSwap(&w.turn, nil)
		}
	}
	if to != nil && to.leadsTo(c.cell, &w.turn) {
		w.over(c.cell)
		return nil, rpc.Errorf(rpc.Cycle, rpc.NotRun, "%v calls %v, which waits for it", c.cell.self.addr, t.addr)
	}
	return w, nil
}

// over ends a wait of c's. A nil w is none.
func (w *calling) over(c *cell) {
	if w != nil && w.calls.Add(-1) == 0 {
		c.waits.CompareAndSwap(&w.turn, nil)
		if w.id.Load() != 0 {
			w.id.Store(0)
		}
	}
}

// failed is called when a Call from c has failed. If its handler may go on, the next one is as
// from another turn, so that the handler has none of it above its own. A nil w is none.
func (w *calling) failed(c *Context, err error) {
	if w == nil || rpc.Ran(err) != rpc.Unknown {
		return
	}
	r := c.onDemand()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls == w {
		r.calls = nil
	}
}

// above are the numbers that the line of turns has from other nodes.
func (t *turn) above() []uint64 {
	for ; t != nil; t = t.up {
		if t.far != nil {
			return *t.far
		}
	}
	return nil
}

// line is the numbers of t and those above it, as a request takes them along.
func (t *turn) line(s *System) (ids []uint64) {
	for ; t != nil && len(ids) < transport.MaxWaiting; t = t.up {
		if t.far != nil {
			return append(ids, (*t.far)[:min(len(*t.far), transport.MaxWaiting-len(ids))]...)
		}
		if t.calls.Load() == 0 { // who has given up waits no longer, nor do those above for what comes of this
			break
		}
		ids = append(ids, t.number(s))
	}
	return ids
}

// number is that of t's wait.
func (t *turn) number(s *System) uint64 {
	id := t.id.Load()
	for id == 0 {
		if id = s.waits.Add(1); id != 0 && !t.id.CompareAndSwap(0, id) {
			id = t.id.Load()
		}
	}
	return id
}

// leadsTo reports whether c is own, or waits in a wait whose number line has from another
// node, or waits for an actor of which that holds.
func (c *cell) leadsTo(own *cell, line *turn) bool {
	for at, n := c, 0; at != nil && n < maxCycle; n++ {
		if at == own {
			return true
		}
		t := at.waits.Load()
		if t == nil {
			return false
		}
		if id := t.id.Load(); id != 0 && slices.Contains(line.above(), id) {
			return true
		}
		at = t.to.Load()
	}
	return false
}

// inCycle is an error if c waits for the sender of a request from another node.
func (c *cell) inCycle(in *rpc.Inbound) *rpc.Error {
	if in.Meta == nil || len(in.Meta.Waiting) == 0 || !c.leadsTo(nil, &turn{far: &in.Meta.Waiting}) {
		return nil
	}
	return rpc.Errorf(rpc.Cycle, rpc.NotRun, "%s calls %v, which waits for it", in.Meta.Sender, c.self.addr)
}

// metaOfCall is metaOf of a Call in which a handler waits; w is nil if none does.
func metaOfCall(ctx context.Context, from *Context, w *calling, opts []rpc.Option) *meta {
	if w == nil {
		return metaOf(ctx, from, opts)
	}
	m := &w.meta
	if ctx != context.Context(from) {
		if t := rpc.TraceOf(ctx); t != m.trace { // a span that the handler began
			m = &meta{sender: m.sender, trace: t, turn: m.turn}
		}
	}
	return m.with(opts)
}

// isIn reports whether c is the context of a handler in the turn of an actor, which must
// not wait for itself. The function behind a stream may: it runs beside the actor. So may a
// goroutine that has outlived the handler of a request.
func (c *Context) isIn(actor *cell) bool {
	if !c.inTurn() || c.cell != actor {
		return false
	}
	if !c.asks {
		return true
	}
	req := c.request()
	st, ok := req.(*stream)
	return req != nil && (!ok || !st.beside.Load())
}
