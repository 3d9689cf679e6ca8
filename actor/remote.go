package actor

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/internal/promise"
	"github.com/tandem-go/tandem/internal/sendopt"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/transport"
)

// call sends a request to another node and waits for its reply.
// w is the turn of the handler that waits, or nil. at is the call of a service that has chosen
// t; nil if the caller has named t itself.
func call[M, R any](ctx context.Context, from *Context, w *calling, at *routedCall, t *target, m M, opts *settings) (v R, err error) {
	s := t.sys
	want := s.types.get(reflect.TypeFor[R]())
	if want.err != nil {
		return v, want.err
	}
	x := s.node.Client.Exchange()
	spare := reusableOf(x)
	if err := compose(ctx, from, at, t, m, wording{true, want}, opts, x.Request(), &spare.message); err != nil {
		return v, err
	}
	if w != nil {
		x.Request().Rare.Waiting = w.chain(s)
	}
	reply, err := x.Do(ctx)
	if err == nil {
		reused := reusableIn[R](&spare.reply)
		err = s.decodeReply(reply, want, &reused.V)
		v = reused.Take()
	} else {
		err = s.withName(err, s.compacts.typeOf(x.Request()))
	}
	if x.Free() && at != nil {
		at.shared = false
	}
	return v, err
}

// reusableOf returns the values that x keeps from one request to the next.
func reusableOf(x *client.Exchange) *reusableValues {
	spare, ok := x.Spare.(*reusableValues)
	if !ok {
		spare = new(reusableValues)
		x.Spare = spare
	}
	return spare
}

// compose is System.request for a message that is encoded from the codec.Reusable in place.
func compose[M any](ctx context.Context, from *Context, at *routedCall, t *target, m M, w wording, opts *settings, r *client.Request, place *any) error {
	reused := reusableIn[M](place)
	reused.V = m
	err := t.sys.request(ctx, from, at, t, reused.Value(), reflect.TypeFor[M](), w, opts, r)
	reused.Take()
	return err
}

// send encodes a request and sends it to another node.
func send[M, R any](ctx context.Context, from *Context, at *routedCall, t *target, m M, opts *settings) (*promise.Promise[R], *client.Call, error) {
	s := t.sys
	want := s.types.get(reflect.TypeFor[R]())
	if want.err != nil {
		return nil, nil, want.err
	}
	var req client.Request
	if err := s.request(ctx, from, at, t, m, reflect.TypeFor[M](), wording{true, want}, opts, &req); err != nil {
		return nil, nil, err
	}
	p := promise.New(func(r *promise.Reply) (R, error) {
		var v R
		err := s.decodeReply(r, want, &v)
		return v, err
	}, errDecoder)
	call, err := s.node.Client.Do(ctx, req, naming{p, s, s.compacts.typeOf(&req)})
	return p, call, err
}

// errDecoder is the error of a future whose decoder panicked when it was first awaited.
var errDecoder = rpc.Errorf(rpc.Undecodable, rpc.HasRun, "the decoder of the reply panicked")

