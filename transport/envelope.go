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

// Version is the wire version this package speaks; MinVersion is the oldest one
// it still understands.
const (
	Version    = 1
	MinVersion = 1
)

// Verb says what an envelope is for.
type Verb uint8

// The verbs. Numbers are wire format and never change.
const (
	VerbOpen    Verb = 1  // client: open a session, or join the one of Grant; the Seq-th open
	VerbOpened  Verb = 2  // server: the session's Grant, Mark.Below its window; or Code, why not. Seq is the open's
	VerbRequest Verb = 3  // client: run this once under (grant, Seq)
	VerbReply   Verb = 4  // server: the outcome of Seq
	VerbTell    Verb = 5  // client: one-way message, the Seq-th of its session
	VerbAck     Verb = 6  // client: Mark, with the whole set of exceptions in Body
	VerbCancel  Verb = 7  // client: Seq is given up
	VerbProbe   Verb = 8  // client: what became of Seq?
	VerbStatus  Verb = 9  // server: answer to a probe; Code is a Status
	VerbPing    Verb = 10 // either: heartbeat, Seq is an opaque stamp
	VerbPong    Verb = 11 // either: answer to a ping with the same Seq
	VerbResync  Verb = 12 // either: copies may have been lost on the way, send yours again
	VerbBye     Verb = 13 // either: this node takes no new requests; with a Body, its last word on the session of Grant
	VerbChunk   Verb = 14 // either: part of a large message; it ends at the link, see Assembly
	VerbChunked Verb = 15 // either: answer to a chunk; the same
	VerbTells   Verb = 16 // client: one-way messages from the Seq-th on; it ends at the link, see Assembly.Deliver
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

// bounded reports whether the verb counts against the soft limit of a send queue.
// What a peer has already been admitted for (replies) and what keeps a link alive
// must not queue behind new work.
func (v Verb) bounded() bool { return v == VerbRequest || v == VerbTell }

// Flags of an envelope.
type Flags uint8

const (
	FlagAcked   Flags = 1 << 0 // request: the outcome is "accepted into the mailbox", not the handler's
	FlagResend  Flags = 1 << 1 // request: an earlier copy was sent
	FlagNotRun  Flags = 1 << 2 // reply: provably not run
	FlagRan     Flags = 1 << 3 // reply: the handler ran (neither flag: unknown)
	FlagReceipt Flags = 1 << 4 // request: no message; the outcome comes when all before it has left the mailbox
	FlagRecover Flags = 1 << 5 // request: sent to an earlier start of the server; what became of it?
	FlagDurable Flags = 1 << 6 // opened: a later start of this server can be asked so
	knownFlags        = FlagAcked | FlagResend | FlagNotRun | FlagRan | FlagReceipt | FlagRecover | FlagDurable
)

// Size of the fixed header, and the tags of the options behind it.
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
	tagCritical   = 0x80 // an option with this bit must be understood or the envelope is refused
)

// Grant is the name of a session: 128 random bits that its server minted.
type Grant [16]byte

// Trace is a W3C trace context (https://www.w3.org/TR/trace-context, §3.2):
// 16 bytes trace id, 8 bytes parent id, 1 byte flags. The zero value is "none".
type Trace [25]byte

// IsZero reports whether t is none. It is quicker than a comparison.
func (t *Trace) IsZero() bool {
	ne := binary.NativeEndian
	return ne.Uint64(t[0:])|ne.Uint64(t[8:])|ne.Uint64(t[16:])|uint64(t[24]) == 0
}

// Header is an optional key with a value that travels beside a message.
type Header struct{ Key, Value string }

// Mark is an ack mark: the client needs nothing below Below any more, save the
// numbers in Except (RIFL, SOSP'15, §4: acknowledgement of results).
type Mark struct {
	Below  uint64
	Except []uint64
}

