package actor

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/tandem-go/tandem/rpc"
)

// This file is what Config.CopyLocal does: messages within a system take the form in which
// other nodes would get them, and so do their outcomes. Nothing of it lies on the way that
// they take without it. What has to be looked at closely there is found by the one
// question that is asked of each message anyway: how far the system is in its life.

// minds reports whether a message within the system is for putMindful.
func (s *System) minds() bool { return s.life.stage.Load() >= s.life.minds }

// putMindful is put in a system that drains, or that copies.
func (c *cell) putMindful(ctx context.Context, from *Context, it item, opts []rpc.Option, must bool) error {
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
		msg, refusal := travels.open(c)
		if refusal != nil {
			if it.req == nil && !isAcked(opts) {
				s.handBack(c.self.addr, it, refusal)
				return nil
			}
			return refusal
		}
		it.msg = msg
	}
	return c.put(ctx, from, it, must || isAcked(opts))
}

// parcel is a message as it would travel.
type parcel struct {
	mt    *messageType
	codec uint8
	body  []byte
}

// encodeLocal encodes a message to an actor of that name. The error is its sender's.
func (s *System) encodeLocal(m any, name string, opts []rpc.Option) (parcel, error) {
	if m == nil {
		return parcel{}, rpc.Errorf(rpc.Invalid, rpc.NotRun, "a message of nil has no type")
	}
	mt := s.types.of(reflect.TypeOf(m))
	if mt.err != nil {
		return parcel{}, mt.err
	}
	cd := s.codecFor(name, rpc.Apply(opts).Codec)
	body, refusal := encodeMessage(cd, nil, m, mt)
	if refusal != nil {
		return parcel{}, refusal
	}
	return parcel{mt, cd.ID(), body}, nil
}

// open decodes it for the handler that c has for it.
func (p parcel) open(c *cell) (any, *rpc.Error) {
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

// snapshot is m, with CopyLocal a copy of it: for a message that may be sent once more
// when its sender goes on already, and may change it.
func snapshot[M any](s *System, m M, name string, opts []rpc.Option) (M, error) {
	if !s.cfg.CopyLocal {
		return m, nil
	}
	var own M
	travels, err := s.encodeLocal(m, name, opts)
	if err != nil {
		return own, err
	}
	into := reflect.New(travels.mt.typ) // M, or what it holds
	cd, err := s.codecs.ByID(travels.codec)
	if err == nil {
		err = cd.Decode(travels.body, into.Interface())
	}
	if err != nil {
		return own, bodyError(err, rpc.NotRun, "message "+travels.mt.name)
	}
	return into.Elem().Interface().(M), nil
}

// asker is any *ask.
type asker interface {
	request
	wants() reflect.Type
	open(*System, *rpc.Reply)
}

func (a *ask[R]) wants() reflect.Type { return reflect.TypeFor[R]() }

// open ends it with a reply that is encoded.
func (a *ask[R]) open(s *System, r *rpc.Reply) {
	var v, none R
	if err := s.decodeReply(r, s.types.of(reflect.TypeFor[R]()), &v); err != nil {
		a.end(none, err)
		return
	}
	a.end(v, nil)
}

// copied is a request within a system whose outcome is copied.
type copied struct {
	asker
	sys   *System
	codec uint8
}

// copying is req as its handler gets it. The error is its sender's: the reply could not
// come back.
func (s *System) copying(req request, codec uint8) (request, error) {
	a, ok := req.(asker)
	if !ok {
		return req, nil
	}
	if err := s.types.of(a.wants()).err; err != nil {
		return nil, err
	}
	return &copied{a, s, codec}, nil
}

// Reply ends it with an encoded reply, as rpc.Inbound's does.
func (r *copied) Reply(typeID uint64, codec uint8, body []byte) {
	r.open(r.sys, &rpc.Reply{TypeID: typeID, Codec: codec, Node: r.sys.cfg.Name, Body: body})
}

// reply ends it with v, which is sent as a typ.
func (r *copied) reply(v any, typ reflect.Type) error {
	typeID, body, err := r.sys.encodeAs(r.codec, v, typ, nil)
	if err == nil {
		r.Reply(typeID, r.codec, body)
	}
	return err
}

func (r *copied) Refuse(err *rpc.Error) { r.asker.Refuse(withoutCause(err)) }
func (r *copied) Fail(err *rpc.Error)   { r.asker.Fail(withoutCause(err)) }

// withoutCause is an error as it travels: of its cause there is the text.
func withoutCause(err *rpc.Error) *rpc.Error {
	if errors.Unwrap(err) == nil {
		return err
	}
	return &rpc.Error{Code: err.Code, Verdict: err.Verdict, Message: err.Message, User: err.User, Node: err.Node, RetryAfter: err.RetryAfter}
}

// replier is a request whose reply is encoded: *rpc.Inbound or *copied.
type replier interface {
	Reply(typeID uint64, codec uint8, body []byte)
}

// encodeFor encodes a reply to in, and says with which codec.
func (s *System) encodeFor(in replier, v any, typ reflect.Type) (typeID uint64, codec uint8, body []byte, err error) {
	if far, ok := in.(*rpc.Inbound); ok {
		typeID, body, err = s.encodeReply(far, v, typ)
		return typeID, far.Codec, body, err
	}
	near := in.(*copied)
	typeID, body, err = s.encodeAs(near.codec, v, typ, nil)
	return typeID, near.codec, body, err
}
