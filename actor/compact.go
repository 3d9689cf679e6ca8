package actor

import (
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
)

// Compact bodies have no names of fields, so both ends must have the same schemas of a message and of its
// reply. This file is what a system knows of its own schemas, and how compact bodies come and go;
// compact_ask.go is how it learns which ones another node has.
//
// A compact body never leaves for another start of a node than that with which it was agreed (client.Start),
// for another node, or for a store: then it gets the form with names first. So a body
// that has no names is only in the memory of two processes, and between them.

// compacts is what a system knows about compact bodies.
type compacts struct {
	sys   *System
	codec codec.CompactCodec
	names codec.Codec // of what becomes of compact bodies that go elsewhere

	recent  [64]atomic.Pointer[schemaPair] // a cache of byID
	schemas sync.Map                       // *messageType → namedSchema; the types are those of the program

	mu     sync.Mutex             // guards what follows
	byID   map[uint64]*schemaPair // those that were agreed upon, by the first 64 bits of the hash
	agreed map[agreementKey]*agreement
}

// pairTypes are a message and its reply; nil for none.
type pairTypes struct{ msg, reply *messageType }

// schemaPair is a message and its reply, and their schemas.
type schemaPair struct {
	pairTypes
	hash schemaHash
	id   uint64 // the type of compact bodies of both; 0: at least one of them has no schema
}

func (c *compacts) init(s *System) {
	s.kept.compacts = c
	c.sys, c.codec, c.names = s, codec.Compact(s.cfg.Limits), s.control
	c.byID, c.agreed = map[uint64]*schemaPair{}, map[agreementKey]*agreement{}
}

// pair returns the schemas of two types.
func (c *compacts) pair(t pairTypes) *schemaPair {
	p := &schemaPair{pairTypes: t}
	msg, reply := c.schema(t.msg), namedSchema{}
	if t.reply != nil {
		if reply = c.schema(t.reply); reply.text == "" {
			return p
		}
	}
	if msg.text != "" {
		p.hash = hashSchemas(msg, reply)
		p.id = p.hash.id()
	}
	return p
}

// schema returns that of a type; its text is empty if there is none.
func (c *compacts) schema(t *messageType) namedSchema {
	if n, ok := c.schemas.Load(t); ok {
		return n.(namedSchema)
	}
	n := namedSchema{name: t.name}
	if t.err == nil && !t.wraps {
		n.text, _ = c.codec.Schema(t.typ)
	}
	c.schemas.Store(t, n)
	return n
}

// maxAgreed bounds how many pairs of schemas are agreed upon, by whichever side has asked: a node that asks for a reply
// of any type with any message must not make this one remember all their combinations.
const maxAgreed = 4096

// agree notes that compact bodies of p may come and go. It returns false if there is no room, or if
// another pair has the same id. c.mu is held.
func (c *compacts) agree(p *schemaPair) bool {
	switch other := c.byID[p.id]; {
	case p.id == 0:
		return false
	case other != nil:
		return other.hash == p.hash
	case len(c.byID) >= maxAgreed:
		return false
	}
	c.byID[p.id] = p
	return true
}

// find returns the pair of that id, or nil.
func (c *compacts) find(id uint64) *schemaPair {
	slot := &c.recent[id%uint64(len(c.recent))]
	if p := slot.Load(); p != nil && p.id == id {
		return p
	}
	c.mu.Lock()
	p := c.byID[id]
	c.mu.Unlock()
	if p != nil {
		slot.Store(p)
	}
	return p
}

// admit is called with a compact message before anything else is done with it. The error says that
// it cannot be read here; its sender then sends it with names.
func (c *compacts) admit(in *server.Inbound) *rpc.Error {
	p := c.find(in.TypeID)
	if p == nil {
		return rpc.Errorf(rpc.Undecodable, rpc.NotRun, "a compact body of a schema that was not agreed upon with this start of node %s", c.sys.cfg.Name)
	}
	in.Compact(p.msg.id)
	return nil
}

// errRecorded is the error of a compact request to an actor of which records are kept.
var errRecorded = rpc.Errorf(rpc.Undecodable, rpc.NotRun, "a compact body for an actor whose requests are recorded")

// refuseCompact returns an error for a compact request to c if a record of it may outlive this process: a later
// start could not read it, nor recognise the request when it comes with names.
func refuseCompact(c *cell, in *server.Inbound) *rpc.Error {
	if in.Schema != 0 && (c.kind.recorded() || c.kind.keeps != nil || in.Keyed()) {
		return errRecorded
	}
	return nil
}

// codecOf returns the codec of a compact message for a handler that takes a typ.
func (c *compacts) codecOf(in *server.Inbound, typ reflect.Type) codec.Codec {
	p := c.find(in.Schema)
	if p.msg.typ == typ {
		return c.codec
	}
	return byName{c.names, c, p}
}

// byName decodes compact bodies for another type of the same name.
type byName struct {
	codec.Codec
	c *compacts
	p *schemaPair
}

