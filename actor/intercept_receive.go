package actor

import (
	"context"
	"reflect"
	"sync"

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
	sampled := s.cfg.Sampled.Incoming
	if s.cfg.Sampled.Wants == nil {
		sampled = nil
	}
	if len(s.cfg.Incoming)+len(k.incoming)+len(k.behaviours)+k.stash == 0 && sampled == nil {
		return k
	}
	if known, ok := s.wrappedKinds.Load(k); ok {
		return known.(*Kind)
	}
	wrapped := *k
	wrapped.incoming = append(append([]intercept.Func(nil), s.cfg.Incoming...), k.incoming...)
	if sampled != nil {
		wrapped.incoming = append([]intercept.Func{}, wrapped.incoming...) // not nil: there are interceptors
		wrapped.sampled = append([]intercept.Func{sampled}, wrapped.incoming...)
	}
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

// passing returns fn with the interceptors of the actor's kind around it, see arriving.through.
func passing[S, M, R any](fn func(S, *Context, M) (R, error)) func(S, *Context, M) (R, error) {
	spare := new(sync.Pool)
	return func(s S, c *Context, m M) (R, error) {
		fns := c.receivers()
		if len(fns) == 0 {
			return fn(s, c, m)
		}
		p, ok := spare.Get().(*arriving[S, M, R])
		if !ok {
			p = new(arriving[S, M, R])
		}
		r, err := p.through(fns, fn, s, c, m)
		p.reset()
		spare.Put(p)
		return r, err
	}
}

// receivers returns the interceptors for the message of c.
func (c *Context) receivers() []intercept.Func {
	k := c.cell.kind
	if k.sampled == nil {
		return k.incoming
	}
	where := intercept.Where{Side: intercept.Incoming}
	if c.meta != nil && c.meta.cause != nil {
		where.Cause = c.meta.cause.kind
	}
	if c.System().cfg.Sampled.Wants(arrival{c}, where) {
		return k.sampled
	}
	return k.incoming
}

// arriving is a message on its way through the interceptors of its actor.
type arriving[S, M, R any] struct {
	op      intercept.Operation
	passage intercept.Passage
	fn      func(S, *Context, M) (R, error)
	state   S
	c       *Context
	mt      *messageType
	m       M
	r       R // of fn
}

// reset prepares p for another message. Its type and the function stay as they are, because those of the
// next message overwrite them.
func (p *arriving[S, M, R]) reset() {
	var state S
	var m M
	var r R
	p.op.Reset()
	p.state, p.c, p.m, p.r = state, nil, m, r
}

// through runs the interceptors fns around fn. fn gets the context of the handler,
// or for a one-way message whose context has changed another one, because one-way messages may
// share a Context. The error is that of fn; a one-way message that was refused has become a dead letter.
func (p *arriving[S, M, R]) through(fns []intercept.Func, fn func(S, *Context, M) (R, error), s S, c *Context, m M) (R, error) {
	sys := c.System()
	mt := sentType(sys, m)
	if mt.says && c.req == nil && c.origin == nil && isNudge(m) { // refusing it would stop the queue
		return fn(s, c, m)
	}
	p.fn, p.state, p.c, p.mt, p.m = fn, s, c, mt, m
	if c.describe(&p.op); mt.says {
		p.op.Op = neededOp(m, p.op.Op)
	}
	p.op.About(p)
	err := p.passage.Run(arrival{c}, fns, &p.op, p)
	if r := refusal(err); r != nil && !c.asks {
		sys.handBack(c.cell.self.addr, item{msg: m, meta: c.meta}, r)
		return p.r, nil
	}
	return p.r, err
}

// Do implements intercept.Action.
func (p *arriving[S, M, R]) Do(ctx context.Context) (err error) {
	c := p.c
	if ctx == context.Context(arrival{c}) {
		p.r, err = p.fn(p.state, c, p.m)
		return err
	}
	h := c
	if !c.asks {
		h = &Context{cell: c.cell, msg: c.msg, meta: c.meta, origin: c.origin}
		defer h.end()
	}
	h.onDemand().values = ctx
	defer c.takeOver(h)
	p.r, err = p.fn(p.state, h, p.m)
	return err
}

// To, Type, Message and From implement intercept.Subject.
func (p *arriving[S, M, R]) To() string   { return p.c.cell.self.addr.String() }
func (p *arriving[S, M, R]) Type() string { return p.mt.nameFor(p.c.System(), p) }
func (p *arriving[S, M, R]) Message() any { return shown(p.m) }

// Raise is described at intercept.Operation.
func (p *arriving[S, M, R]) Raise(typ rpc.EventType, err error) {
	p.c.System().raise(p.To(), typ, err)
}

func (p *arriving[S, M, R]) From() string {
	if p.c.meta == nil || p.c.meta.sender.IsZero() {
		return ""
	}
	return p.c.meta.sender.String()
}

// describe says in op what is known of the message of c without the message itself.
func (c *Context) describe(op *intercept.Operation) {
	op.Side, op.Op, op.Kind = intercept.Incoming, access.Send, c.cell.kind.name
	op.Principal, op.Node = c.Principal(), c.Node()
	switch req := c.req.(type) {
	case nil:
	case *job:
		op.Op = access.Submit
	case *stream:
		op.Op = access.Stream
	case *server.Inbound:
		if op.Op = access.Call; req.Number > 0 {
			op.Op = access.Send
		}
	default:
		op.Op = access.Call
	}
	if c.meta == nil {
		return
	}
	if by := c.meta.cause; by != nil {
		if op.Cause, op.Topic = by.kind, by.topic; by.topic != "" {
			op.Op = access.Publish
		}
	}
	for _, h := range c.meta.headers {
		op.Came(h.Key, h.Value)
	}
}

// nudging is a message to a queue, which may be one that the queue's actor has sent to itself.
type nudging interface{ isNudge() bool }

func (m dequeue[T]) isNudge() bool { return m.Op == opNudge }

func isNudge(m any) bool {
	n, ok := m.(nudging)
	return ok && n.isNudge()
}

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
