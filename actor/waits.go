package actor

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// ErrCycle is the error of a Call that would wait for ever, because its receiver waits for
// the caller's actor, on this node or on another. The handler does not run. It is another name
// of rpc.Cycle, for errors.Is.
//
// Only actors that wait in Call, inside their handlers, are part of a cycle that can be found;
// a handler that awaits the future of an Ask is not seen. An actor that is being restarted waits
// for its children, too. Within a system every cycle of up to 64 actors is found. Across nodes a
// cycle is found if each of its Calls was made on behalf of the one before it, and it has at most
// 16 actors. So two actors on two nodes that Call each other at the same moment, each because of a
// different message, wait until their time-outs.
var ErrCycle error = rpc.Cycle

// turn is one execution of a handler that makes Calls. It says whom the handler waits for, and
// who waits for the handler. (After a Call was cancelled, the handler goes on in a new turn.) A
// request carries its sender's turn, which is the head of a chain of turns that all wait for
// the request's answer.
//
// A wait gets a number of its own when another node has to know of it. So work that still goes
// on because of a request that has ended closes no cycle. (There is one exception: a handler
// that has answered early, goes on, and reaches its caller again through a second actor of its
// node and another node.)
type turn struct {
	up    *turn                // the turn of the message's sender; nil: the sender does not wait
	far   *[]uint64            // for a turn on another node, the numbers of its chain, itself first; nil: it is on this node
	to    atomic.Pointer[cell] // the actor that it waits for, or waited for last; nil: an actor on another node
	id    atomic.Uint64        // number of its wait; 0: it has none yet
	calls atomic.Int32         // how many Calls it waits in
	depth int32                // turns above it on this node, see under
}

// calling is a turn, and what its Calls carry.
type calling struct {
	meta
	turn
}

// maxCycle is how many actors of a chain of waiting actors are looked at.
const maxCycle = 64

// calling returns the current turn of the handler, and what its Calls carry.
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

// under puts t, which is new, below the turn that waits for it. A long chain is cut to the
// numbers that a request would carry, so that no chain grows without bound.
func (t *turn) under(up *turn, s *System) {
	if up.depth >= maxCycle {
		chain := up.chain(s)
		up = &turn{far: &chain}
	}
	t.up, t.depth = up, up.depth+1
}

// waits reports whether c's actor waits while a Call is made under c.
func (c *Context) waits() bool { return c.inTurn() && c.isIn(c.cell) }

// waitFor notes that the handler waits for a reply of t until calling.end is called; to is the
// actor if it lives on this node. It returns rpc.Cycle instead if t waits for the handler's
// actor, directly or through others. If two Calls close a cycle at the same moment, both may
// be refused.
func (c *Context) waitFor(t *target, to *cell) (*calling, error) {
	w := c.calling()
	if w.to.Load() != to {
		w.to.Store(to)
	}
	if w.calls.Add(1) == 1 {
		c.cell.waits.Store(&w.turn)
		if !c.inTurn() { // the handler returned meanwhile, see handlerReturned
			c.cell.waits.CompareAndSwap(&w.turn, nil)
		}
	}
	if to != nil && to.waitsFor(c.cell, &w.turn) {
		w.end(c.cell)
		return nil, rpc.Errorf(rpc.Cycle, rpc.NotRun, "%v calls %v, which waits for it", c.cell.self.addr, t.addr)
	}
	return w, nil
}

// end ends a wait of c. A nil w means that c does not wait.
func (w *calling) end(c *cell) {
	if w != nil && w.calls.Add(-1) == 0 {
		c.waits.CompareAndSwap(&w.turn, nil)
		if w.id.Load() != 0 {
			w.id.Store(0)
		}
	}
}

// failed is called when a Call from c has failed. If the called handler may still be running,
// the next Call gets a new turn, so that it is not taken for part of the same wait. A nil w
// means that c does not wait.
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

// above returns the numbers of the turns in t's chain that are on other nodes.
func (t *turn) above() []uint64 {
	for ; t != nil; t = t.up {
		if t.far != nil {
			return *t.far
		}
	}
	return nil
}

// chain returns the numbers of t and of the turns above it, as a request carries them.
func (t *turn) chain(s *System) (ids []uint64) {
	for ; t != nil && len(ids) < transport.MaxWaiting; t = t.up {
		if t.far != nil {
			return append(ids, (*t.far)[:min(len(*t.far), transport.MaxWaiting-len(ids))]...)
		}
		if t.calls.Load() == 0 { // it has cancelled its Call, so neither it nor those above wait for this request
			break
		}
		ids = append(ids, t.number(s))
	}
	return ids
}

