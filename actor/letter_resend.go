package actor

import (
	"cmp"
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/tandem-go/tandem/deadletter"
	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// ResendLetter sends the message of a kept letter to an actor, or, if to is the zero Ref, to where
// it was addressed, as Tell does with rpc.Acked. It carries the sender, the headers and the trace
// that it had. nil means that it is in the mailbox; then the letter is not kept any more.
//
// A letter that was provably not sent stays as it is: the verdict of the error is NotRun, and it
// can be sent again anywhere. After Unknown it may have arrived, and stays as
// deadletter.Unclear, also if a later attempt does not reach its receiver. It can then be sent
// again to the same address only, and has the same rpc.Key there, so that it is not accepted twice;
// but only to the same start of that node, and within rpc.Limits.KeyLife of the first attempt, of
// which the receiver's must not be shorter. Otherwise, and if the actor's kind takes no keys for
// one-way messages, as durable ones, the error is deadletter.ErrUnclear.
//
// Of several calls at a time for one letter, one sends it, and the others get deadletter.ErrBusy.
// For an id that is not kept (any more) the error is deadletter.ErrGone. A letter to a service goes
// to one instance.
//
// The message of another node is decoded by the actor that gets it. An actor of this node gets
// it as from that node: Context.Principal is that of the original sender, and the access rules
// decide again, for this actor. To another node it is sent under this node's own principal.
func (s *System) ResendLetter(ctx context.Context, id string, to Ref) error {
	from := handling(ctx)
	if err := contextError(ctx); err != nil {
		return err
	}
	addr := ""
	if a := to.address(); a != (address{}) {
		addr = a.String()
	}
	k := &s.kept
	k.mu.Lock()
	taken, refusal := k.store.Take(time.Now(), cmp.Or(s.cfg.RPC.KeyLife, rpc.DefaultKeyLife), id, addr)
	k.mu.Unlock()
	if refusal != nil {
		return refusal
	}
	a := letterAttempt{Attempt: taken}
	ran, keyed := rpc.NotRun, false
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.store.Settle(a.Attempt, ran, keyed)
	}()
	send := func(ctx context.Context) (err error) {
		ran = rpc.Unknown
		keyed, err = s.resend(ctx, from, &a)
		if ran = rpc.HasRun; err != nil {
			ran = rpc.Ran(err)
		}
		return err
	}
	if fns := s.senders(ctx, from); len(fns) > 0 {
		return a.covering(a.through(ctx, fns, s, send))
	}
	return a.covering(send(ctx))
}

// letterAttempt is an attempt to send a letter again, to the actor at to, which is Attempt.At.
type letterAttempt struct {
	deadletter.Attempt[letterCarries]
	to address
}

// covering returns err with the verdict that covers all attempts: if this one did not run, an
// earlier one may have.
func (a *letterAttempt) covering(err error) error {
	var e *rpc.Error
	if !a.Again || !errors.As(err, &e) || e.Verdict != rpc.NotRun {
		return err
	}
	worse := *e
	worse.Verdict = rpc.Unknown
	return &worse
}

// resend makes an attempt. keyed is as in deadletter.Store.Settle.
func (s *System) resend(ctx context.Context, from *Context, a *letterAttempt) (keyed bool, err error) {
	if a.to, err = parseAddress(cmp.Or(a.At, a.Asked)); err != nil {
		return false, err
	}
	if a.to.routed() {
		v := s.routedCall(ctx, from, &target{sys: s, addr: a.to}, nil)
		t, none := v.next()
		if none != nil {
			return false, none
		}
		a.to = t.addr
		v.sent = true
		defer func() { v.end(err) }()
	}
	a.At = a.to.String()
	if a.to.node == s.cfg.Name {
		return false, s.resendHere(ctx, from, a)
	}
	return s.resendAway(ctx, from, a)
}

// resendHere is resend to an actor of this node.
func (s *System) resendHere(ctx context.Context, from *Context, a *letterAttempt) error {
	c := s.refs.live(a.to.name)
	if c == nil {
		return s.noActor(from, a.to)
	}
	if a.Encoded == nil {
		if c.kind.handlers[reflect.TypeOf(a.Message)] == nil && !c.kind.receiver {
			return rpc.Errorf(rpc.Unhandled, rpc.NotRun, "%s has no handler for messages of %s", c.kind.name, a.Type)
		}
		return put(ctx, from, c, a.Message, nil, a.Carried.own, nil, true)
	}
	if s.draining() {
		if err := s.closedTo(from, c); err != nil {
			return err
		}
	}
	in, err := s.cameAgain(a)
	if err != nil {
		return err
	}
	if s.restricted(c) {
		err = s.refusal(in, c)
	}
	if err == nil && c.kind.handlerOf(s, in.TypeID) == nil {
		err = s.unhandled(c.kind, in.TypeID)
	}
	if err != nil {
		in.Drop()
		return err
	}
	if err := c.put(ctx, from, item{msg: in, meta: s.metaFrom(in)}, true); err != nil {
		in.Drop()
		return err
	}
	return nil
}

