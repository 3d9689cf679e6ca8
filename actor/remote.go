package actor

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// send encodes a request and sends it to another node.
func send[M Question[R], R any](ctx context.Context, from *Context, to, t *target, m M, opts []rpc.Option) (*rpc.Promise[R], *rpc.Call, error) {
	s := t.sys
	want := s.types.of(reflect.TypeFor[R]())
	req, err := s.request(ctx, from, to, t, m, reflect.TypeFor[M](), opts, nil)
	if err == nil {
		err = want.err
	}
	if err != nil {
		return nil, nil, err
	}
	p := rpc.NewPromise(func(r *rpc.Reply) (R, error) {
		var v R
		err := s.decodeReply(r, want, &v)
		return v, err
	})
	call, err := s.node.Do(ctx, req, p)
	return p, call, err
}

// request is the remote form of a message to t, which was picked for the service to
// if that is one. Its body is appended to into.
func (s *System) request(ctx context.Context, from *Context, to, t *target, m any, typ reflect.Type, opts []rpc.Option, into []byte) (rpc.Request, error) {
	var o rpc.Options
	if len(opts) > 0 { // Apply's have to be on the heap
		o = rpc.Apply(opts)
	}
	switch keyed := o.Key != nil; {
	case keyed && (*o.Key == "" || len(*o.Key) > transport.MaxTarget):
		return rpc.Request{}, rpc.Errorf(rpc.Invalid, rpc.NotRun, "key of %d bytes, want 1 to %d", len(*o.Key), transport.MaxTarget)
	case keyed && to != t:
		return rpc.Request{}, rpc.Errorf(rpc.Invalid, rpc.NotRun, "a key names a request at one actor, and service %s is many", to.addr.name)
	case t.addr.node == s.cfg.Name:
		s.startAlone()
	case len(s.cfg.Transports) == 0:
		return rpc.Request{}, rpc.Errorf(rpc.Unavailable, rpc.NotRun, "send to %v: the system has no Transports", t.addr)
	}
	if from == nil && s.draining.Load() {
		return rpc.Request{}, errShutdown
	}
	mt := s.types.of(typ)
	if mt.err != nil {
		return rpc.Request{}, mt.err
	}
	if o.Codec == nil {
		o.Codec = s.cfg.Codec
	}
	if into == nil {
		into = make([]byte, 0, smallBody)
	}
	body, err := o.Codec.Append(into, m)
	if err != nil {
		return rpc.Request{}, rpc.Errorf(rpc.Undecodable, rpc.NotRun, "encoding message %s: %w", mt.name, err)
	}
	r := rpc.Request{Node: t.addr.node, Target: t.addr.name, TypeID: mt.id, Codec: o.Codec.ID(), Body: body,
		Headers: o.Headers, Deadline: s.deadline(ctx), Acked: o.Acked, Trace: rpc.TraceOf(ctx), Retry: o.Retry, Idempotent: o.Idempotent, Hedge: o.Hedge}
	if o.Key != nil {
		r.Key = *o.Key
	}
	if r.Retry == nil && from != nil {
		r.Retry = from.cell.kind.retry
	}
	if r.Retry == nil {
		r.Retry = &s.cfg.Retry
	}
	if from != nil {
		r.Sender = from.cell.self.addr.String()
	}
	if to != t {
		r.Again = s.elsewhere(to, t)
	}
	return r, nil
}

// elsewhere picks another instance of a service than t, if it can, for each attempt.
func (s *System) elsewhere(service, t *target) func() (node, target string) {
	return func() (node, target string) {
		if other, err := s.instance(service); err == nil && other.addr.node != s.cfg.Name {
			t = other
		}
		return t.addr.node, t.addr.name
	}
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
	return s.encodeAs(in.Codec, v, typ)
}

// encodeAs encodes a reply with the codec of that id.
func (s *System) encodeAs(codec uint8, v any, typ reflect.Type) (typeID uint64, body []byte, err error) {
	if typ == nil {
		return 0, nil, rpc.Errorf(rpc.Invalid, rpc.HasRun, "a reply of nil has no type")
	}
	mt := s.types.of(typ)
	c, err := s.codecs.ByID(codec)
	if err == nil {
		err = mt.err
	}
	if err == nil {
		body, err = c.Append(make([]byte, 0, smallBody), v)
	}
	if err != nil {
		return 0, nil, rpc.Errorf(rpc.Undecodable, rpc.HasRun, "encoding the reply: %w", err)
	}
	return mt.id, body, nil
}

// bodies spares an allocation per one-way message.
var bodies = sync.Pool{New: func() any { return new([]byte) }}

const smallBody = 48 // bytes that a body is given at first

const maxSpareBody = 64 << 10 // bytes of the largest one to keep