// Envelope is one message on the wire. Which fields mean something depends on
// Verb; SPEC.md has the table.
type Envelope struct {
	Verb       Verb
	Flags      Flags
	Codec      uint8         // body codec's id
	Code       uint16        // reply: error code, 0 for none; status: a Status
	Seq        uint64        // number of the request or tell in its session
	Mark       Mark          // ack mark
	TypeID     uint64        // id of the body's type, see TypeID
	Grant      Grant         // session; zero where the link implies it
	Target     string        // actor's name on the receiving node
	Sender     string        // actor's address, empty for none
	Timeout    time.Duration // time that remained when it was sent; 0 for none
	Sent       time.Time     // sender's clock when it was sent; zero for none
	Trace      Trace
	Headers    []Header
	Key        string        // request: the caller's own name for it, beyond this session; empty for none
	After      uint64        // request: one-way messages up to that number do not run after it
	Age        time.Duration // request, with FlagRecover: since it was made; 0 for unknown
	Waiting    []uint64      // request: numbers of the waits that end with it, the sender's own first; empty if the sender goes on
	Message    string        // reply: error text
	UserCode   string        // reply: error code that the application defined
	RetryAfter time.Duration // reply: do not try again earlier; 0 for none
	Body       []byte

	// Fence has Send put the envelope behind all that was sent before it, large messages
	// included. It is no part of the wire.
	Fence bool

	// Cut says that the Body did not come, because there was no room for it (Holder). It is no
	// part of the wire.
	Cut bool

	// Owned says that the memory of a received Body is the Receiver's own. It is no part
	// of the wire.
	Owned bool
}

// Clone returns a copy that shares no memory with e.
func (e *Envelope) Clone() Envelope {
	c := *e
	c.Target, c.Sender, c.Key = strings.Clone(e.Target), strings.Clone(e.Sender), strings.Clone(e.Key)
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

// TypeID returns the 64-bit id of a registered type name: FNV-1a. Zero means
// "no type" and is never returned for a name that any program registers (two names
// with one id are refused at registration).
func TypeID(name string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(name) {
		h ^= uint64(name[i])
		h *= 1099511628211
	}
	return h
}

// Append appends the encoded envelope to dst. It returns an error wrapping
// ErrTooLarge, and dst unchanged, if a part of the envelope is over its limit.
func (e *Envelope) Append(dst []byte) ([]byte, error) {
	if len(e.Target) > MaxTarget || len(e.Sender) > 2*MaxTarget || len(e.UserCode) > MaxTarget || len(e.Key) > MaxTarget ||
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
	if !e.Trace.IsZero() {
		dst = append(appendTag(dst, tagTrace, len(e.Trace)), e.Trace[:]...)
	}
	headerBytes := 0
	for _, h := range e.Headers {
		if headerBytes += len(h.Key) + len(h.Value); headerBytes > MaxHeaderBytes || len(h.Key) > math.MaxUint8 {
			return dst[:start], fmt.Errorf("%w: headers over %d bytes", ErrTooLarge, MaxHeaderBytes)
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
	if n := len(e.Waiting); n > 0 {
		dst = AppendSeqBytes(appendTag(dst, tagWaiting, 8*n), e.Waiting)
	}
	binary.BigEndian.PutUint16(dst[start+4:], uint16(len(dst)-start-headerSize))
	return append(dst, e.Body...), nil
}

func appendTag(dst []byte, tag byte, n int) []byte {
	return append(dst, tag, byte(n>>8), byte(n))
}

// Parse fills e from b, which must hold exactly one encoded envelope. Body and the
// strings refer to b, so they are good until b changes. Options with
// an unknown tag are skipped unless they are marked critical. An error wraps
// ErrProtocol or, for another wire version, ErrVersion.
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
		case tagKey:
			e.Key, ok = text(v), n <= MaxTarget
		case tagAfter:
			if ok = n == 8; ok {
				e.After = binary.BigEndian.Uint64(v)
			}
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

// AppendSeqs appends the 8-byte numbers that b consists of; a rest is ignored.
func AppendSeqs(dst []uint64, b []byte) []uint64 {
	for ; len(b) >= 8; b = b[8:] {
		dst = append(dst, binary.BigEndian.Uint64(b))
	}
	return dst
}

// AppendSeqBytes appends numbers as 8 bytes each: the inverse of AppendSeqs.
func AppendSeqBytes(dst []byte, seqs []uint64) []byte {
	for _, s := range seqs {
		dst = binary.BigEndian.AppendUint64(dst, s)
	}
	return dst
}

// text views v as a string without copying: whoever keeps it longer than the bytes
// behind it stay clones it.
func text(v []byte) string { return unsafe.String(unsafe.SliceData(v), len(v)) }

func duration(v []byte) (time.Duration, bool) {
	if len(v) != 8 {
		return 0, false
	}
	d := time.Duration(binary.BigEndian.Uint64(v))
	return d, d >= 0
}
