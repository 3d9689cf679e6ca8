package actor

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/internal/promise"
	"github.com/tandem-go/tandem/rpc"
)

// This file implements Config.CopyLocal: messages within a system, and their outcomes, are
// encoded and decoded as if they had come from another node. Without it none of this costs
// anything: the stage of the system's life, which is checked for each message anyway, also
// says whether messages are to be copied.

// checksSends reports whether a message within the system has to go through putChecked.
func (s *System) checksSends() bool { return s.life.stage.Load() >= s.life.checksSendsFrom }

// putChecked is put in a system that drains, or that has Config.CopyLocal.
func (c *cell) putChecked(ctx context.Context, from *Context, it item, opts *settings, must bool) error {
	s := c.self.sys
	if s.draining() {
		if err := s.closedTo(from, c); err != nil {
			return err
		}
	}
	if s.cfg.CopyLocal && !strings.HasPrefix(c.self.addr.name, hidden) && (!from.isIn(c) || isDetached(ctx)) {
		travels, err := s.encodeLocal(it.msg, c.self.addr.name, opts)
		if err == nil {
			it.req, err = s.copying(it.req, travels.codec)
		}
		if err != nil {
			return err
		}
		msg, refusal := travels.decode(c)
		if refusal != nil {
			if it.req == nil && !opts.IsAcked() {
				s.handBack(c.self.addr, it, refusal)
				return nil
			}
			return refusal
		}
		it.msg = msg
	}
	return c.put(ctx, from, it, must || opts.IsAcked())
}

// parcel is an encoded message.
type parcel struct {
	mt    *messageType
	codec uint8
	body  []byte
}

// encodeLocal encodes a message to an actor of that name. An error is for the sender.
func (s *System) encodeLocal(m any, name string, opts *settings) (parcel, error) {
	if m == nil {
		return parcel{}, rpc.Errorf(rpc.Invalid, rpc.NotRun, "a message of nil has no type")
	}
	mt := s.types.get(reflect.TypeOf(m))
	if mt.err != nil {
		return parcel{}, mt.err
	}
	cd := s.codecFor(name, opts)
	body, refusal := encodeMessage(cd, nil, m, mt)
	if refusal != nil {
		return parcel{}, refusal
	}
	return parcel{mt, cd.ID(), body}, nil
}

// decode decodes the message for the handler that c has for it.
func (p parcel) decode(c *cell) (any, *rpc.Error) {
	s := c.self.sys
	h := c.kind.handlerOf(s, p.mt.id)
	if h == nil {
		return nil, s.unhandled(c.kind, p.mt.id)
	}
	cd, err := s.codecs.ByID(p.codec)
	if err != nil {
		return nil, rpc.Errorf(rpc.Undecodable, rpc.NotRun, "%w", err)
	}
	msg, err := h.decode(cd, p.body)
	if err != nil {
		return nil, bodyError(err, rpc.NotRun, fmt.Sprint("message ", h.typ))
	}
	return msg, nil
}

// snapshot returns m, or with CopyLocal a copy of it. It is for a message that may be sent
// again after its sender has gone on, and may have changed it.
func snapshot[M any](s *System, m M, name string, opts *settings) (M, error) {
	if !s.cfg.CopyLocal {
		return m, nil
	}
	var own M
	travels, err := s.encodeLocal(m, name, opts)
	if err != nil {
		return own, err
	}
	into := reflect.New(travels.mt.typ) // M, or the type of the value in the interface M
	cd, err := s.codecs.ByID(travels.codec)
	if err == nil {
		err = cd.Decode(travels.body, into.Interface())
	}
	if err != nil {
		return own, bodyError(err, rpc.NotRun, "message "+travels.mt.name)
	}
	return into.Elem().Interface().(M), nil
}

// asker is implemented by every *ask[R].
type asker interface {
	request
	wants() reflect.Type
	endEncoded(*System, *promise.Reply)
}

func (a *ask[R]) wants() reflect.Type { return reflect.TypeFor[R]() }

// endEncoded ends the request with an encoded reply.
func (a *ask[R]) endEncoded(s *System, r *promise.Reply) {
	var v, none R
	if err := s.decodeReply(r, s.types.get(reflect.TypeFor[R]()), &v); err != nil {
		a.end(none, err)
		return
	}
	a.end(v, nil)
}

// copied is a request within a system whose outcome is copied by encoding and decoding it.
type copied struct {
	asker
	sys   *System
	codec uint8
}

// copying is req as its handler gets it. The error is for the sender, and says that the reply
// could not be sent back.
func (s *System) copying(req request, codec uint8) (request, error) {
	a, ok := req.(asker)
	if !ok {
		return req, nil
	}
	if err := s.types.get(a.wants()).err; err != nil {
		return nil, err
	}
	return &copied{a, s, codec}, nil
}

// Reply ends the request with an encoded reply, as server.Inbound.Reply does.
func (r *copied) Reply(typeID uint64, codec uint8, body []byte) {
	r.endEncoded(r.sys, &promise.Reply{TypeID: typeID, Codec: codec, Node: r.sys.cfg.Name, Body: body})
}

// reply ends the request with v, which is sent as a value of type typ.
func (r *copied) reply(v any, typ reflect.Type) error {
	typeID, body, err := r.sys.encodeAs(r.codec, v, typ, nil)
	if err == nil {
		r.Reply(typeID, r.codec, body)
	}
	return err
}

func (r *copied) Fail(err *rpc.Error) { r.asker.Fail(withoutCause(err)) }

// withoutCause is err as another node would get it: with the text of its cause, but without
// the cause itself.
func withoutCause(err *rpc.Error) *rpc.Error {
	if errors.Unwrap(err) == nil {
		return err
	}
	return &rpc.Error{Code: err.Code, Verdict: err.Verdict, Message: err.Message, User: err.User, Node: err.Node, RetryAfter: err.RetryAfter}
}

// encodes is a request that has its reply encoded, or passed on to one that has: *copied or *racer.
type encodes interface {
	reply(v any, typ reflect.Type) error
}

// replier is a request whose reply is encoded: *server.Inbound or *copied.
type replier interface {
	Reply(typeID uint64, codec uint8, body []byte)
}

// encodeFor encodes a reply to in, and returns the id of the codec that it used.
func (s *System) encodeFor(in replier, v any, typ reflect.Type) (typeID uint64, codec uint8, body []byte, err error) {
	if far, ok := in.(*server.Inbound); ok {
		typeID, body, err = s.encodeReply(far, v, typ)
		return typeID, replyCodec(far), body, err
	}
	near := in.(*copied)
	typeID, body, err = s.encodeAs(near.codec, v, typ, nil)
	return typeID, near.codec, body, err
}
