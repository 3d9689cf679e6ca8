// Package protobuf carries generated protobuf messages as they are: no field is added to them, and
// no method.
//
//	sys, err := actor.NewSystem(actor.Config{
//		Codec: protobuf.New(codec.Limits{}),
//		...
//	})
//
//	var AccountKind = actor.Define("bank.account", func() *Account { return new(Account) },
//		actor.AnswerAs((*Account).Deposit)) // func (a *Account) Deposit(ctx *actor.Context, m *pb.Deposit) (*pb.Balance, error)
//
//	balance, err := actor.CallAs[*pb.Balance](ctx, ref, &pb.Deposit{Amount: 5})
//
// It is a module of its own, so that only those who use it depend on google.golang.org/protobuf.
//
// A message type is a pointer to a generated struct. On the wire it is called pb: and the full name
// of the message, as "pb:bank.Deposit", so its Go package may be another one in each program. All
// verbs work with such messages: requests, one-way messages, jobs, streams, queues and topics. All
// nodes that send each other such messages need the codec.
//
// Values of other types are carried as [codec.Msgpack] does, in bodies with the id of this codec. A
// program may use both kinds, and a struct may hold pointers to protobuf messages: those are then
// encoded as protobuf. So do the messages of queues hold their items.
//
// # What it promises
//
// Equal messages have equal bytes, as the fingerprints of keys need, if they are encoded by the
// same version of google.golang.org/protobuf. Fields that a node does not know are kept, and are there
// again when it sends the message on. A body in which a known field has another wire
// type is refused as [codec.ErrMalformed]: its sender means another message by that name.
//
// Whatever the body, Decode ends with a message or an error, and allocates no more than [codec.Limits]
// say. Depth counts messages within messages, and Elements the elements of lists and, twice, the
// entries of maps.
//
// Gateways (httpapi, natsapi) reach such messages in JSON, in the ProtoJSON form: a system that has this codec, as Config.Codec or in
// Config.Codecs, decodes JSON bodies of such types so, under the same limits, and skips unknown fields. Gateways and the nodes
// that host the actors need the codec.
//
// # Limits
//
// In JSON, a google.protobuf.Any is refused, and what other types hold is left to encoding/json. Memory is counted by the dearest
// message that a body could hold, so that a list of about 40,000 small messages is refused unless the limits are raised.
//
// A nil message is refused where it would be a whole body, and carried in a field of a struct.
// Messages of dynamicpb, and types that are interfaces, are not carried. Extensions of proto2 are
// not looked up: they arrive as unknown fields.
package protobuf

import (
	"fmt"
	"reflect"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/tandem-go/tandem/rpc/codec"
)

// ID is the codec's number on the wire. It never changes.
const ID = codec.FirstUserID

// Codec is a [codec.Codec] for protobuf messages and others. [New] makes one. Its methods may be
// called concurrently.
type Codec struct {
	lim    codec.Limits
	others codec.Codec
	shapes sync.Map // reflect.Type → *shape, nil for types that are left to others
	prices sync.Map // *shape → prices, of bodies in JSON
}

// New returns a codec with these limits. They hold for messages of either kind.
func New(l codec.Limits) *Codec {
	c := &Codec{lim: l.WithDefaults()}
	c.others = codec.MsgpackWith(l, parts{c})
	return c
}

// ID implements codec.Codec.
func (c *Codec) ID() uint8 { return ID }

// Name implements codec.Codec.
func (c *Codec) Name() string { return "protobuf" }

// WireName implements codec.Namer.
func (c *Codec) WireName(t reflect.Type) (name string, ok bool) {
	s := c.shapeOf(t)
	if s == nil {
		return "", false
	}
	return "pb:" + string(s.name), true
}

// Check returns why values of type t cannot be carried, or nil.
func (c *Codec) Check(t reflect.Type) error {
	if c.shapeOf(t) != nil {
		return nil
	}
	return c.others.(interface{ Check(reflect.Type) error }).Check(t)
}

// CheckWhole returns an error for types of values of which a part would silently stay behind.
func (c *Codec) CheckWhole(t reflect.Type) error {
	if c.shapeOf(t) != nil {
		return nil
	}
	return c.others.(interface{ CheckWhole(reflect.Type) error }).CheckWhole(t)
}

// Append implements codec.Codec.
func (c *Codec) Append(dst []byte, v any) ([]byte, error) {
	if s := c.shapeOf(reflect.TypeOf(v)); s != nil {
		out, _, err := c.encode(dst, v.(proto.Message), s)
		return out, err
	}
	return c.others.Append(dst, v)
}

