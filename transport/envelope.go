package transport

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unsafe"
)

// Version is the wire version that this package speaks, and MinVersion is the oldest one
// that it understands.
const (
	Version    = 1
	MinVersion = 1
)

// Verb says what an envelope is for.
type Verb uint8

// The verbs. The numbers belong to the wire format and never change.
const (
	VerbOpen    Verb = 1  // client: open a session, or join the session Grant; Seq counts the opens
	VerbOpened  Verb = 2  // server: Grant is the session, Mark.Below its window; or Code says why there is none. Seq is that of the open
	VerbRequest Verb = 3  // client: run this once under (Grant, Seq)
	VerbReply   Verb = 4  // server: the outcome of request Seq
	VerbTell    Verb = 5  // client: a one-way message, with the number Seq in its session
	VerbAck     Verb = 6  // client: an ack mark; Body has all of its exceptions
	VerbCancel  Verb = 7  // client: request Seq is cancelled
	VerbProbe   Verb = 8  // client: what became of request Seq?
	VerbStatus  Verb = 9  // server: the answer to a probe; Code is a Status
	VerbPing    Verb = 10 // either: heartbeat; the receiver does not interpret Seq
	VerbPong    Verb = 11 // either: the answer to a ping, with the same Seq
	VerbResync  Verb = 12 // either: messages may have been lost, send yours again
	VerbBye     Verb = 13 // either: this node accepts no new requests; with a Body, its last word on the session Grant
	VerbChunk   Verb = 14 // either: a part of a large message; the link handles it, see Assembly
	VerbChunked Verb = 15 // either: the answer to a chunk; the link handles it too
	VerbTells   Verb = 16 // client: several one-way messages, the first with the number Seq; the link splits it, see Assembly.Deliver
	lastVerb         = VerbTells
)

var verbNames = [...]string{"", "open", "opened", "request", "reply", "tell", "ack", "cancel", "probe", "status", "ping", "pong", "resync", "bye", "chunk", "chunked", "tells"}

// String returns the verb's name in SPEC.md.
func (v Verb) String() string {
	if v == 0 || int(v) >= len(verbNames) {
		return fmt.Sprintf("verb(%d)", uint8(v))
	}
	return verbNames[v]
}

// bounded reports whether the soft limit of a send queue applies to the verb. Replies, for
// whose requests the peer was admitted, and messages that keep a link alive must not wait
// behind new work.
func (v Verb) bounded() bool { return v == VerbRequest || v == VerbTell }

// Flags of an envelope.
type Flags uint8

const (
	FlagAcked    Flags = 1 << 0 // request: the outcome is "accepted into the mailbox", not that of the handler
	FlagResend   Flags = 1 << 1 // request: an earlier copy was sent
	FlagNotRun   Flags = 1 << 2 // reply: the request provably did not run
	FlagRan      Flags = 1 << 3 // reply: the handler ran (with neither flag, that is unknown)
	FlagReceipt  Flags = 1 << 4 // request: it has no message; the outcome comes when all messages before it have left the mailbox
	FlagRecover  Flags = 1 << 5 // request: it was sent to an earlier start of the server; what became of it?
	FlagDurable  Flags = 1 << 6 // opened: later starts of this server answer requests with FlagRecover
	FlagReplayed Flags = 1 << 7 // reply: the outcome was recorded before this copy of the request came
	knownFlags         = FlagAcked | FlagResend | FlagNotRun | FlagRan | FlagReceipt | FlagRecover | FlagDurable | FlagReplayed
)

// The size of the fixed header, in bytes, and the tags of the options behind it.
const (
	headerSize    = 32
	tagSize       = 3
	tagGrant      = 1
	tagTarget     = 2
	tagSender     = 3
	tagTimeout    = 4
	tagSent       = 5
	tagTrace      = 6
	tagHeader     = 7
	tagExcept     = 8
	tagMessage    = 9
	tagUserCode   = 10
	tagRetryAfter = 11
	tagKey        = 12 | tagCritical
	tagAfter      = 13
	tagAge        = 14
	tagWaiting    = 15
	tagNumber     = 16 | tagCritical
	tagElsewhere  = 17
	tagOnce       = 18
	tagClass      = 19
	tagBehalf     = 21 | tagCritical
	tagCritical   = 0x80 // if an option with this bit is unknown, the envelope is refused
)

