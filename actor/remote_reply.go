package actor

import (
	"reflect"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/internal/promise"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
)

// How the replies to requests of other nodes are encoded, and those of other nodes decoded.

// decodeReply decodes a reply of the expected type into v.
func (s *System) decodeReply(r *promise.Reply, want *messageType, v any) error {
	if want.wraps {
		*v.(*Encoded) = s.encodedReply(r)
		return nil
	}
	if r.Codec == codec.IDCompact {
		return s.compacts.decodeReply(r.TypeID, want, r.Node, r.Body, v)
	}
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

// reply answers a request from another node with v.
func (s *System) reply(in *server.Inbound, v any, typ reflect.Type) error {
	r, err := s.replyTo(in, v, typ)
	if err == nil {
		in.Reply(r.typeID, r.codec, r.body)
	}
	return err
}

// answer is reply in a run loop whose handler has returned, and so in a goroutine that holds no lock.
func (s *System) answer(in *server.Inbound, v any, typ reflect.Type) error {
	r, err := s.replyTo(in, v, typ)
	if err == nil {
		in.Answer(r.typeID, r.codec, r.body)
	}
	return err
}

// sentReply is a reply as it is sent.
type sentReply struct {
	typeID uint64
	codec  uint8
	body   []byte
}

// replyTo encodes the reply that a request gets at once: in compact form if that was agreed upon.
func (s *System) replyTo(in *server.Inbound, v any, typ reflect.Type) (r sentReply, err error) {
	if in.Schema != 0 && typ != nil {
		if p := s.compacts.find(in.Schema); p.reply != nil && p.reply.typ == typ {
			return s.compacts.replyTo(in, p, v)
		}
	}
	r.codec = replyCodec(in)
	r.typeID, r.body, err = s.encodeReply(in, v, typ)
	return r, err
}

// encodeReply encodes a reply in the form that may be kept.
func (s *System) encodeReply(in *server.Inbound, v any, typ reflect.Type) (typeID uint64, body []byte, err error) {
	return s.encodeAs(replyCodec(in), v, typ, in.Storage())
}

// encodeAs encodes a reply with the codec of that id, into the given storage if it fits there.
func (s *System) encodeAs(id uint8, v any, typ reflect.Type, into []byte) (typeID uint64, body []byte, err error) {
	if typ == nil {
		return 0, nil, rpc.Errorf(rpc.Invalid, rpc.HasRun, "a reply of nil has no type")
	}
	mt := s.types.get(typ)
	c, err := s.codecs.ByID(id)
	if err == nil {
		err = mt.err
	}
	if err == nil {
		body, err = c.Append(mt.storage(into), v)
	}
	if err != nil {
		return 0, nil, replyError(s.hidePanic(err, address{"replies", s.cfg.Name}, mt.name))
	}
	mt.encoded(len(body))
	return mt.id, fitting(body), nil
}
