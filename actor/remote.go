package actor

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// call sends a request to another node and waits for its reply.
// w is that of a handler that waits, nil for none. at is the visit of a service that has led
// to t; nil if t is what was asked for.
func call[M Question[R], R any](ctx context.Context, from *Context, w *calling, at *visit, t *target, m M, opts []rpc.Option) (v R, err error) {
	s := t.sys
	want := s.types.of(reflect.TypeFor[R]())
	if want.err != nil {
		return v, want.err
	}
	x := s.node.Exchange()
	spare := boxesOf(x)
	if err := compose(ctx, from, at, t, m, opts, x.Request(), &spare.message); err != nil {
		return v, err
	}
	if w != nil {
		x.Request().Rare.Waiting = w.line(s)
	}
	reply, err := x.Do(ctx)
	if err == nil {
		box := boxIn[R](&spare.reply)
		err = s.decodeReply(reply, want, &box.V)
		v = box.Take()
	} else {
		err = s.withName(err, x.Request().TypeID)
	}
	x.Free()
	return v, err
}

// boxesOf returns the boxes that x has from one request for the next.
func boxesOf(x *rpc.Exchange) *boxes {
	spare, ok := x.Spare.(*boxes)
	if !ok {
		spare = new(boxes)
		x.Spare = spare
	}
	return spare
}

// compose is System.request of a message that is encoded from the box in place.
func compose[M any](ctx context.Context, from *Context, at *visit, t *target, m M, opts []rpc.Option, r *rpc.Request, place *any) error {
	box := boxIn[M](place)
	box.V = m
	err := t.sys.request(ctx, from, at, t, box.Value(), reflect.TypeFor[M](), opts, r)
	box.Take()
	return err
}

// send encodes a request and sends it to another node.
func send[M Question[R], R any](ctx context.Context, from *Context, at *visit, t *target, m M, opts []rpc.Option) (*rpc.Promise[R], *rpc.Call, error) {
	s := t.sys
	want := s.types.of(reflect.TypeFor[R]())
	if want.err != nil {
		return nil, nil, want.err
	}
	var req rpc.Request
	if err := s.request(ctx, from, at, t, m, reflect.TypeFor[M](), opts, &req); err != nil {
		return nil, nil, err
	}
	p := rpc.NewPromise(func(r *rpc.Reply) (R, error) {
		var v R
		err := s.decodeReply(r, want, &v)
		return v, err
	})
	call, err := s.node.Do(ctx, req, naming{p, s, req.TypeID})
	return p, call, err
}

// request is the remote form of a message to t, which at has chosen if it is of a service.
// It goes into r, which is empty but for storage that its body may have.
func (s *System) request(ctx context.Context, from *Context, at *visit, t *target, m any, typ reflect.Type, opts []rpc.Option, r *rpc.Request) error {
	var o rpc.Options
	if len(opts) > 0 { // Apply's have to be on the heap
		o = rpc.Apply(opts)
	}
	switch keyed := o.Key != nil; {
	case keyed && (*o.Key == "" || len(*o.Key) > transport.MaxTarget):
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "key of %d bytes, want 1 to %d", len(*o.Key), transport.MaxTarget)
	case keyed && at != nil:
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "a key names a request at one actor, and service %s is many", at.svc.name)
	case t.addr.node == s.cfg.Name:
		s.startAlone()
	case len(s.cfg.Transports) == 0:
		return rpc.Errorf(rpc.Unavailable, rpc.NotRun, "send to %v: the system has no Transports", t.addr)
	}
	if from == nil && s.draining() {
		return errShutdown
	}
	typ, refusal := dynamic(m, typ)
	if refusal != nil {
		return refusal
	}
	mt := s.types.of(typ)
	if mt.err != nil {
		return mt.err
	}
	o.Codec = s.codecFor(t.addr.name, o.Codec)
	if r.Body == nil {
		r.Body = make([]byte, 0, smallBody)
	}
	body, refusal := encodeMessage(o.Codec, r.Body, m, mt)
	if refusal != nil {
		return refusal
	}
	r.Node, r.Target, r.TypeID, r.Codec, r.Body = t.addr.node, t.addr.name, mt.id, o.Codec.ID(), body
	r.Acked, r.Retry, r.Timeout = o.Acked, o.Retry, s.cfg.Timeout
	if at, ok := ctx.Deadline(); ok {
		r.Timeout = time.Until(at)
	}
	if r.Retry == nil && from != nil {
		r.Retry = from.cell.kind.retry
	}
	if r.Retry == nil {
		r.Retry = &s.cfg.Retry
	}
	if trace := rpc.TraceOf(ctx); len(opts) > 0 || from != nil || at != nil || !trace.IsZero() {
		r.Rare = &rpc.Rare{Meta: rpc.Meta{Trace: trace, Headers: o.Headers}, Idempotent: o.Idempotent, Hedge: o.Hedge, LinkWait: o.LinkWait}
		if o.Key != nil {
			r.Rare.Key = *o.Key
		}
		if from != nil {
			r.Rare.Sender = from.cell.self.addr.String()
		}
		if at != nil {
			at.leads(r.Rare)
		}
	}
	return nil
}

