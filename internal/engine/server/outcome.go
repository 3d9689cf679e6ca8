package server

import (
	"encoding/binary"
	"errors"
	"sync"

	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// outcome is the answer that every copy of a request gets.
type outcome struct {
	err    *rpc.Error // nil for a reply
	typeID uint64
	codec  uint8
	stored bool // it is sent again, or is that of a request that ran earlier; bytes and pack do not keep this
	body   []byte
}

// envelopes avoids an allocation for each reply, because an Envelope that is passed to a Link
// escapes to the heap.
var envelopes = sync.Pool{New: func() any { return new(transport.Envelope) }}

// send sends the outcome. It returns where in the link's queue it is, and whether it is there.
// If the link does not take a reply because it is too large, the error ReplyDropped is sent
// instead. packed is the body in compressed form, or nil. free says that the caller holds no lock.
func (o outcome) send(c *Link, seq uint64, packed *transport.Packed, free bool) (at uint64, sent bool) {
	e := envelopes.Get().(*transport.Envelope)
	o.fill(e, seq)
	e.Packed = packed
	var err error
	if free {
		at, err = c.Hand(e)
	} else {
		at, err = c.Post(e)
	}
	e.Packed = nil
	envelopes.Put(e)
	if o.err == nil && (errors.Is(err, transport.ErrTooLarge) || errors.Is(err, transport.ErrFull)) {
		c.refuse(seq, rpc.Errorf(rpc.ReplyDropped, rpc.HasRun, "%v", err))
	}
	return at, err == nil
}

// fill makes e the envelope of a reply that carries o.
func (o outcome) fill(e *transport.Envelope, seq uint64) {
	*e = transport.Envelope{} // the fields are set one by one, because a full literal would be built on the stack and copied
	e.Verb, e.Seq = transport.VerbReply, seq
	if o.stored && !o.refused() {
		e.Flags = transport.FlagReplayed
	}
	if o.err == nil {
		e.TypeID, e.Codec, e.Body = o.typeID, o.codec, o.body
		return
	}
	e.Code, e.Message, e.UserCode, e.RetryAfter, e.Elsewhere = uint16(o.err.Code), wire.Truncate(o.err.Message), o.err.User, o.err.RetryAfter, o.err.Elsewhere
	switch o.err.Verdict {
	case rpc.NotRun:
		e.Flags |= transport.FlagNotRun
	case rpc.HasRun:
		e.Flags |= transport.FlagRan
	}
}

// again returns the outcome as it is sent to those who did not see it being decided.
func (o outcome) again() outcome {
	o.stored = true
	return o
}

// short returns the outcome as it is kept. An error that is long, or that has a cause, which
// may be large, is reduced to what the wire carries.
func (o outcome) short() outcome {
	if e := o.err; e != nil && (errors.Unwrap(e) != nil || len(e.Message) > wire.MaxText) {
		o.err = &rpc.Error{Code: e.Code, Verdict: e.Verdict, Message: wire.Truncate(e.Message), User: e.User, Node: e.Node, RetryAfter: e.RetryAfter, Elsewhere: e.Elsewhere}
	}
	return o
}

// minimal returns what is kept of an outcome for which there is no room.
func (o outcome) minimal() outcome {
	if o.err != nil {
		return outcome{err: &rpc.Error{Code: o.err.Code, Verdict: o.err.Verdict}}
	}
	return replyDropped()
}

// size returns how many bytes the outcome takes beside its record.
func (o outcome) size() int {
	if o.err != nil {
		return len(o.err.Message) + len(o.err.User) + len(o.err.Elsewhere)
	}
	return len(o.body)
}

// refused reports whether the outcome says that the handler certainly did not run.
func (o outcome) refused() bool { return o.err != nil && o.err.Verdict == rpc.NotRun }

// bytes returns the outcome as a store keeps it: the reply's envelope, without a number.
func (o outcome) bytes() []byte {
	e := envelopes.Get().(*transport.Envelope)
	defer envelopes.Put(e)
	o.fill(e, 0)
	b, err := e.Append(nil)
	if err != nil { // an application's error whose name does not fit into an envelope
		outcome{err: rpc.Errorf(rpc.ReplyDropped, rpc.HasRun, "%v", err)}.fill(e, 0)
		b, _ = e.Append(nil)
	}
	return b
}

// parseOutcome is the inverse of bytes. The outcome refers to b. If b cannot be read, the
// outcome is an OutcomeUnknown error.
func parseOutcome(b []byte) outcome {
	var e transport.Envelope
	if err := e.Parse(b); err != nil || e.Verb != transport.VerbReply {
		return outcome{err: rpc.Errorf(rpc.OutcomeUnknown, rpc.Unknown, "the record of the request cannot be read: %v", err)}
	}
	if err := wire.ErrorOf(&e, ""); err != nil {
		return outcome{err: err}
	}
	return outcome{typeID: e.TypeID, codec: e.Codec, body: e.Body}
}

// packedHead is how many bytes a packed reply takes beside its body.
const packedHead = 1 + 1 + 8

// pack returns the outcome in another form, which is shorter than that of bytes for a reply.
func (o outcome) pack() []byte {
	if o.err != nil {
		return append([]byte{1}, o.bytes()...)
	}
	b := append(make([]byte, 0, packedHead+len(o.body)), 0, o.codec)
	return append(binary.BigEndian.AppendUint64(b, o.typeID), o.body...)
}

// unpackOutcome is the inverse of pack. The outcome refers to b.
func unpackOutcome(b []byte) outcome {
	if b[0] != 0 {
		return parseOutcome(b[1:])
	}
	return outcome{codec: b[1], typeID: binary.BigEndian.Uint64(b[2:]), body: b[packedHead:]}
}
