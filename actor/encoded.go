package actor

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"reflect"

	"github.com/tandem-go/tandem/internal/promise"
	"github.com/tandem-go/tandem/internal/sendopt"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/transport"
)

// Encoded is a message, or a reply, whose Go type the program need not have, as gateways and tools send it:
//
//	m := actor.Encoded{Type: "bank.Deposit", Codec: codec.IDJSON, Body: []byte(`{"Amount": 5}`)}
//	reply, err := m.Call(ctx, sys.Ref("ann@bank"))
//
// Its methods are the verbs of the same names, with the same promises and options, and may be called concurrently.
// The message always takes a road, also to an actor of the sender's own node, and it is decoded there: a body that is not
// one of the type is an error of code rpc.Undecodable, not run. A reply comes in the codec of its message. Interceptors of
// the sender see the Encoded itself.
type Encoded struct {
	Type  string // name on the wire, see WireNamer. In a reply it is empty if this node does not know the type
	Codec uint8  // id of a codec of the node that gets it, such as codec.IDJSON
	Body  []byte // it must not be changed as long as the request may be under way
}

// wrapped is an Encoded on its way through the verbs, which tell from a message's type which reply it has.
type wrapped struct {
	Encoded
	is messageType // what messageType returns
}

func (*wrapped) returns(Encoded) {}
func (*wrapped) streams(Encoded) {}
func (*wrapped) isQuestion()     {}

// messageType is what is known of the type that the message has for who gets it.
func (m *wrapped) messageType() *messageType {
	mt := &m.is
	mt.name, mt.id, mt.typ = m.Type, transport.TypeID(m.Type), reflect.TypeFor[*wrapped]()
	if m.Type == "" || m.Codec == 0 {
		mt.err = rpc.Errorf(rpc.Invalid, rpc.NotRun, "an encoded message needs a type and a codec")
	}
	return mt
}

// encodedReply is a reply as an Encoded.
func (s *System) encodedReply(r *promise.Reply) Encoded {
	name, _ := s.types.known(r.TypeID)
	return Encoded{Type: name, Codec: r.Codec, Body: bytes.Clone(r.Body)}
}

// asIs is the codec of messages that are encoded already, and of the items of their streams.
type asIs uint8

// ID, Name, Append and Decode implement codec.Codec.
func (c asIs) ID() uint8  { return uint8(c) }
func (asIs) Name() string { return "as it is" }

func (asIs) Append(dst []byte, v any) ([]byte, error) {
	m, ok := v.(*wrapped)
	if !ok {
		return dst, fmt.Errorf("%w: %T is not encoded", codec.ErrUnsupported, v)
	}
	return append(dst, m.Body...), nil
}

func (c asIs) Decode(body []byte, v any) error {
	m, ok := v.(*Encoded)
	if !ok {
		return fmt.Errorf("%w: %T", codec.ErrUnsupported, v)
	}
	*m = Encoded{Codec: uint8(c), Body: bytes.Clone(body)}
	return nil
}

// byRoad has a message take a road also within its node.
func byRoad(road bool) rpc.Option {
	if !road {
		return rpc.Option{}
	}
	return rpc.Option(sendopt.New(sendopt.Change[rpc.Retry]{Which: sendopt.Road}))
}

// wrap returns the message and the options with which the verbs send it.
func (m Encoded) wrap(opts []rpc.Option) (*wrapped, []rpc.Option) {
	return &wrapped{Encoded: m}, append(opts[:len(opts):len(opts)], rpc.WithCodec(asIs(m.Codec)), byRoad(true))
}

// Call sends the message and waits for its reply, as the function Call does.
func (m Encoded) Call(ctx context.Context, to Ref, opts ...rpc.Option) (Encoded, error) {
	msg, with := m.wrap(opts)
	return Call(ctx, to, msg, with...)
}

// Tell sends the message one-way, and waits until it is in the actor's mailbox, as the function Tell does with rpc.Acked.
func (m Encoded) Tell(ctx context.Context, to Ref, opts ...rpc.Option) error {
	msg, with := m.wrap(opts)
	return Tell(ctx, to, msg, append(with, rpc.Acked())...)
}

// Submit sends the message as a job, as the function Submit does. What Redeem makes of the token's text, as a token for an
// Encoded, awaits the result.
func (m Encoded) Submit(ctx context.Context, to Ref, opts ...rpc.Option) (rpc.Token[Encoded], error) {
	msg, with := m.wrap(opts)
	return Submit(ctx, to, msg, with...)
}

// Stream opens the stream that the message asks for, and iterates over its items, as the function Stream does.
func (m Encoded) Stream(ctx context.Context, to Ref, opts ...rpc.Option) iter.Seq2[Encoded, error] {
	msg, with := m.wrap(opts)
	return Stream(ctx, to, msg, with...)
}