// Decode implements codec.Codec.
func (n byName) Decode(body []byte, v any) error {
	named, err := n.c.named(n.p.msg, body)
	if err != nil {
		return err
	}
	return n.Codec.Decode(named, v)
}

// named returns a compact body with names.
func (c *compacts) named(t *messageType, body []byte) ([]byte, error) {
	v := reflect.New(t.typ)
	if err := c.codec.Decode(body, v.Interface()); err != nil {
		return nil, err
	}
	return c.names.Append(nil, v.Elem().Interface())
}

// lasting returns the form with names of a message from another node, for what is kept of it. It is not ok if there is none.
func (c *compacts) lasting(in *server.Inbound, body []byte) (cd uint8, named []byte, ok bool) {
	if in.Codec != codec.IDCompact {
		return in.Codec, body, true
	}
	p := c.find(in.Schema)
	if p == nil {
		return 0, nil, false
	}
	named, err := c.named(p.msg, body)
	return c.names.ID(), named, err == nil
}

// Named implements client.Forms.
func (c *compacts) Named(r *client.Request) *rpc.Error {
	p := c.find(r.TypeID)
	body, err := c.named(p.msg, r.Body)
	if err != nil {
		return bodyError(c.sys.hidePanic(err, address{r.Target, r.Node}, p.msg.name), rpc.NotRun, "encoding message "+p.msg.name)
	}
	r.TypeID, r.Codec, r.Body = p.msg.id, c.names.ID(), body
	return nil
}

// TypeOf implements client.Forms.
func (c *compacts) TypeOf(r *client.Request) uint64 { return c.find(r.TypeID).msg.id }

// typeOf returns the type of what a request carries, whatever its form.
func (c *compacts) typeOf(r *client.Request) uint64 {
	if r.Agreed != nil {
		return c.TypeOf(r)
	}
	return r.TypeID
}

// replyTo encodes v, which is the reply of p, in compact form.
func (c *compacts) replyTo(in *server.Inbound, p *schemaPair, v any) (sentReply, error) {
	body, err := c.codec.Append(p.reply.storage(in.Storage()), v)
	if err != nil {
		return sentReply{}, replyError(c.sys.hidePanic(err, address{"replies", c.sys.cfg.Name}, p.reply.name))
	}
	p.reply.encoded(len(body))
	return sentReply{p.id, codec.IDCompact, fitting(body)}, nil
}

// decodeReply decodes a compact reply of the expected type into v.
func (c *compacts) decodeReply(id uint64, want *messageType, node string, body []byte, v any) error {
	p := c.find(id)
	if p == nil || p.reply != want {
		return rpc.Errorf(rpc.WrongReply, rpc.HasRun, "node %s replied with another schema than that of %s", node, want.name)
	}
	if err := c.codec.Decode(body, v); err != nil {
		return rpc.Errorf(rpc.Undecodable, rpc.HasRun, "reply from node %s: %w", node, err)
	}
	return nil
}

// replyCodec is the codec in which the reply to a request is kept, or sent if it is not compact.
func replyCodec(in *server.Inbound) uint8 {
	if in.Codec == codec.IDCompact {
		return codec.IDMsgpack
	}
	return in.Codec
}

// wording is how a message is sent: by default with names. compact says that it may be without, as a
// message whose reply is reply; nil: it has none.
type wording struct {
	compact bool
	reply   *messageType
}

// agreeSchemas asks a node whether it has the same schemas of a message and its reply.
type agreeSchemas struct {
	Returns[schemasAgreed]
	Message, Reply uint64 // their types; 0: no reply
	Hash           []byte
}

// schemasAgreed is the answer. Epoch is the start of the node for which it holds.
type schemasAgreed struct {
	Epoch string
	Known bool // the node knows both types
	Same  bool // their schemas are the same, so compact bodies may be sent
}

func (agreeSchemas) WireName() string            { return "tandem.node.schemas" }
func (schemasAgreed) WireName() string           { return "tandem.node.schemas.agreed" }
func (agreeSchemas) neededOp() (access.Op, bool) { return 0, true } // who has not the same type learns nothing

// schemas says whether compact bodies may be sent here.
func (nodeServer) schemas(ctx *Context, m agreeSchemas) (schemasAgreed, error) {
	s := ctx.System()
	a := schemasAgreed{Epoch: s.epoch}
	a.Known, a.Same = s.compacts.answer(m)
	return a, nil
}

func (c *compacts) answer(m agreeSchemas) (known, same bool) {
	msgs := c.sys.types.named(m.Message)
	replies := []*messageType{nil}
	if m.Reply != 0 {
		replies = c.sys.types.named(m.Reply)
	}
	if len(msgs) == 0 || len(replies) == 0 {
		return false, false
	}
	if len(msgs) > 1 || len(replies) > 1 || msgs[0].recorded.Load() {
		return true, false // there is more than one type of that name, or the message is recorded with its name
	}
	p := c.pair(pairTypes{msgs[0], replies[0]})
	c.mu.Lock()
	defer c.mu.Unlock()
	return true, p.hash.equals(m.Hash) && c.agree(p)
}