// request encodes a message to t into r. at is the call of a service that has chosen t, or nil.
// r is empty, except for storage that its body may have.
func (s *System) request(ctx context.Context, from *Context, at *routedCall, t *target, m any, typ reflect.Type, w wording, opts *settings, r *client.Request) error {
	var o settings
	if opts != nil {
		o = *opts
	}
	if o.Keyed && !isKey(o.Key) {
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "key of %d bytes, want 1 to %d", len(o.Key), transport.MaxTarget)
	}
	if len(o.Behalf) > transport.MaxTarget {
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "a principal of %d bytes, want at most %d", len(o.Behalf), transport.MaxTarget)
	}
	mt, err := s.sendable(from, t, m, typ)
	if err != nil {
		return err
	}
	o.Codec = s.codecFor(t.addr.name, opts)
	typeID := mt.id
	if w.compact && s.cfg.Compact && s.mayShorten(t, &o) {
		if r.Agreed, typeID = s.form(t, mt, w.reply); r.Agreed != nil {
			o.Codec = s.compacts.codec
		} else {
			typeID = mt.id
		}
	}
	body, refusal := encodeMessage(o.Codec, mt.storage(r.Body), m, mt)
	if refusal != nil {
		return refusal
	}
	r.Node, r.Target, r.TypeID, r.Codec, r.Body = t.addr.node, t.addr.name, typeID, o.Codec.ID(), body
	r.Confirm, r.Retry, r.Timeout = o.Acked, o.Retry, s.timeout(ctx)
	if r.Retry == nil && from != nil {
		r.Retry = from.cell.kind.retry
	}
	if r.Retry == nil {
		r.Retry = s.retry.Load()
	}
	if trace := rpc.TraceOf(ctx); opts != nil || from != nil || at != nil || len(s.cfg.Outgoing) > 0 || !trace.IsZero() {
		if r.Rare = at.spareRare(); r.Rare == nil {
			r.Rare = new(client.Rare)
		}
		r.Rare.Class = o.Class
		r.Rare.Trace, r.Rare.Headers, r.Rare.Idempotent, r.Rare.Once, r.Rare.Hedge, r.Rare.LinkWait, r.Rare.Key = trace, o.Headers, o.Idempotent, o.Once, o.Hedge, o.LinkWait, o.Key
		r.Rare.Behalf, r.Rare.Report = o.Behalf, o.Wants
		if from != nil {
			r.Rare.Sender = from.cell.self.addr.String()
		}
		if at != nil {
			at.setRoute(r.Rare)
		}
		if s.interceptors.sends {
			r.Rare.Report = o.Report
			if passed, _ := ctx.Value(passedKey{}).(*sendopt.Report); o.Report == nil && passed != nil {
				r.Rare.Report = passed
			}
		}
	}
	return nil
}

// timeout is how long a message that is sent under ctx may take.
func (s *System) timeout(ctx context.Context) time.Duration {
	if at, ok := ctx.Deadline(); ok {
		return time.Until(at)
	}
	return s.cfg.Timeout
}

// sendable returns what is known about the type that m is sent as, or an error if it cannot be sent to t.
func (s *System) sendable(from *Context, t *target, m any, typ reflect.Type) (*messageType, error) {
	switch {
	case t.addr.node == s.cfg.Name, t.addr.node == anywhere && len(s.cfg.Transports) == 0:
		s.startAlone()
	case len(s.cfg.Transports) == 0:
		return nil, rpc.Errorf(rpc.Unavailable, rpc.NotRun, "send to %v: the system has no Transports", t.addr)
	}
	if from == nil && s.draining() {
		return nil, errShutdown
	}
	typ, refusal := dynamic(m, typ)
	if refusal != nil {
		return nil, refusal
	}
	mt := s.types.get(typ)
	if mt.wraps {
		mt = m.(*wrapped).messageType()
	}
	return mt, mt.err
}

// noActor is the error of a request to an address of this node that no actor has.
func (s *System) noActor(from *Context, a address) *rpc.Error {
	if from == nil && s.draining() {
		return errShutdown
	}
	return rpc.Errorf(rpc.NotFound, rpc.NotRun, "no actor %v", a)
}

// startAlone starts the engine.Node of a system without transports: requests with a key go
// through its table of keys.
func (s *System) startAlone() {
	s.started.Do(func() { _, _ = s.node.Start(s.ctx) }) // without transports nothing can fail
}

// dispatcher is the system as a server.Handler: it puts what comes from other nodes into mailboxes.
type dispatcher struct{ s *System }