// noActor is what a request gets for an address of this node where nobody lives.
func (s *System) noActor(from *Context, a address) *rpc.Error {
	if from == nil && s.draining() {
		return errShutdown
	}
	return rpc.Errorf(rpc.NotFound, rpc.NotRun, "no actor %v", a)
}

// startAlone starts the remote side of a system without transports: keyed requests go
// through its table.
func (s *System) startAlone() {
	s.started.Do(func() { _, _ = s.node.Start(s.ctx) }) // it has nothing that could fail
}

// decodeReply decodes a reply of the expected type into v.
func (s *System) decodeReply(r *rpc.Reply, want *messageType, v any) error {
	if r.TypeID != want.id {
		return rpc.Errorf(rpc.WrongReply, rpc.HasRun, "node %s replied with %s, not %s", r.Node, s.types.nameOf(r.TypeID), want.name)
	}
	c, err := s.codecs.ByID(r.Codec)
	if err == nil {
		err = c.Decode(r.Body, v)
	}
	if err != nil {
		return rpc.Errorf(rpc.Undecodable, rpc.HasRun, "reply from node %s: %w", r.Node, err)
	}
	return nil
}

// reply makes v the outcome of a request from another node.
func (s *System) reply(in *rpc.Inbound, v any, typ reflect.Type) error {
	typeID, body, err := s.encodeReply(in, v, typ)
	if err == nil {
		in.Reply(typeID, in.Codec, body)
	}
	return err
}

func (s *System) encodeReply(in *rpc.Inbound, v any, typ reflect.Type) (typeID uint64, body []byte, err error) {
	return s.encodeAs(in.Codec, v, typ, in.Storage())
}

// encodeAs encodes a reply with the codec of that id, into the given storage if it fits.
func (s *System) encodeAs(codec uint8, v any, typ reflect.Type, into []byte) (typeID uint64, body []byte, err error) {
	if typ == nil {
		return 0, nil, rpc.Errorf(rpc.Invalid, rpc.HasRun, "a reply of nil has no type")
	}
	mt := s.types.of(typ)
	c, err := s.codecs.ByID(codec)
	if err == nil {
		err = mt.err
	}
	if err == nil {
		if cap(into) == 0 {
			into = make([]byte, 0, smallBody)
		}
		body, err = c.Append(into, v)
	}
	if err != nil {
		return 0, nil, replyError(s.unsaid(err, address{"replies", s.cfg.Name}, mt.name))
	}
	return mt.id, body, nil
}

const smallBody = 48 // bytes that a body is given at first

// server is the system as an rpc.Handler.
type server struct{ s *System }

// HandleRequest puts a request from another node into its actor's mailbox.
func (v server) HandleRequest(in *rpc.Inbound) {
	s := v.s
	if s.draining() && !in.Own() { // what its own handlers cause goes on
		in.Refuse(errLeaving)
		return
	}
	if c := s.refs.live(in.Target); s.restricted(c) {
		if err := s.refusal(in, c); err != nil {
			in.Refuse(err)
			return
		}
	}
	if err := s.deliver(in, !in.Acked); err != nil {
		in.Refuse(err)
	}
}

// HandleTells puts one-way messages from another node into their actor's mailbox.
func (v server) HandleTells(told []*rpc.Inbound) {
	c := v.s.refs.live(told[0].Target)
	if v.s.restricted(c) {
		told = v.s.admit(c, told)
	}
	if c != nil {
		told = told[v.s.push(c, told):]
	}
	for _, in := range told { // for which there is no room, or no actor
		if err := v.s.deliver(in, false); err != nil {
			v.s.handBack(address{in.Target, v.s.cfg.Name}, item{msg: in}, err)
		}
	}
}

// LoseTells makes dead letters of one-way messages.
func (v server) LoseTells(told []*rpc.Inbound, why *rpc.Error) {
	for _, in := range told {
		v.s.handBack(address{in.Target, v.s.cfg.Name}, item{msg: in, meta: v.s.metaFrom(in)}, why)
	}
}