// number returns the number of t's wait, which it assigns on first use.
func (t *turn) number(s *System) uint64 {
	id := t.id.Load()
	for id == 0 {
		if id = s.waits.Add(1); id != 0 && !t.id.CompareAndSwap(0, id) {
			id = t.id.Load()
		}
	}
	return id
}

// waitsFor reports whether c is own, or waits in a wait whose number chain has from another
// node, or waits for an actor of which one of these is true. An actor that is being restarted
// waits for all actors below it.
func (c *cell) waitsFor(own *cell, chain *turn) bool {
	for at, n := c, 0; at != nil && n < maxCycle; n++ {
		if at == own || at.awaitsChildren() && slices.ContainsFunc(at.family(), func(child *cell) bool { return child.keepsWaiting(own, chain) }) {
			return true
		}
		t := at.waits.Load()
		if t == nil {
			return false
		}
		if id := t.id.Load(); id != 0 && slices.Contains(chain.above(), id) {
			return true
		}
		at = t.to.Load()
	}
	return false
}

// keepsWaiting reports whether the end of c waits for own or for a wait whose number chain has,
// because c or an actor below it does.
func (c *cell) keepsWaiting(own *cell, chain *turn) bool {
	return c.waitsFor(own, chain) || slices.ContainsFunc(c.family(), func(child *cell) bool { return child.keepsWaiting(own, chain) })
}

// refuseWaiting refuses the Calls in the mailbox of c, which is being restarted, that its children
// wait for: it would wait for the end of these children, and they for its answer.
func (c *cell) refuseWaiting() {
	for _, it := range c.box.Remove(c.isAwaitedBelow) {
		c.refuseAwaited(it)
	}
}

// refuseInHand is refuseWaiting for the messages of the batch in hand.
func (c *cell) refuseInHand(w *worker) {
	from := max(w.done, w.begun)
	if from >= len(w.batch) {
		return
	}
	rest := slices.DeleteFunc(w.batch[from:], func(it item) bool {
		refused := c.isAwaitedBelow(&it)
		if refused {
			c.refuseAwaited(it)
		}
		return refused
	})
	w.batch = w.batch[:from+len(rest)]
}

func (c *cell) refuseAwaited(it item) {
	c.self.sys.handBack(c.self.addr, it, rpc.Errorf(rpc.Cycle, rpc.NotRun, "%v is being restarted, and waits for the end of an actor that waits for this Call", c.self.addr))
}

// isAwaitedBelow reports whether a message is a Call that an actor below c waits for.
func (c *cell) isAwaitedBelow(it *item) bool {
	if in, remote := it.msg.(*server.Inbound); remote {
		return in.Meta != nil && len(in.Meta.Waiting) > 0 && c.waitsFor(nil, &turn{far: &in.Meta.Waiting})
	}
	if it.meta == nil || it.meta.turn == nil || it.meta.sender.to == nil {
		return false
	}
	from := it.meta.sender.to.cell.Load()
	return from != nil && c.waitsFor(from, it.meta.turn)
}

// inCycle returns an error if c waits for the sender of a request from another node.
func (c *cell) inCycle(in *server.Inbound) *rpc.Error {
	if in.Meta == nil || len(in.Meta.Waiting) == 0 || !c.waitsFor(nil, &turn{far: &in.Meta.Waiting}) {
		return nil
	}
	return rpc.Errorf(rpc.Cycle, rpc.NotRun, "%s calls %v, which waits for it", in.Meta.Sender, c.self.addr)
}

// metaOfCall is metaOf for a Call. w is the handler's turn; nil if no handler waits.
func metaOfCall(ctx context.Context, from *Context, w *calling, opts *settings) *meta {
	if w == nil {
		return metaOf(ctx, from, opts)
	}
	m := &w.meta
	if ctx != context.Context(from) {
		if t := rpc.TraceOf(ctx); t != m.trace { // the handler has begun a span
			m = &meta{sender: m.sender, trace: t, turn: m.turn}
		}
	}
	return m.with(opts)
}

// isIn reports whether c belongs to a handler that runs in the turn of actor, and so must not
// wait for that actor. It is false for the function behind a stream, which runs beside the
// actor, and for a goroutine that has outlived the handler of a request.
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