// HandleRequest puts a request from another node into its actor's mailbox.
func (v dispatcher) HandleRequest(in *server.Inbound) {
	s := v.s
	if in.Codec == codec.IDCompact {
		if err := s.compacts.admit(in); err != nil {
			in.Fail(err)
			return
		}
	}
	if s.draining() && !in.Own() { // requests of this node's own handlers are still served
		in.Fail(errLeaving)
		return
	}
	c := s.refs.live(in.Target)
	limits := s.admission.any.Load()
	if c == nil && strings.HasPrefix(in.Target, placed) {
		if s.restricted(nil) || in.Relayed() { // before anything is done for it
			if err := s.refusal(in, nil); err != nil {
				in.Fail(err)
				return
			}
		}
		if limits { // likewise
			if err := s.limited(in, nil); err != nil {
				in.Fail(err)
				return
			}
			limits = false
		}
		var none *rpc.Error
		if c, none = s.virtuals.activation(in.Target); none != nil {
			in.Fail(none)
			return
		}
	}
	if s.restricted(c) || in.Relayed() {
		if err := s.refusal(in, c); err != nil {
			in.Fail(err)
			return
		}
	}
	if limits {
		if err := s.limited(in, c); err != nil {
			in.Fail(err)
			return
		}
	}
	if err := s.deliver(c, in, !in.Confirm); err != nil {
		in.Fail(err)
	}
}

// HandleTells puts one-way messages from another node into their actor's mailbox.
func (v dispatcher) HandleTells(tells []*server.Inbound) {
	if tells = slices.DeleteFunc(tells, v.loseUnread); len(tells) == 0 {
		return
	}
	c := v.s.refs.live(tells[0].Target)
	if v.s.restricted(c) {
		tells = v.s.admit(c, tells)
	}
	if v.s.admission.any.Load() {
		tells = v.s.admitTells(c, tells)
	}
	if c != nil {
		tells = tells[v.s.push(c, tells):]
	}
	for _, in := range server.Unpack(tells) { // there is no room for them, or no actor
		if err := v.s.deliver(v.s.refs.live(in.Target), in, false); err != nil {
			v.s.handBack(address{in.Target, v.s.cfg.Name}, item{msg: in}, err)
		}
	}
}

// LoseTells makes dead letters of one-way messages.
func (v dispatcher) LoseTells(tells []*server.Inbound, why *rpc.Error) {
	for _, in := range tells {
		if in.Codec == codec.IDCompact && in.Schema == 0 {
			_ = v.s.compacts.admit(in) // for its name, and for the form in which it is kept
		}
		v.s.handBack(address{in.Target, v.s.cfg.Name}, item{msg: in, meta: v.s.metaFrom(in)}, why)
	}
}

// loseUnread makes a dead letter of a compact one-way message that cannot be read here, and reports whether it has.
// Only a node that does not keep to the protocol sends such.
func (v dispatcher) loseUnread(in *server.Inbound) bool {
	if in.Codec != codec.IDCompact {
		return false
	}
	err := v.s.compacts.admit(in)
	if err != nil {
		v.LoseTells([]*server.Inbound{in}, err)
	}
	return err != nil
}

// push puts as many of the one-way messages into c's mailbox as there is room for, in order,
// and returns how many. A row for which there is not enough room does not get in.
func (s *System) push(c *cell, tells []*server.Inbound) (pushed int) {
	var items [16]item
	for pushed < len(tells) {
		n, done := 0, 0
		var wake bool
		if in := tells[pushed]; in.Left() > 0 {
			n = 1
			wake, done = c.box.PushRow(item{msg: in, meta: c.metaFrom(in)}, in.Left())
		} else {
			for _, in := range tells[pushed:min(pushed+len(items), len(tells))] {
				if in.Left() > 0 {
					break
				}
				items[n] = item{msg: in, meta: c.metaFrom(in)}
				n++
			}
			wake, done = c.box.PushAll(items[:n])
		}
		if wake {
			c.run()
		}
		if pushed += done; done < n {
			break
		}
	}
	return pushed
}

// metaFrom is the meta of a message from another node.
func (s *System) metaFrom(in *server.Inbound) *meta {
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
	m.trace, m.headers, m.class = in.Meta.Trace, in.Meta.Headers, mailbox.Class(in.Meta.Class)
	if a, err := parseAddress(in.Meta.Sender); err == nil && a.node == in.From() { // a node can only name actors of its own
		a = address{strings.Clone(a.name), strings.Clone(a.node)}
		if _, ok := activationOf(a.name); ok {
			a = address{a.name[len(placed):], anywhere}
		}
		m.sender = Ref{to: s.refs.target(s, a)}
	}
	return m
}

