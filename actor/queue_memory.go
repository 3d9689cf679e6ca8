package actor

import (
	"fmt"
	"time"

	"github.com/tandem-go/tandem/internal/engine/account"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
)

// itemMemory counts an item that another node has pushed in the share of its principal, like any
// message that waits, until the queue has dropped the item and its id. It is used only in the
// actor's turn.
type itemMemory struct {
	share account.Memory
	bytes int
	id    int                      // how many of them are for the id, which the queue remembers longer than the item
	of    map[*itemMemory]struct{} // the set of the offer that it belongs to
}

const pastSize = 256 // about how many bytes a queue takes for the id of an item that is done, in addition to the text

// Done and Gone implement queue.Memory.
func (m *itemMemory) Done() {
	m.share.Free(m.bytes - m.id)
	m.bytes = m.id
}

func (m *itemMemory) Gone() {
	m.share.Free(m.bytes)
	m.share.Close()
	delete(m.of, m)
}

// takeIn adds an item that was pushed by a message. The item counts as its message did. It is
// refused unless three eighths of all memory stay free (account.Memory.Keep), because otherwise a
// full queue would leave no room for the messages of its consumers.
func (o *Offer[T]) takeIn(ctx *Context, m enqueue[T]) (enqueued, error) {
	if len(m.ID) > maxPushID {
		return refuse[enqueued](ctx, rpc.Invalid, fmt.Errorf("an id of %d bytes", len(m.ID)))
	}
	if ctx.req == nil && ctx.origin != nil {
		return enqueued{}, rpc.Errorf(rpc.Invalid, rpc.HasRun, "a Push that nobody waits for")
	}
	it := queue.Item[T]{Value: m.Item, ID: m.ID, Priority: m.Priority, Delay: m.Delay, Trace: traceText(ctx.Trace())}
	if o.holds(m.ID) { // a duplicate takes no memory
		dup, err := o.push(ctx, it)
		return enqueued{Duplicate: dup}, err
	}
	memory, refusal := o.count(ctx, len(m.ID))
	if refusal != nil {
		return refuse[enqueued](ctx, rpc.Overloaded, refusal)
	}
	if memory != nil {
		it.Memory = memory
	}
	dup, err := o.push(ctx, it)
	if err != nil {
		if memory != nil {
			memory.Gone()
		}
		return refuse[enqueued](ctx, rpc.Overloaded, err)
	}
	return enqueued{Duplicate: dup}, nil
}

// count counts the message that brings an item. It returns nil if the message is from this node.
func (o *Offer[T]) count(ctx *Context, id int) (*itemMemory, *rpc.Error) {
	var bytes int
	switch req := ctx.req.(type) {
	case *server.Inbound:
		bytes = req.TakeWeight()
	case *job:
		if req.remote {
			bytes = req.bodySize
		}
	}
	if bytes == 0 {
		return nil, nil
	}
	_, moved := ctx.req.(*server.Inbound)
	s := ctx.System()
	m := &itemMemory{share: s.node.Memory(ctx.bearer()), bytes: bytes, id: pastSize + id, of: o.kept}
	if id == 0 {
		m.id = 0
	}
	more := m.id // what is counted in addition to the message
	if !moved {
		more += bytes
	}
	m.bytes += m.id
	if err := m.share.Keep(more); err != nil {
		if moved {
			m.share.Free(bytes)
		}
		m.share.Close()
		return nil, err
	}
	if o.kept == nil {
		o.kept = map[*itemMemory]struct{}{}
		m.of = o.kept
	}
	o.kept[m] = struct{}{}
	o.enlist(ctx.cell)
	return m, nil
}

// enlist has the offer informed when its actor ends.
func (o *Offer[T]) enlist(c *cell) {
	if o.listed {
		return
	}
	o.listed = true
	c.self.sys.waitLists.add(c, waitList{owner: o, nudge: func() { nudge(c, dequeue[T]{Op: opNudge}, true) }, end: o.end})
}

// holds reports whether the queue knows an id, so that a push of it adds nothing.
func (o *Offer[T]) holds(id string) bool { return id != "" && o.q.Knows(time.Now(), id) }