// Grant is the name of a session: 128 random bits that its server minted.
type Grant [16]byte

// Trace is a W3C trace context (https://www.w3.org/TR/trace-context, §3.2):
// 16 bytes trace id, 8 bytes parent id, 1 byte flags. The zero value means "none".
type Trace [25]byte

// IsZero reports whether t is the zero value. It is faster than a comparison.
func (t *Trace) IsZero() bool {
	ne := binary.NativeEndian
	return ne.Uint64(t[0:])|ne.Uint64(t[8:])|ne.Uint64(t[16:])|uint64(t[24]) == 0
}

// Header is an optional key with a value that travels beside a message.
type Header struct{ Key, Value string }

// Mark is an ack mark: the client needs nothing below Below any more, except the
// numbers in Except (RIFL, SOSP'15, §4: acknowledgement of results).
type Mark struct {
	Below  uint64
	Except []uint64
}

// Once names a request beyond sessions, at whatever node it is tried. Its client is the start of a
// node that the link is from.
type Once struct {
	Number uint64 // of the client's, which gives none to two requests; 0: the request has no such name
	Below  uint64 // the client needs no outcome of its requests to this target below this number
}

// The classes that the sender of a message may give it. The zero Class is the ordinary one.
const (
	ClassLow  Class = -1
	ClassHigh Class = 1
)

// Class says how much a message matters to its sender, beside others.
type Class int8

// byte is how a class is written; 0 is none.
func (c Class) byte() byte { return byte(2 + min(max(c, ClassLow), ClassHigh)) }

// classOf reads a class. One that is not known is the nearest that is.
func classOf(b byte) Class { return min(max(Class(min(b, 4))-2, ClassLow), ClassHigh) }

// Envelope is one message on the wire. Which fields are used depends on the Verb; SPEC.md
// has a table of them.
type Envelope struct {
	Verb       Verb
	Flags      Flags
	Codec      uint8         // id of the body's codec
	Code       uint16        // reply: error code, 0 for none; status: a Status
	Seq        uint64        // number of the request or tell in its session
	Mark       Mark          // ack mark
	TypeID     uint64        // id of the body's type, see the function TypeID
	Grant      Grant         // the session; zero where the link implies it
	Target     string        // name of an actor on the receiving node
	Sender     string        // address of an actor, empty for none
	Timeout    time.Duration // the time that was left when it was sent; 0 for no limit
	Sent       time.Time     // the sender's clock when it was sent; zero for none
	Trace      Trace
	Headers    []Header
	Class      Class         // request, tell: see Class
	Key        string        // request: the caller's own name for it, also outside of this session; empty for none
	After      uint64        // request: one-way messages up to this number must not run after it
	Number     uint64        // request with a Key: the key names an outbox, and this is the message's number in it; 0: the key names the request
	Once       Once          // request: its name beyond this session, see Once
	Behalf     string        // request: the principal on whose behalf it is sent; empty: that of the link
	Age        time.Duration // request with FlagRecover: time since it was made; 0 for unknown. Request with a Number: time since it may have been sent for the first time; 0: it never was
	Waiting    []uint64      // request: numbers of the waits that end with it, that of the sender first; empty if the sender does not wait
	Message    string        // reply: error text
	UserCode   string        // reply: error code that the application defined
	RetryAfter time.Duration // reply: how long not to try again; 0 for none
	Elsewhere  string        // reply: who can be asked instead; empty for nobody
	Body       []byte

	// Fence makes Send put the envelope behind everything that was sent before it, large
	// messages included. It is not sent.
	Fence bool

	// Cut says that the Body was dropped, because there was no room for it (see Holder). It is
	// not sent.
	Cut bool

	// Owned says that the memory of a received Body belongs to the Receiver. It is not sent.
	Owned bool
}