// push puts the first of the one-way messages into c's mailbox, as many as there is room
// for, and returns how many.
func (s *System) push(c *cell, told []*rpc.Inbound) (pushed int) {
	var items [16]item
	for pushed < len(told) {
		n := min(len(items), len(told)-pushed)
		for i := range n {
			in := told[pushed+i]
			items[i] = item{msg: in, meta: s.metaFrom(in)}
		}
		wake, ok := c.box.PushAll(items[:n])
		if wake {
			c.run()
		}
		if pushed += ok; ok < n {
			break
		}
	}
	return pushed
}

// metaFrom is what came beside a message from another node.
func (s *System) metaFrom(in *rpc.Inbound) *meta {
	if in.Meta == nil {
		return nil
	}
	var m *meta
	if len(in.Meta.Waiting) > 0 {
		w := &calling{turn: turn{far: &in.Meta.Waiting}}
		m = &w.meta
		m.turn = &w.turn
	} else {
		m = new(meta)
	}
	m.trace, m.headers = in.Meta.Trace, in.Meta.Headers
	if a, err := parseAddress(in.Meta.Sender); err == nil && a.node == in.From() { // no other node has such actors
		m.sender = Ref{to: s.refs.target(s, address{strings.Clone(a.name), strings.Clone(a.node)})}
	}
	return m
}

// deliver parks a message in its actor's mailbox; asked says that an outcome is due
// when it was handled. It never blocks.
func (s *System) deliver(in *rpc.Inbound, asked bool) *rpc.Error {
	c := s.refs.live(in.Target)
	if c == nil {
		return rpc.Errorf(rpc.NotFound, rpc.NotRun, "no actor %s on node %s", in.Target, s.cfg.Name)
	}
	it := item{msg: in}
	if in.Receipt && (c.kind.system || !c.box.Blocks()) { // such a mailbox holds nobody back, and a receipt takes no message's place
		if in.Start() {
			in.Reply(0, 0, nil)
		}
		return nil
	}
	if asked {
		if err := c.inCycle(in); err != nil {
			return err
		}
		it.req = in
	} else if in.Acked {
		if in.Keyed() && c.kind.recorded() {
			return rpc.Errorf(rpc.Invalid, rpc.NotRun, "a one-way message to %s cannot have a key: such messages are not recorded", c.kind.name)
		}
		if !in.Start() {
			return nil
		}
		if c.kind.handlerOf(s, in.TypeID) == nil {
			return s.unhandled(c.kind, in.TypeID)
		}
		it.msg = in.AsTell()
	}
	it.meta = s.metaFrom(in)
	acked := in.Acked
	p, err := c.park(it) // a one-way message that got in is its actor's
	if err != nil {
		if acked {
			it.msg.(*rpc.Inbound).Drop()
		}
		return putError(err)
	}
	switch {
	case acked && p.HasDropped && p.Dropped.msg == it.msg:
		in.Refuse(errDropped)
	case acked:
		in.Reply(0, 0, nil)
	}
	c.accepted(p)
	return nil
}

// kindTypes is the table of a kind's handlers by type id.
type kindTypes struct {
	of   *Kind
	byID map[uint64]*handler
}

// learn returns that of k, which is made when it is needed first.
func (s *System) learn(k *Kind) *kindTypes {
	if known, ok := s.allKindTypes.Load(k); ok {
		return known.(*kindTypes)
	}
	t := &kindTypes{k, make(map[uint64]*handler, len(k.handlers))}
	for typ, h := range k.handlers {
		t.byID[s.types.of(typ).id] = h
	}
	actual, _ := s.allKindTypes.LoadOrStore(k, t)
	return actual.(*kindTypes)
}

// handBack ends a message that no handler runs: a request gets the error, a tell
// becomes a dead letter.
func (s *System) handBack(to address, it item, err *rpc.Error) {
	if it.req != nil {
		if _, remote := it.req.(*rpc.Inbound); remote && err == errStopped && s.draining() {
			err = errLeaving
		}
		it.req.Refuse(err)
		return
	}
	d := DeadLetter{To: to.String(), Type: fmt.Sprint(typeOf(it.msg)), Reason: err}
	if it.meta != nil {
		d.From = it.meta.sender.String()
	}
	if in, ok := it.msg.(*rpc.Inbound); ok {
		in.Drop()
		d.Type = s.types.nameOf(in.TypeID)
		if d.From == "" {
			d.From = "@" + in.From()
			if in.From() == "" {
				d.From = in.Principal()
			}
		}
	}
	s.deadLetter(d)
}

// handlerFailed takes note of an error that reaches nobody.
func (s *System) handlerFailed(c *Context, msg any, err error) {
	s.stats.failed.Add(1)
	s.faults.note(DeadLetter{Time: time.Now(), To: c.cell.self.addr.String(), Type: fmt.Sprint(typeOf(msg)), Reason: failure(err)}, c.cell.kind.name)
}