// tell sends a one-way message that is not simply for an actor that lives here.
func (s *System) tell(ctx context.Context, from *Context, to *target, m any, typ reflect.Type, opts []rpc.Option) error {
	t, err := s.instance(to)
	if err != nil {
		if isAcked(opts) {
			return err
		}
		s.deadLetter(DeadLetter{To: t.addr.String(), Type: typ.String(), Reason: err})
		return nil
	}
	if c := t.cell.Load(); c != nil && !keyed(opts) { // an instance of a service
		return c.put(ctx, from, item{msg: m, meta: metaOf(ctx, from, opts)}, isAcked(opts))
	}
	if keyed(opts) && !isAcked(opts) {
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "a one-way message can have a key only with rpc.Acked")
	}
	if t.addr.node == s.cfg.Name && !keyed(opts) {
		none := rpc.Errorf(rpc.NotFound, rpc.NotRun, "no actor %v", t.addr)
		if isAcked(opts) {
			return none
		}
		s.handBack(t.addr, item{msg: m, meta: metaOf(ctx, from, opts)}, none)
		return nil
	}
	buf := bodies.Get().(*[]byte)
	r, err := s.request(ctx, from, to, t, m, typ, opts, (*buf)[:0])
	if err != nil {
		return err
	}
	if !r.Acked {
		if from != nil { // a cycle of actors that wait for each other must end
			if bound := time.Now().Add(s.cfg.SendWait); bound.Before(r.Deadline) {
				r.Deadline = bound
			}
		}
		err := s.node.Tell(ctx, r) // which keeps nothing of it
		if cap(r.Body) <= maxSpareBody {
			*buf = r.Body
			bodies.Put(buf)
		}
		return err
	}
	p := rpc.NewPromise(func(*rpc.Reply) (struct{}, error) { return struct{}{}, nil })
	call, err := s.node.Do(ctx, r, p)
	if err != nil {
		return err
	}
	if !p.Future().Wait(&s.waiters, ctx.Done(), nil) {
		e := rpc.FromContext(ctx, rpc.Unknown)
		call.GiveUp(e.Code, e.Message)
	}
	_, err = p.Future().Await(context.Background())
	return err
}

// server is the system as an rpc.Handler.
type server struct{ s *System }

// HandleRequest puts a request from another node into its actor's mailbox.
func (v server) HandleRequest(in *rpc.Inbound) {
	s := v.s
	if s.draining.Load() && in.From() != s.cfg.Name { // what its own handlers cause goes on
		in.Refuse(errShutdown)
		return
	}
	if err := s.deliver(in, !in.Acked); err != nil {
		in.Refuse(err)
	}
}

// HandleTell puts a one-way message from another node into its actor's mailbox.
func (v server) HandleTell(in *rpc.Inbound) {
	if err := v.s.deliver(in, false); err != nil {
		v.s.handBack(address{in.Target, v.s.cfg.Name}, item{msg: in}, err)
	}
}

// deliver parks a message in its actor's mailbox; asked says that an outcome is due
// when it was handled. It never blocks.
func (s *System) deliver(in *rpc.Inbound, asked bool) *rpc.Error {
	c := s.refs.live(in.Target)
	if c == nil {
		return rpc.Errorf(rpc.NotFound, rpc.NotRun, "no actor %s on node %s", in.Target, s.cfg.Name)
	}
	it := item{msg: in}
	if in.Receipt && !c.box.Blocks() { // such a mailbox holds nobody back, and a receipt takes no message's place
		if in.Start() {
			in.Reply(0, 0, nil)
		}
		return nil
	}
	if asked {
		it.req = in
	} else if in.Acked {
		if in.Keyed() && c.kind.recorded() {
			return rpc.Errorf(rpc.Invalid, rpc.NotRun, "a one-way message to %s cannot have a key: such messages are not recorded", c.kind.name)
		}
		if !in.Start() {
			return nil
		}
		if c.kind.handlerOf(s, in.TypeID) == nil {
			return rpc.Errorf(rpc.Unhandled, rpc.NotRun, "%s has no handler for messages of %s", c.kind.name, s.types.nameOf(in.TypeID))
		}
		it.msg = in.AsTell()
	}
	if in.Sender != "" || in.Trace != (rpc.Trace{}) || len(in.Headers) > 0 {
		it.meta = &meta{trace: in.Trace, headers: in.Headers}
		if a, err := parseAddress(in.Sender); err == nil {
			it.meta.sender = Ref{to: s.refs.target(s, address{strings.Clone(a.name), strings.Clone(a.node)})}
		}
	}
	p, err := c.box.Park(it)
	if err != nil {
		return putError(err)
	}
	switch {
	case in.Acked && p.HasDropped && p.Dropped.msg == it.msg:
		in.Refuse(errDropped)
	case in.Acked:
		in.Reply(0, 0, nil)
	}
	c.accepted(p)
	return nil
}

// learn makes the table of a kind's handlers by type id.
func (s *System) learn(k *Kind) any {
	byID := make(map[uint64]*handler, len(k.handlers))
	for typ, h := range k.handlers {
		byID[s.types.of(typ).id] = h
	}
	actual, _ := s.kindTypes.LoadOrStore(k, byID)
	return actual
}

// handBack ends a message that no handler runs: a request gets the error, a tell
// becomes a dead letter.
func (s *System) handBack(to address, it item, err *rpc.Error) {
	if it.req != nil {
		it.req.Refuse(err)
		return
	}
	d := DeadLetter{To: to.String(), Type: fmt.Sprintf("%T", it.msg), Reason: err}
	if it.meta != nil {
		d.From = it.meta.sender.String()
	}
	if in, ok := it.msg.(*rpc.Inbound); ok {
		d.Type = s.types.nameOf(in.TypeID)
		if d.From == "" {
			d.From = "@" + in.From()
		}
	}
	s.deadLetter(d)
}

// handlerFailed takes note of an error that reaches nobody.
func (s *System) handlerFailed(c *Context, msg any, err error) {
	s.stats.failed.Add(1)
	s.log.Warn("the handler of a one-way message failed", "actor", c.cell.self.addr.String(), "message", fmt.Sprintf("%T", msg), "err", err)
}