// Clone returns a copy that shares no memory with e.
func (e *Envelope) Clone() Envelope {
	c := *e
	c.Target, c.Sender, c.Key, c.Behalf = strings.Clone(e.Target), strings.Clone(e.Sender), strings.Clone(e.Key), strings.Clone(e.Behalf)
	c.Message, c.UserCode = strings.Clone(e.Message), strings.Clone(e.UserCode)
	c.Headers, c.Mark.Except, c.Body = CloneHeaders(e.Headers), slices.Clone(e.Mark.Except), bytes.Clone(e.Body)
	c.Waiting = slices.Clone(e.Waiting)
	return c
}

// CloneHeaders returns a copy that shares no memory with h.
func CloneHeaders(h []Header) []Header {
	c := slices.Clone(h)
	for i := range c {
		c[i] = Header{strings.Clone(h[i].Key), strings.Clone(h[i].Value)}
	}
	return c
}

// TypeID returns the 64-bit id of a type's name, its FNV-1a hash. In an envelope, zero means
// "no type". Two names with the same id cannot both be registered.
func TypeID(name string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(name) {
		h ^= uint64(name[i])
		h *= 1099511628211
	}
	return h
}

// Append appends the encoded envelope to dst. If a part of the envelope exceeds its limit,
// it returns dst unchanged and an error that wraps ErrTooLarge.
func (e *Envelope) Append(dst []byte) ([]byte, error) {
	if len(e.Target) > MaxTarget || len(e.Sender) > 2*MaxTarget || len(e.UserCode) > MaxTarget || len(e.Key) > MaxTarget || len(e.Behalf) > MaxTarget ||
		len(e.Headers) > MaxHeaders || len(e.Mark.Except) > MaxInlineExcept || len(e.Waiting) > MaxWaiting {
		return dst, fmt.Errorf("%w: address, header, mark or line of waits over its limit", ErrTooLarge)
	}
	start := len(dst)
	dst = append(dst, Version, byte(e.Verb), byte(e.Flags), e.Codec, 0, 0)
	dst = binary.BigEndian.AppendUint16(dst, e.Code)
	dst = binary.BigEndian.AppendUint64(dst, e.Seq)
	dst = binary.BigEndian.AppendUint64(dst, e.Mark.Below)
	dst = binary.BigEndian.AppendUint64(dst, e.TypeID)
	if e.Grant != (Grant{}) {
		dst = append(appendTag(dst, tagGrant, len(e.Grant)), e.Grant[:]...)
	}
	if e.Target != "" {
		dst = append(appendTag(dst, tagTarget, len(e.Target)), e.Target...)
	}
	if e.Sender != "" {
		dst = append(appendTag(dst, tagSender, len(e.Sender)), e.Sender...)
	}
	if e.Timeout > 0 {
		dst = binary.BigEndian.AppendUint64(appendTag(dst, tagTimeout, 8), uint64(e.Timeout))
	}
	if !e.Sent.IsZero() {
		dst = binary.BigEndian.AppendUint64(appendTag(dst, tagSent, 8), uint64(e.Sent.UnixNano()))
	}
	more := len(e.Headers) | len(e.Mark.Except) | len(e.Message) | len(e.UserCode) | len(e.Key) | len(e.Waiting) | len(e.Elsewhere) | len(e.Behalf)
	if more != 0 || e.RetryAfter > 0 || e.After > 0 || e.Age > 0 || e.Number > 0 || e.Once.Number > 0 || e.Class != 0 || !e.Trace.IsZero() {
		var err error
		if dst, err = e.appendMore(dst); err != nil {
			return dst[:start], err
		}
	}
	binary.BigEndian.PutUint16(dst[start+4:], uint16(len(dst)-start-headerSize))
	return append(dst, e.Body...), nil
}

