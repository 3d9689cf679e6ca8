package actor

import (
	"context"
	"encoding/binary"
	"reflect"
	"strings"
	"time"

	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/state"
	"github.com/tandem-go/tandem/transport"
)

// The headers of a stored message. Those of the message itself have headerPrefix before their keys.
const (
	sinceHeader  = "since" // when it may have been sent for the first time
	traceHeader  = "trace"
	headerPrefix = "h."
)

// transaction is the message that c's handler handles, if messages which it sends have to wait for the write of
// its effect. nil: they do not.
func (c *Context) transaction(ctx context.Context) *transaction {
	if c == nil || c.cell.kind.keeps == nil || !c.inTurn() || isDetached(ctx) {
		return nil
	}
	t, _ := c.request().(*transaction)
	return t
}

// later keeps a one-way message until the effect of the handler that has sent it is written.
func (t *transaction) later(ctx context.Context, from *Context, to *target, m any, typ reflect.Type, opts *settings) error {
	switch {
	case opts.IsKeyed() || opts.IsAcked():
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "a message that leaves after a write cannot be Acked, and has a name of its own in place of a Key")
	case to.addr.node == anyNode:
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "a message that leaves after a write is for one actor, and service %s is many", to.addr.name)
	}
	if err := ownOnly(opts, "a message that leaves after a write"); err != nil {
		return err
	}
	return t.keepMessage(ctx, from, state.Tell, to, m, typ, opts)
}

// keepMessage keeps a message to an actor, as verb sends it.
func (t *transaction) keepMessage(ctx context.Context, from *Context, verb state.Verb, to *target, m any, typ reflect.Type, opts *settings) error {
	var r client.Request
	if err := to.sys.request(ctx, from, nil, to, m, typ, wording{}, opts, &r); err != nil {
		return err
	}
	body := binary.BigEndian.AppendUint64(make([]byte, 0, len(r.Body)+storedMessageHead), r.TypeID)
	body = append(append(body, r.Codec), r.Body...)
	msg := state.Message{Verb: verb, To: to.addr.String(), Body: body}
	msg.Headers = append(msg.Headers, state.Header{Key: sinceHeader, Value: time.Now().UTC().Format(time.RFC3339Nano)})
	if r.Rare != nil {
		if !r.Rare.Trace.IsZero() {
			msg.Headers = append(msg.Headers, state.Header{Key: traceHeader, Value: string(r.Rare.Trace[:])})
		}
		for _, h := range r.Rare.Headers {
			msg.Headers = append(msg.Headers, state.Header{Key: headerPrefix + h.Key, Value: h.Value})
		}
	}
	return t.keep(msg)
}

// keep keeps what is to leave when the effect of the handler is written.
func (t *transaction) keep(msg state.Message) error {
	if t.reads {
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "a handler that only reads sends nothing: a %v to %s", msg.Verb, msg.To)
	}
	if err := msg.Valid(); err != nil {
		return rpc.Errorf(rpc.TooLarge, rpc.NotRun, "a %v to %s: %w", msg.Verb, msg.To, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stage == turnSettled {
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "the handler has returned: a goroutine that it has left behind sends under Context.Detached")
	}
	msg.Index = uint32(len(t.sending))
	t.sending = append(t.sending, msg)
	return nil
}

// begin is called when the activation has its claim and its state. The first commit, which keeps predecessors
// from committing, is made behind the messages that wait, and so has their effects.
func (st *lasting) begin(c *cell) { st.send(c, st.act.Outbox(), true) }

// send sends messages whose commit is stored. again says that a predecessor may have sent them.
func (st *lasting) send(c *cell, messages []state.Message, again bool) {
	for _, m := range messages {
		p, since, _ := storedParked(m) // load has looked at those of the record, and later has made the others
		gone := sent{m.Since, m.Index}
		if !again {
			p.sinceElsewhere, since = since, time.Time{}
			p.elsewhere = func() bool { return c.life.now() >= ending }
		}
		p.Sender, p.left = c.self.addr.String(), func() { c.signal(gone) }
		to := m.To
		switch m.Verb { // a queue of its own in the outbox for what is for no actor: publications keep their order, and so does what changes one reminder
		case state.Publish:
			p.to, to = "topic "+to, "topics of "+c.self.addr.name
		case state.Remind, state.Forget:
			to = "reminder " + to + " of " + c.self.addr.name
		}
		if p.perform != nil {
			c.cede(p)
		}
		c.self.sys.outbox.lend(c.self.addr.name, m.Since<<16|uint64(m.Index), to, since, p)
	}
}