// Decode implements codec.Codec. v may also be a message itself, which then is overwritten.
func (c *Codec) Decode(body []byte, v any) error {
	t := reflect.TypeOf(v)
	if s := c.shapeOf(t); s != nil {
		_, err := c.decode(body, v.(proto.Message), s, c.lim.Memory(len(body)))
		return err
	}
	if t != nil && t.Kind() == reflect.Pointer && c.shapeOf(t.Elem()) != nil {
		_, err := parts{c}.DecodePart(body, v, c.lim.Memory(len(body)))
		return err
	}
	return c.others.Decode(body, v)
}

// encode appends the encoding of m, which is of shape s. cost is how many bytes decoding it may take.
func (c *Codec) encode(dst []byte, m proto.Message, s *shape) (out []byte, cost int, err error) {
	if reflect.ValueOf(m).IsNil() {
		return dst, 0, fmt.Errorf("%w: a nil %v is no message", codec.ErrUnsupported, s.typ)
	}
	if len(s.loops) > 0 { // the library would follow a message that contains itself for ever
		left := c.lim.Body / 2 // each message takes two bytes
		if !s.bounded(m.ProtoReflect(), c.lim.Depth, &left) {
			return dst, 0, fmt.Errorf("%w: messages nest too deep, or there are too many", codec.ErrLimit)
		}
	}
	out, err = proto.MarshalOptions{Deterministic: true}.MarshalAppend(dst, m)
	if err != nil {
		return dst, 0, fmt.Errorf("%w: %w", codec.ErrUnsupported, err)
	}
	body := out[len(dst):]
	if cost, err = c.measure(body, s, c.lim.Memory(len(body))); err != nil {
		return dst, 0, err
	}
	return out, cost, nil
}

// decode decodes body into m, which is of shape s, unless it may take more than most bytes.
func (c *Codec) decode(body []byte, m proto.Message, s *shape, most int) (cost int, err error) {
	if reflect.ValueOf(m).IsNil() {
		return 0, fmt.Errorf("%w: cannot decode into a nil %v", codec.ErrUnsupported, s.typ)
	}
	if cost, err = c.measure(body, s, most); err != nil {
		return 0, err
	}
	o := proto.UnmarshalOptions{
		RecursionLimit: 2*c.lim.Depth + 1, // what is counted there differs; measure has looked already
		Resolver:       noExtensions,
		NoLazyDecoding: true, // which would keep the body
	}
	if err := o.Unmarshal(body, m); err != nil {
		return 0, fmt.Errorf("%w: %w", codec.ErrMalformed, err)
	}
	return cost, nil
}

// noExtensions knows no extensions: measure could not tell how much memory they take.
var noExtensions = new(protoregistry.Types)

// measure checks the limits of a body of shape s, and estimates from above how many bytes
// decoding it allocates.
func (c *Codec) measure(body []byte, s *shape, most int) (cost int, err error) {
	if len(body) > c.lim.Body {
		return 0, fmt.Errorf("%w: body of %d bytes, limit %d", codec.ErrLimit, len(body), c.lim.Body)
	}
	m := meter{most: most + most/16, elements: c.lim.Elements}
	err = m.message(body, s, c.lim.Depth, 0)
	return m.cost, err
}

// parts are the messages within values of other types.
type parts struct{ c *Codec }

// Carries implements codec.Parts.
func (p parts) Carries(t reflect.Type) bool { return p.c.shapeOf(t) != nil }

// AppendPart implements codec.Parts.
func (p parts) AppendPart(dst []byte, v any) (out []byte, cost int, err error) {
	return p.c.encode(dst, v.(proto.Message), p.c.shapeOf(reflect.TypeOf(v)))
}

// DecodePart implements codec.Parts. The message is a new one: whoever had what v points to before may
// have kept it.
func (p parts) DecodePart(body []byte, v any, most int) (cost int, err error) {
	to := reflect.ValueOf(v)
	if to.IsNil() {
		return 0, fmt.Errorf("%w: cannot decode into a nil %T", codec.ErrUnsupported, v)
	}
	to = to.Elem()
	s := p.c.shapeOf(to.Type())
	m := reflect.New(s.typ.Elem())
	if cost, err = p.c.decode(body, m.Interface().(proto.Message), s, most); err == nil {
		to.Set(m)
	}
	return cost, err
}