// appendMore appends the options that few envelopes have. It is apart from Append, which runs on
// the stacks of many callers: the less of each stack it uses, the more of them stay in the cache.
func (e *Envelope) appendMore(dst []byte) ([]byte, error) {
	if !e.Trace.IsZero() {
		dst = append(appendTag(dst, tagTrace, len(e.Trace)), e.Trace[:]...)
	}
	headerBytes := 0
	for _, h := range e.Headers {
		if headerBytes += len(h.Key) + len(h.Value); headerBytes > MaxHeaderBytes || len(h.Key) > math.MaxUint8 {
			return dst, fmt.Errorf("%w: headers over %d bytes", ErrTooLarge, MaxHeaderBytes)
		}
		dst = append(appendTag(dst, tagHeader, 1+len(h.Key)+len(h.Value)), byte(len(h.Key)))
		dst = append(append(dst, h.Key...), h.Value...)
	}
	if n := len(e.Mark.Except); n > 0 {
		dst = AppendSeqBytes(appendTag(dst, tagExcept, 8*n), e.Mark.Except)
	}
	if e.Message != "" {
		m := e.Message[:min(len(e.Message), MaxHeaderBytes)]
		dst = append(appendTag(dst, tagMessage, len(m)), m...)
	}
	if e.UserCode != "" {
		dst = append(appendTag(dst, tagUserCode, len(e.UserCode)), e.UserCode...)
	}
	if e.RetryAfter > 0 {
		dst = binary.BigEndian.AppendUint64(appendTag(dst, tagRetryAfter, 8), uint64(e.RetryAfter))
	}
	if e.Key != "" {
		dst = append(appendTag(dst, tagKey, len(e.Key)), e.Key...)
	}
	if e.After > 0 {
		dst = binary.BigEndian.AppendUint64(appendTag(dst, tagAfter, 8), e.After)
	}
	if e.Age > 0 {
		dst = binary.BigEndian.AppendUint64(appendTag(dst, tagAge, 8), uint64(e.Age))
	}
	if e.Elsewhere != "" {
		m := e.Elsewhere[:min(len(e.Elsewhere), MaxElsewhere)]
		dst = append(appendTag(dst, tagElsewhere, len(m)), m...)
	}
	if n := len(e.Waiting); n > 0 {
		dst = AppendSeqBytes(appendTag(dst, tagWaiting, 8*n), e.Waiting)
	}
	if e.Number > 0 {
		dst = binary.BigEndian.AppendUint64(appendTag(dst, tagNumber, 8), e.Number)
	}
	if e.Once.Number > 0 {
		dst = binary.BigEndian.AppendUint64(appendTag(dst, tagOnce, 16), e.Once.Number)
		dst = binary.BigEndian.AppendUint64(dst, e.Once.Below)
	}
	if e.Class != 0 {
		dst = append(appendTag(dst, tagClass, 1), e.Class.byte())
	}
	if e.Behalf != "" {
		dst = append(appendTag(dst, tagBehalf, len(e.Behalf)), e.Behalf...)
	}
	return dst, nil
}

func appendTag(dst []byte, tag byte, n int) []byte {
	return append(dst, tag, byte(n>>8), byte(n))
}

// Parse decodes b, which must hold exactly one encoded envelope, into e. Body and the strings
// refer to b, so they are valid until b changes. Options with an unknown tag are skipped
// unless they are critical. An error wraps ErrProtocol or, for another wire version,
// ErrVersion.
func (e *Envelope) Parse(b []byte) error {
	*e = Envelope{Headers: e.Headers[:0], Mark: Mark{Except: e.Mark.Except[:0]}, Waiting: e.Waiting[:0]}
	if len(b) < headerSize {
		return fmt.Errorf("%w: envelope of %d bytes", ErrProtocol, len(b))
	}
	if b[0] < MinVersion || b[0] > Version {
		return fmt.Errorf("%w: envelope of version %d", ErrVersion, b[0])
	}
	e.Verb, e.Flags, e.Codec = Verb(b[1]), Flags(b[2])&knownFlags, b[3]
	if e.Verb == 0 || e.Verb > lastVerb {
		return fmt.Errorf("%w: unknown verb %d", ErrProtocol, b[1])
	}
	options := int(binary.BigEndian.Uint16(b[4:]))
	e.Code = binary.BigEndian.Uint16(b[6:])
	e.Seq = binary.BigEndian.Uint64(b[8:])
	e.Mark.Below = binary.BigEndian.Uint64(b[16:])
	e.TypeID = binary.BigEndian.Uint64(b[24:])
	if options > len(b)-headerSize {
		return fmt.Errorf("%w: options of %d bytes in an envelope of %d", ErrProtocol, options, len(b))
	}
	e.Body = b[headerSize+options:]
	return e.parseOptions(b[headerSize : headerSize+options])
}

