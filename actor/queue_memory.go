package actor

import (
	"fmt"
	"time"

	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
)

// itemMemory counts an item that another node has pushed in the share of its principal, until
// the queue has let go of it and of its id: an item is no more than a message that waits. It
// belongs to the actor's turn.
type itemMemory struct {
	share rpc.Memory
	bytes int
	id    int                      // of them those of the id, beyond the item's own end
	of    map[*itemMemory]struct{} // those of the offer
}

const pastSize = 256 // bytes that a queue takes for the id of an item that is done, beside its text, about

// Done and Gone are what the queue says, see queue.Memory.
func (m *itemMemory) Done() {
	m.share.Free(m.bytes - m.id)
	m.bytes = m.id
}

func (m *itemMemory) Gone() {
	m.share.Free(m.bytes)
	m.share.Close()
	delete(m.of, m)
}

// takeIn adds an item that was sent here. It counts as its message did, and leaves
// three eighths of all room free (rpc.Memory.Keep): else a full queue would keep its consumers out.
func (o *Offer[T]) takeIn(ctx *Context, m Enqueue[T]) (Enqueued, error) {
	if len(m.ID) > maxPushID {
		return refuse[Enqueued](ctx, rpc.Invalid, fmt.Errorf("an id of %d bytes", len(m.ID)))
	}
	if ctx.req == nil && ctx.origin != nil {
		return Enqueued{}, rpc.Errorf(rpc.Invalid, rpc.HasRun, "a Push that nobody waits for")
	}
	it := queue.Item[T]{Value: m.Item, ID: m.ID, Priority: m.Priority, Delay: m.Delay}
	if o.holds(m.ID) { // a duplicate takes nothing
		dup, err := o.push(ctx, it)
		return Enqueued{Duplicate: dup}, err
	}
	memory, refusal := o.count(ctx, len(m.ID))
	if refusal != nil {
		return refuse[Enqueued](ctx, rpc.Overloaded, refusal)
	}
	if memory != nil {
		it.Memory = memory
	}
	dup, err := o.push(ctx, it)
	if err != nil {
		if memory != nil {
			memory.Gone()
		}
		return refuse[Enqueued](ctx, rpc.Overloaded, err)
	}
	return Enqueued{Duplicate: dup}, nil
}

// count counts the message that brings an item, nil if it is from this node.
func (o *Offer[T]) count(ctx *Context, id int) (*itemMemory, *rpc.Error) {
	var bytes int
	switch req := ctx.req.(type) {
	case *rpc.Inbound:
		bytes = req.TakeWeight()
	case *job:
		if req.remote {
			bytes = req.bodySize
		}
	}
	if bytes == 0 {
		return nil, nil
	}
	_, moved := ctx.req.(*rpc.Inbound)
	s := ctx.System()
	m := &itemMemory{share: s.node.Memory(ctx.Principal()), bytes: bytes, id: pastSize + id, of: o.kept}
	if id == 0 {
		m.id = 0
	}
	more := m.id // in place of what the item takes, beside it
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

// enlist has the offer told when its actor ends.
func (o *Offer[T]) enlist(c *cell) {
	if o.lined {
		return
	}
	o.lined = true
	c.self.sys.lines.add(c, line{of: o, nudge: func() { nudge(c, Dequeue[T]{Op: opNudge}, true) }, end: o.end})
}

// holds reports whether the queue knows an id, so that a push of it adds nothing.
func (o *Offer[T]) holds(id string) bool { return id != "" && o.q.Knows(time.Now(), id) }
