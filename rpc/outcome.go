package rpc

import (
	"encoding/binary"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/tandem-go/tandem/transport"
)

// outcome is what every copy of a request gets.
type outcome struct {
	err    *Error // nil for a reply
	typeID uint64
	codec  uint8
	body   []byte
}

// envelopes spares an allocation per reply: an Envelope handed to a Link escapes.
var envelopes = sync.Pool{New: func() any { return new(transport.Envelope) }}

// send sends the outcome, and returns where in the link's queue it is, if it got there.
func (o outcome) send(c *conn, seq uint64) (at uint64, sent bool) {
	e := envelopes.Get().(*transport.Envelope)
	o.fill(e, seq)
	at, sent = c.send(e)
	envelopes.Put(e)
	return at, sent
}

// fill makes e the reply that carries o.
func (o outcome) fill(e *transport.Envelope, seq uint64) {
	*e = transport.Envelope{} // and not all in one: that is made on the stack first, and copied
	e.Verb, e.Seq = transport.VerbReply, seq
	if o.err == nil {
		e.TypeID, e.Codec, e.Body = o.typeID, o.codec, o.body
		return
	}
	e.Code, e.Message, e.UserCode, e.RetryAfter = uint16(o.err.Code), Brief(o.err.Message), o.err.User, o.err.RetryAfter
	switch o.err.Verdict {
	case NotRun:
		e.Flags = transport.FlagNotRun
	case HasRun:
		e.Flags = transport.FlagRan
	}
}

// maxText is how many bytes of an error's text are kept, and cross the wire.
const maxText = 1 << 10

// Brief is a text for people, cut to what an error carries across the wire.
func Brief(text string) string {
	if len(text) <= maxText {
		return text
	}
	const more = "…"
	end := maxText - len(more)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return strings.Clone(text[:end]) + more
}

// short is the outcome as it is kept: of an error that is large, or has a cause, which may
// be, what the wire carries.
func (o outcome) short() outcome {
	if e := o.err; e != nil && (e.cause != nil || len(e.Message) > maxText) {
		o.err = &Error{Code: e.Code, Verdict: e.Verdict, Message: Brief(e.Message), User: e.User, Node: e.Node, RetryAfter: e.RetryAfter}
	}
	return o
}

// least is what is kept of an outcome for which there is no room.
func (o outcome) least() outcome {
	if o.err != nil {
		return outcome{err: &Error{Code: o.err.Code, Verdict: o.err.Verdict}}
	}
	return replyDropped()
}

// size is how many bytes the outcome takes beside its record.
func (o outcome) size() int {
	if o.err != nil {
		return len(o.err.Message) + len(o.err.User)
	}
	return len(o.body)
}

// refused reports that the outcome is that the handler provably did not run.
func (o outcome) refused() bool { return o.err != nil && o.err.Verdict == NotRun }

// bytes is the outcome as a store keeps it: the reply's envelope, without a number.
func (o outcome) bytes() []byte {
	e := envelopes.Get().(*transport.Envelope)
	defer envelopes.Put(e)
	o.fill(e, 0)
	b, err := e.Append(nil)
	if err != nil { // an application's error with a name that no wire takes
		outcome{err: Errorf(ReplyDropped, HasRun, "%v", err)}.fill(e, 0)
		b, _ = e.Append(nil)
	}
	return b
}

// parseOutcome is the inverse of bytes. The outcome refers to b. A record that cannot be
// read is an outcome that nobody knows.
func parseOutcome(b []byte) outcome {
	var e transport.Envelope
	if err := e.Parse(b); err != nil || e.Verb != transport.VerbReply {
		return outcome{err: Errorf(OutcomeUnknown, Unknown, "the record of the request cannot be read: %v", err)}
	}
	if err := errorOf(&e, ""); err != nil {
		return outcome{err: err}
	}
	return outcome{typeID: e.TypeID, codec: e.Codec, body: e.Body}
}

// packedHead is what a packed reply takes beside its body.
const packedHead = 1 + 1 + 8

// pack is the outcome as bytes, shorter than those of bytes where it is a reply.
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