func (e *Envelope) parseOptions(b []byte) error {
	headerBytes := 0
	for len(b) > 0 {
		if len(b) < 3 {
			return fmt.Errorf("%w: cut option", ErrProtocol)
		}
		tag, n := b[0], int(b[1])<<8|int(b[2])
		if n > len(b)-3 {
			return fmt.Errorf("%w: option %d of %d bytes, %d left", ErrProtocol, tag, n, len(b)-3)
		}
		v := b[3 : 3+n]
		b = b[3+n:]
		ok := true
		switch tag {
		case tagGrant:
			ok = copy(e.Grant[:], v) == len(e.Grant) && n == len(e.Grant)
		case tagTarget:
			e.Target, ok = text(v), n <= MaxTarget
		case tagSender:
			e.Sender, ok = text(v), n <= 2*MaxTarget
		case tagTimeout:
			e.Timeout, ok = duration(v)
		case tagSent:
			if ok = n == 8; ok {
				e.Sent = time.Unix(0, int64(binary.BigEndian.Uint64(v)))
			}
		case tagTrace:
			ok = copy(e.Trace[:], v) == len(e.Trace) && n == len(e.Trace)
		case tagHeader:
			headerBytes += n - 1
			if ok = n >= 1 && int(v[0]) < n && len(e.Headers) < MaxHeaders && headerBytes <= MaxHeaderBytes; ok {
				key := 1 + int(v[0])
				e.Headers = append(e.Headers, Header{Key: text(v[1:key]), Value: text(v[key:])})
			}
		case tagExcept:
			if ok = n%8 == 0 && n <= 8*MaxInlineExcept; ok {
				e.Mark.Except = AppendSeqs(e.Mark.Except[:0], v)
			}
		case tagMessage:
			e.Message, ok = text(v), n <= MaxHeaderBytes
		case tagUserCode:
			e.UserCode, ok = text(v), n <= MaxTarget
		case tagRetryAfter:
			e.RetryAfter, ok = duration(v)
		case tagElsewhere:
			e.Elsewhere, ok = text(v), n <= MaxElsewhere
		case tagKey:
			e.Key, ok = text(v), n <= MaxTarget
		case tagAfter:
			if ok = n == 8; ok {
				e.After = binary.BigEndian.Uint64(v)
			}
		case tagNumber:
			if ok = n == 8; ok {
				e.Number = binary.BigEndian.Uint64(v)
			}
		case tagOnce:
			if ok = n == 16; ok {
				e.Once = Once{binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:])}
			}
		case tagClass:
			if ok = n == 1; ok {
				e.Class = classOf(v[0])
			}
		case tagBehalf:
			e.Behalf, ok = text(v), n <= MaxTarget
		case tagAge:
			e.Age, ok = duration(v)
		case tagWaiting:
			if ok = n%8 == 0 && n <= 8*MaxWaiting; ok {
				e.Waiting = AppendSeqs(e.Waiting[:0], v)
			}
		default:
			ok = tag&tagCritical == 0
		}
		if !ok {
			return fmt.Errorf("%w: bad option %d of %d bytes", ErrProtocol, tag, n)
		}
	}
	return nil
}

// AppendSeqs appends the numbers that are encoded in b, with 8 bytes each. It ignores a rest
// of less than 8 bytes.
func AppendSeqs(dst []uint64, b []byte) []uint64 {
	for ; len(b) >= 8; b = b[8:] {
		dst = append(dst, binary.BigEndian.Uint64(b))
	}
	return dst
}

// AppendSeqBytes appends the encoding of seqs, with 8 bytes each. AppendSeqs decodes it.
func AppendSeqBytes(dst []byte, seqs []uint64) []byte {
	for _, s := range seqs {
		dst = binary.BigEndian.AppendUint64(dst, s)
	}
	return dst
}

// text returns v as a string without copying it. A caller that keeps the string beyond the
// next change of v must clone it.
func text(v []byte) string { return unsafe.String(unsafe.SliceData(v), len(v)) }

func duration(v []byte) (time.Duration, bool) {
	if len(v) != 8 {
		return 0, false
	}
	d := time.Duration(binary.BigEndian.Uint64(v))
	return d, d >= 0
}