// cameAgain returns the message of a letter as if it came from its node once more, for the actor
// to which it is sent now.
func (s *System) cameAgain(a *letterAttempt) (*server.Inbound, *rpc.Error) {
	k := server.Kept{Arrival: a.Carried.came.from, Foreign: a.Carried.came.foreign, Codec: a.Encoded.Codec, Body: a.Encoded.Body, Meta: a.Carried.came.meta}
	k.Target = a.to.name
	return s.node.Server.Again(k)
}

// resendAway is resend to another node, under the letter's key.
func (s *System) resendAway(ctx context.Context, from *Context, a *letterAttempt) (keyed bool, err error) {
	switch {
	case len(s.cfg.Transports) == 0:
		return false, rpc.Errorf(rpc.Unavailable, rpc.NotRun, "send to %v: the system has no Transports", a.to)
	case from == nil && s.draining():
		return false, errShutdown
	}
	err = s.exchange(ctx, a, "dead letter "+s.epoch+" "+a.ID)
	var e *rpc.Error
	if a.Epoch == "" && errors.As(err, &e) && e.Code == rpc.Invalid && e.Verdict == rpc.NotRun && e.Node != "" { // its kind takes no keys
		return false, s.exchange(ctx, a, "")
	}
	if errors.Is(err, client.ErrOtherStart) {
		err = rpc.Errorf(rpc.OutcomeUnknown, rpc.Unknown, "%w at an earlier start of %v", deadletter.ErrUnclear, a.to)
	}
	return a.Epoch != "", err
}

// exchange sends the letter and waits until it is in the actor's mailbox.
func (s *System) exchange(ctx context.Context, a *letterAttempt, key string) error {
	x := s.node.Client.Exchange()
	r := x.Request()
	if e := a.Encoded; e != nil {
		r.TypeID, r.Codec, r.Body = e.TypeID, e.Codec, append(r.Body, e.Body...)
	} else if err := s.encodeLetter(a, r); err != nil {
		return err
	}
	r.Node, r.Target, r.Confirm, r.Retry, r.Timeout = a.to.node, a.to.name, true, s.retry.Load(), s.cfg.Timeout
	if at, ok := ctx.Deadline(); ok {
		r.Timeout = time.Until(at)
	}
	r.Timeout = min(r.Timeout, time.Until(a.Expiry))
	sentTo := ""
	r.Rare = &client.Rare{Meta: s.metaOfLetter(a), Key: key, Epoch: a.Epoch, SentTo: &sentTo}
	_, err := x.Do(ctx)
	err = s.withName(err, r.TypeID)
	x.Free()
	if a.Epoch == "" && key != "" && err != nil && rpc.Ran(err) == rpc.Unknown {
		a.Epoch = sentTo
	}
	return err
}

// encodeLetter encodes the message of a letter of this node into r.
func (s *System) encodeLetter(a *letterAttempt, r *client.Request) error {
	mt := s.types.get(reflect.TypeOf(a.Message))
	if mt.err != nil {
		return mt.err
	}
	cd := s.codecFor(a.to.name, nil)
	body, refusal := encodeMessage(cd, mt.storage(r.Body), a.Message, mt)
	if refusal != nil {
		return refusal
	}
	r.TypeID, r.Codec, r.Body = mt.id, cd.ID(), body
	return nil
}

// metaOfLetter is what the message of a letter carries to another node. A node can only name
// actors of its own as senders.
func (s *System) metaOfLetter(a *letterAttempt) (m wire.Meta) {
	switch {
	case a.Carried.came != nil && a.Carried.came.meta != nil:
		m = wire.Meta{Trace: a.Carried.came.meta.Trace, Headers: a.Carried.came.meta.Headers, Class: a.Carried.came.meta.Class}
	case a.Carried.own != nil:
		m = wire.Meta{Trace: a.Carried.own.trace, Headers: a.Carried.own.headers, Class: transport.Class(a.Carried.own.class)}
		if a.Carried.own.sender.Node() == s.cfg.Name {
			m.Sender = a.Carried.own.sender.String()
		}
	}
	return m
}