// cede has only an activation that holds its actor for certain perform p. The next one performs it, too, and others behind
// it: if this one came with it much later, the store, or the queue, might have forgotten that it knows it.
func (c *cell) cede(p *parked) {
	perform := p.perform
	p.ceded = func() bool { return c.life.now() >= ending }
	p.perform = func(ctx context.Context, s *System) error {
		if !c.holds() {
			return errUncertain
		}
		return perform(ctx, s)
	}
}

// storedMessageHead is the size of the head of a stored message's body: the type and the codec.
const storedMessageHead = 8 + 1

// storedParked returns a stored message as it is sent, and when it may have been sent for the first time.
func storedParked(m state.Message) (p *parked, since time.Time, err error) {
	p = new(parked)
	for _, h := range m.Headers {
		switch key, own := strings.CutPrefix(h.Key, headerPrefix); {
		case own:
			p.Headers = append(p.Headers, transport.Header{Key: key, Value: h.Value})
		case h.Key == sinceHeader:
			since, err = time.Parse(time.RFC3339Nano, h.Value)
		case h.Key == traceHeader:
			copy(p.Trace[:], h.Value)
		}
	}
	if err != nil {
		return nil, since, err
	}
	switch m.Verb {
	case state.Publish:
		return p, since, p.publishes(m.Body)
	case state.Remind, state.Forget:
		return p, since, p.reminds(m.Verb, m.Body)
	}
	if p.addr, err = parseAddress(m.To); err != nil {
		return nil, since, err
	}
	if len(m.Body) < storedMessageHead {
		return nil, since, rpc.Errorf(rpc.Undecodable, rpc.NotRun, "a %v with a body of %d bytes", m.Verb, len(m.Body))
	}
	p.TypeID, p.Codec, p.Body = binary.BigEndian.Uint64(m.Body), m.Body[8], m.Body[storedMessageHead:]
	if m.Verb == state.Push { // the queue knows the item by its id
		p.perform = func(ctx context.Context, s *System) error {
			_, err := s.sendParked(ctx, p, client.Rare{})
			return err
		}
	}
	return p, since, nil
}

// sent is the signal that a message has left the outbox.
type sent struct {
	since uint64
	index uint32
}

func (s sent) arrive(c *cell) any {
	st := c.place().store
	st.act.Sent(s.since, s.index)
	st.restless.Store(!st.act.Quiet())
	st.flushLater(c)
	return nil
}

// lend puts a message into the outbox that a stored actor keeps until it has left.
func (o *outboxes) lend(outbox string, number uint64, to string, since time.Time, p *parked) {
	if len(o.sys.cfg.Transports) == 0 {
		o.sys.startAlone()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stage == outboxClosed {
		return
	}
	o.lent++
	o.box.Restore(outbox, number, to, p.size(), time.Time{}, since, p)
	o.serveLocked(to)
}

// mayBeOf returns why a message cannot be of the outbox that it says it is of, or nil. Each node that hosts a kind of
// virtual actors may send the messages of all of them, because each of them may be there. It is no refusal for good:
// what is known of a node may be out of date.
func (s *System) mayBeOf(a server.Arrival) *rpc.Error {
	key, of := activationOf(a.Outbox)
	if !of || a.Origin.Local {
		return nil
	}
	if s.members.hosts(a.Origin.Node, key.Kind) {
		return nil
	}
	return rpc.Errorf(rpc.Unavailable, rpc.NotRun, "node %s is not known to host kind %s, from whose outbox it sends", a.Origin.Node, key.Kind)
}

// hosts reports whether a node is known to host a kind of virtual actors. One that leaves hosts none.
func (m *members) hosts(node, kind string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.nodes[node].Kinds[kind]
	return ok
}

// restore gives fresh state what is stored of the actor. At kinds that are not stored it does nothing.
func (c *cell) restore(fresh any) error {
	if c.kind.keeps == nil {
		return nil
	}
	version, data := c.place().store.act.State()
	return c.kind.keeps.decode(version, data, fresh)
}
