package actor

import (
	"context"
	"errors"
	"reflect"
	"sync"

	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/internal/tracekey"
	"github.com/tandem-go/tandem/rpc"
)

// tell sends a one-way message to a service, to another node, under a key, or to an actor of
// this node that does not exist.
func tell[M any](ctx context.Context, from *Context, to *target, m M, opts *settings) error {
	if to.addr.routed() {
		return tellService(ctx, from, to, m, opts)
	}
	return tellAt(ctx, from, nil, to, m, opts)
}

// tellAt is tell to one actor. at is the call of a service that has chosen it, or nil.
func tellAt[M any](ctx context.Context, from *Context, at *routedCall, t *target, m M, opts *settings) error {
	s := t.sys
	if opts.ByRoad() && !opts.IsAcked() {
		return errUnacked
	}
	if t.addr.node == s.cfg.Name && !opts.ByRoad() {
		none := s.noActor(from, t.addr)
		if opts.IsAcked() || none == errShutdown {
			return none
		}
		s.handBack(t.addr, item{msg: m, meta: metaOf(ctx, from, opts)}, none)
		return nil
	}
	if opts.IsAcked() {
		x := s.node.Client.Exchange()
		if err := compose(ctx, from, at, t, m, wording{compact: true}, opts, x.Request(), &reusableOf(x).message); err != nil {
			return err
		}
		_, err := x.Do(ctx)
		err = s.withName(err, s.compacts.typeOf(x.Request()))
		x.Free()
		return err
	}
	if at != nil && at.isVirtual() {
		return tellFollowed(ctx, from, at, t, m, reflect.TypeFor[M](), opts)
	}
	out := tellPool.Get().(*outgoing)
	if opts == nil && from == nil && at == nil && ctx.Value(tracekey.Key{}) == nil {
		return tellPlain(ctx, t, m, out)
	}
	if err := compose(ctx, from, at, t, m, wording{compact: true}, opts, &out.request, &out.message); err != nil {
		return err
	}
	return s.send(ctx, from, out)
}

// errUnacked is the error of a one-way message that wants what only requests have.
var errUnacked = rpc.Errorf(rpc.Invalid, rpc.NotRun, "a one-way message can have a key, or be sent on behalf of another principal, only with rpc.Acked")

// tellPlain is tellAt for a message with nothing but its body, as most are.
func tellPlain[M any](ctx context.Context, t *target, m M, out *outgoing) error {
	s := t.sys
	reused := reusableIn[M](&out.message)
	reused.V = m
	var r client.Request
	err := s.plain(t, reused.Value(), reflect.TypeFor[M](), out.request.Body, &r)
	reused.Take()
	if err != nil {
		return err
	}
	done, err := s.node.Client.TellNow(&r)
	if !done || r.Agreed != nil && errors.Is(err, client.ErrCompact) {
		r.Timeout = s.timeout(ctx)
		err = s.tell(ctx, &r)
	}
	out.request.Body = wire.FreeSent(r.Body)
	tellPool.Put(out)
	return err
}

// plain makes r, which is empty, the message m to t, encoded into the memory of into if it fits there.
func (s *System) plain(t *target, m any, typ reflect.Type, into []byte, r *client.Request) error {
	mt, err := s.sendable(nil, t, m, typ)
	if err != nil {
		return err
	}
	c, typeID := s.codecFor(t.addr.name, nil), mt.id
	if s.cfg.Compact && !mt.wraps && t.addr.node != s.cfg.Name && sameCodec(c, s.cfg.Codec) {
		if agreed, id := s.form(t, mt, nil); agreed != nil {
			r.Agreed, c, typeID = agreed, s.compacts.codec, id
		}
	}
	body, refusal := encodeMessage(c, mt.storage(into), m, mt)
	if refusal != nil {
		return refusal
	}
	r.Node, r.Target, r.TypeID, r.Codec, r.Body = t.addr.node, t.addr.name, typeID, c.ID(), body
	return nil
}

// tell hands a one-way message to a link: with names if it is compact and its node was restarted meanwhile.
func (s *System) tell(ctx context.Context, r *client.Request) error {
	err := s.node.Client.Tell(ctx, *r) // keeps no reference to it
	if r.Agreed != nil && errors.Is(err, client.ErrCompact) {
		named := *r
		if err := s.node.Client.Named(&named); err != nil {
			return err
		}
		return s.node.Client.Tell(ctx, named)
	}
	return err
}

// outgoing is a one-way message on its way to a link.
type outgoing struct {
	request client.Request
	message any // see reusableIn
}

// tellPool saves allocations per one-way message.
var tellPool = sync.Pool{New: func() any { return new(outgoing) }}

// send hands a one-way message to a link, and keeps its memory for the next one.
func (s *System) send(ctx context.Context, from *Context, out *outgoing) error {
	r := &out.request
	if from.inTurn() { // so that actors that wait for each other in a cycle do not wait for ever
		r.Timeout = min(r.Timeout, s.cfg.SendWait)
	}
	err := s.tell(ctx, r)
	*r = client.Request{Body: wire.FreeSent(r.Body)}
	tellPool.Put(out)
	return err
}
