package actor

import (
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
)

// burstRow is burst for the one-way messages of a row, which is w's latest item. What is the same
// for all of them is done once. ctx is that of the handler that runs, and nil while none runs.
func (c *cell) burstRow(w *worker, it *item, in *server.Inbound, ctx **Context) {
	sys := c.self.sys
	h := w.last.kind.handlerOf(sys, in.TypeID)
	cd, refusal := c.codecOf(in, h)
	if refusal != nil {
		w.handBackRow(c, it, in, refusal)
		return
	}
	var shared *Context // of messages with a typed handler: nothing distinguishes their contexts
	for first := urgent; in.Left() > 0; first |= signaled {
		if c.life.word.Load()&first != 0 { // as in burst
			w.done--
			return
		}
		body, _ := in.Next()
		if in.Left() > 0 {
			w.more++
		}
		msg, refusal := c.decodeBody(w, cd, body, h)
		switch {
		case refusal != nil:
			sys.lost(c.self.addr, *it, body, refusal, "")
		case h.run == nil, c.kind.keeps != nil:
			one := item{msg: msg, meta: it.meta}
			*ctx = w.context(c, &one, in.Origin())
			if c.kind.keeps != nil {
				c.transact(*ctx, w, &one, h)
			} else {
				c.handle(*ctx, w, &one, h)
			}
			(*ctx).end()
			*ctx = nil
		default:
			if shared == nil {
				shared = w.rowContext(c, it, in)
			}
			*ctx, shared.msg = shared, msg
			h.run(c.state, shared, msg, &w.reusable)
			*ctx, shared.msg = nil, nil
			switch {
			case shared.rest.Load() == nil:
			case it.meta != nil:
				shared.end()
				shared = nil
			case shared.detached():
				shared.handlerReturned()
				w.plain, shared = nil, nil
			}
		}
	}
	w.endRow(it, in)
}

// rowContext returns the context that the messages of a row share. If they have a sender, they share
// it only until a handler uses more of it than the message.
func (w *worker) rowContext(c *cell, it *item, in *server.Inbound) *Context {
	if it.meta == nil {
		return w.plainContext(c, in.Origin())
	}
	return w.context(c, &item{meta: it.meta}, in.Origin())
}

// handBackRow makes dead letters of the messages of a row that are left.
func (w *worker) handBackRow(c *cell, it *item, in *server.Inbound, why *rpc.Error) {
	w.more += in.Left() - 1
	c.self.sys.handBack(c.self.addr, *it, why)
	*it = item{}
}

// endRow is called when all messages of a row were handled.
func (w *worker) endRow(it *item, in *server.Inbound) {
	w.decoded = append(w.decoded, in)
	*it = item{}
}

// leaveCrashed is called when a handler did not return from a message of it, the latest item. The
// other messages of a row are still to be handled.
func (w *worker) leaveCrashed(it *item) {
	switch in, remote := it.msg.(*server.Inbound); {
	case !remote || it.req != nil:
		*it = item{}
	case in.Left() > 0:
		w.done--
	default:
		w.endRow(it, in)
	}
}