// metaFrom is the meta of a message from another node to c. For what is published, it says how the
// message came: whether it was allowed is known when its topic is.
func (c *cell) metaFrom(in *server.Inbound) *meta {
	m := c.self.sys.metaFrom(in)
	if c.kind != topicServerKind {
		return m
	}
	if m == nil {
		m = new(meta)
	}
	a := in.Arrival()
	m.arrival = &a
	return m
}

// deliver puts a message into the mailbox of c, its actor; nil: there is none. asked says that the
// sender waits for an outcome until the message was handled. It never blocks.
func (s *System) deliver(c *cell, in *server.Inbound, asked bool) *rpc.Error {
	if c == nil {
		return rpc.Errorf(rpc.NotFound, rpc.NotRun, "no actor %s on node %s", in.Target, s.cfg.Name)
	}
	if in.Schema != 0 && in.Seq != 0 {
		if err := refuseCompact(c, in); err != nil {
			return err
		}
	}
	it := item{msg: in}
	if in.Receipt && (c.kind.system && c.kind != topicServerKind || !c.box.Blocks()) { // such a mailbox never makes senders wait, and a receipt must not take up room
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
	} else if in.Confirm && c.kind.placed && c.life.now() == claiming {
		it.req = in // it is confirmed when the actor is here for certain
	} else if in.Confirm {
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
	it.meta = c.metaFrom(in)
	confirm := in.Confirm && it.req == nil
	p, err := c.enqueue(it) // once a one-way message is in, its memory belongs to the actor
	if err != nil {
		if confirm {
			it.msg.(*server.Inbound).Drop()
		}
		return putError(err)
	}
	switch {
	case confirm && p.HasDropped && p.Dropped.msg == it.msg: // its sender gets the error, so it is no dead letter
		it.msg.(*server.Inbound).Drop()
		in.Fail(errDropped)
		return nil
	case confirm:
		in.Reply(0, 0, nil)
	}
	c.accepted(p)
	return nil
}

// handBack ends a message that no handler will run: a request gets the error, a one-way
// message becomes a dead letter.
func (s *System) handBack(to address, it item, err *rpc.Error) {
	if it.req != nil {
		if _, remote := it.req.(*server.Inbound); remote && err == errStopped && s.draining() {
			err = errLeaving
		}
		it.req.Fail(err)
		return
	}
	in, remote := it.msg.(*server.Inbound)
	switch {
	case !remote:
		s.lost(to, it, nil, err, "")
		return
	case in.Left() == 0:
		s.lost(to, it, in.Body(), err, "")
	}
	for body, more := in.Next(); more; body, more = in.Next() {
		s.lost(to, it, body, err, "")
	}
	in.Drop()
}

// lost makes a one-way message a dead letter. body is what it has from another node; owner is as
// in deadLetter.
func (s *System) lost(to address, it item, body []byte, err *rpc.Error, owner string) {
	d := DeadLetter{To: to.String(), Type: fmt.Sprint(typeOf(it.msg)), Reason: err}
	if it.meta != nil {
		if d.From = it.meta.sender.String(); d.From == "" && it.meta.arrival != nil {
			d.From = it.meta.arrival.Origin.Principal
		}
	}
	if in, ok := it.msg.(*server.Inbound); ok {
		d.Type = s.types.nameOf(in.TypeID)
		if d.From == "" {
			d.From = "@" + in.From()
			if in.From() == "" {
				d.From = in.Principal()
			}
		}
	}
	s.deadLetter(d, it, body, owner)
}

// handlerFailed counts and logs an error of a handler that has no caller.
func (s *System) handlerFailed(c *Context, msg any, err error) {
	s.stats.failed.Add(1)
	c.cell.noteFailureUnder(c.Trace(), fmt.Sprint(typeOf(msg)), failure(err))
}
