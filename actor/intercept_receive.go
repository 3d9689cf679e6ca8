package actor

import (
	"context"
	"reflect"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/intercept"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/internal/tracekey"
	"github.com/tandem-go/tandem/rpc"
)

// The interceptors of actors, Config.Incoming and Incoming. A system that has some spawns an actor
// of a kind whose handlers are wrapped, so that other actors do not have to look.

// Incoming adds interceptors for the messages that actors of a kind get. They run inside those of
// Config.Incoming and of an earlier Incoming, in the actor's turn, and the first is the outermost.
// Incoming panics if one of them is nil.
func Incoming(fns ...intercept.Func) KindOption {
	for _, fn := range fns {
		if fn == nil {
			panic("actor.Incoming: an interceptor is nil")
		}
	}
	return func(k *Kind) { k.incoming = append(k.incoming[:len(k.incoming):len(k.incoming)], fns...) }
}

// intercepted returns k as s spawns it: with the interceptors of both around the handlers, and with
// what its behaviours and its stash need.
func (s *System) intercepted(k *Kind) *Kind {
	if len(s.cfg.Incoming)+len(k.incoming)+len(k.behaviours)+k.stash == 0 {
		return k
	}
	if known, ok := s.wrappedKinds.Load(k); ok {
		return known.(*Kind)
	}
	wrapped := *k
	wrapped.incoming = append(append([]intercept.Func(nil), s.cfg.Incoming...), k.incoming...)
	wrapped.change(func(h *handler) *handler {
		if h.wrap != nil && !toldBySystem(h.typ) {
			own := *h
			own.run = h.wrap()
			h = &own
		}
		if k.stash > 0 {
			h = h.stashing()
		}
		return h
	})
	wrapped.enclose()
	actual, _ := s.wrappedKinds.LoadOrStore(k, &wrapped)
	return actual.(*Kind)
}

// through runs the interceptors of c's kind around handle, which handles m. handle gets the context
// of the handler: c, or for a one-way message whose context has changed another one, because
// one-way messages may share c. The error is that of the handler; a one-way message that was
// refused has become a dead letter.
func (c *Context) through(m any, handle func(*Context) error) error {
	if n, ok := m.(nudging); ok && c.req == nil && c.origin == nil && n.isNudge() { // refusing it would stop the queue
		return handle(c)
	}
	s, at := c.System(), arrival{c}
	op := &intercept.Operation{Side: intercept.Incoming, Op: access.Send, To: c.cell.self.addr.String(), Kind: c.cell.kind.name, Message: m, Principal: c.Principal(), Node: c.Node()}
	switch c.req.(type) {
	case nil:
	case *job:
		op.Op = access.Submit
	case *stream:
		op.Op = access.Stream
	default:
		op.Op = access.Call
	}
	if in, ok := c.req.(*server.Inbound); ok && in.Number > 0 {
		op.Op = access.Send
	}
	s.describe(op, m)
	if c.meta != nil {
		if by := c.meta.cause; by != nil {
			if op.Cause, op.Topic = by.kind, by.topic; by.topic != "" {
				op.Op = access.Publish
			}
		}
		if !c.meta.sender.IsZero() {
			op.From = c.meta.sender.String()
		}
		for _, h := range c.meta.headers {
			op.Came(h.Key, h.Value)
		}
	}
	err := intercept.Run(at, c.cell.kind.incoming, op, func(ctx context.Context) error {
		h := c
		if ctx != context.Context(at) {
			if !c.asks {
				h = &Context{cell: c.cell, msg: c.msg, meta: c.meta, origin: c.origin}
				defer h.end()
			}
			h.onDemand().values = ctx
			defer c.takeOver(h)
		}
		return handle(h)
	})
	if r := refusal(err); r != nil && !c.asks {
		s.handBack(c.cell.self.addr, item{msg: m, meta: c.meta}, r)
		return nil
	}
	return err
}

// nudging is a message to a queue, which may be one that the queue's actor has sent to itself.
type nudging interface{ isNudge() bool }

func (m dequeue[T]) isNudge() bool { return m.Op == opNudge }

// cause says what has brought a message about that nobody has sent to its actor by a verb.
type cause struct {
	kind  intercept.Cause
	topic string // on which the message was published; empty: it was not
}

// ticked is what the message of a timer carries for an actor with interceptors.
var ticked = &meta{cause: &cause{kind: intercept.Ticked}}

// caused returns m with a cause.
func (m *meta) caused(by cause) *meta {
	var own meta
	if m != nil {
		own = *m
	}
	own.cause = &by
	return &own
}

// toldBySystem reports whether messages of a type come from the system itself.
func toldBySystem(typ reflect.Type) bool {
	return typ == reflect.TypeFor[Terminated]() || typ == reflect.TypeFor[WentIdle]()
}

// arrival is a handler's context as interceptors get it: without the values that they add.
type arrival struct{ *Context }

// Value implements context.Context.
func (a arrival) Value(key any) any { return a.own(key) }

// own is Value without what interceptors have added.
func (c *Context) own(key any) any {
	switch key.(type) {
	case contextKey:
		return c
	case tracekey.Key:
		if t := c.Trace(); !t.IsZero() {
			return t
		}
	}
	return nil
}

// span is the trace context that messages go on with which the handler sends under c.
func (c *Context) span() rpc.Trace {
	if r := c.rest.Load(); r != nil && r.values != nil {
		return rpc.TraceOf(r.values)
	}
	return c.Trace()
}
