// Package codec turns message values into bodies and back.
//
// Three codecs come with it: msgpack, the default; JSON, so that other languages and
// command line tools can talk to an actor; and raw bytes. A [Set] finds one by the id
// that an envelope carries. A fourth, [Compact], is msgpack without the names of fields, for two
// ends that know that they have the same [Schema] of a type.
//
//	c := codec.Msgpack(codec.Limits{})
//	body, err := c.Append(nil, Deposit{Amount: 5})
//	var m Deposit
//	err = c.Decode(body, &m)
//
// The promise: whatever the body, Decode ends with a value or an error. It does not
// panic, hang, overflow the stack, or allocate beyond what [Limits] state.
//
// What it cannot promise: a type that decodes itself (msgpack.CustomDecoder,
// json.Unmarshaler, encoding.BinaryUnmarshaler and the like) answers for its own
// allocations, and a target that already holds interface values may be given
// allocations that its type does not show. Decode into fresh values.
//
// # How msgpack works, and what its parts are worth
//
// A type is compiled into one tree of nodes (node.go), which one encoder (encode.go) and one
// decoder (decode.go) walk. What is not compiled is left to github.com/vmihailenco/msgpack
// (library.go). Which types can be carried, and how much memory their values take, is found
// out by walker.go and kept in a plan (plan.go). Tests compare the compiled form with the
// library on types and values made at random (TestRandomTypesAgree).
//
// Each part has to be worth its lines. "Without it" is the library in place of the compiled
// form, and reflection in place of maps by their Go type; "there and back" is an Append and
// a Decode, and the last column says how many more of them a second are made per 100 lines:
//
//	part                       lines  value            there and back  without it  ops/s per 100 lines
//	the compiled form          1,500  5 mixed fields           140 ns      700 ns         0.4 million
//	maps of strings (maps.go)     60  struct with map          290 ns      590 ns         2.9 million
//	interfaces (generic.go)      100  map[string]any           220 ns      475 ns         2.4 million
//	plan.safe: short bodies        5  5 mixed fields           140 ns      250 ns          63 million
//	  are not scanned
//	plans.recent: a cache         20  5 mixed fields           140 ns      170 ns           6 million
//	fieldNode.bare: scalars in    10  5 mixed fields           140 ns      160 ns           9 million
//	  structs take fewer calls
//	fieldNode.lead: the head of    4  5 mixed fields           140 ns      141 ns           1 million
//	  a map and its first key
//	plan.bare: scalars alone       8  int                       15 ns       29 ns         400 million
//	  need no encoder or decoder
//
// Without the compiled form a request over TCP takes 1.2 times the CPU with 64 callers, and a
// one-way message 2 times (bench: tcp-ask-64, tcp-tell-1).
package codec

import (
	"errors"
	"fmt"
	"math"
)

// Ids of the codecs of this package. They are wire format and never change.
// Codecs of a user's own take ids from [FirstUserID] up.
const (
	IDMsgpack   uint8 = 1
	IDJSON      uint8 = 2
	IDRaw       uint8 = 3
	IDCompact   uint8 = 4
	FirstUserID uint8 = 64
)

// Errors of this package, to be tested with errors.Is.
var (
	// ErrMalformed: the body is not what the codec's format, or the target type, asks for.
	ErrMalformed = errors.New("codec: malformed body")
	// ErrLimit: the body, or the value, goes beyond the codec's Limits.
	ErrLimit = errors.New("codec: limit exceeded")
	// ErrUnsupported: the codec cannot carry this type of value.
	ErrUnsupported = errors.New("codec: unsupported")
)

// A Codec turns message values into bodies and back. It keeps no state between calls,
// and all its methods may be called concurrently.
type Codec interface {
	// ID is the codec's number on the wire.
	ID() uint8

	// Name is the codec's name for people.
	Name() string

	// Append appends the encoding of v to dst and returns the longer slice, which
	// may share dst's array. It must not keep v, whose memory is used again. It refuses
	// with ErrLimit what a Decode under the same limits would refuse for its size, its
	// depth, its number of elements, or the memory that it takes.
	// If err is not nil, the result is dst as it was given.
	Append(dst []byte, v any) ([]byte, error)

	// Decode stores the value that body encodes in what v points to; v must be a
	// pointer that is not nil. The whole of body must be one value. Nothing of
	// body is kept or aliased. Memory that *v already holds may be reused.
	// If err is not nil, *v may be partly written.
	Decode(body []byte, v any) error
}

// Limits bound what a body may hold. A field that is zero or less takes its default.
type Limits struct {
	// Depth is how deep arrays and maps may nest: 32.
	Depth int
	// Elements is how many values all arrays and maps of a body may hold together,
	// a map's key and value counting as two. By default there is no such limit: what
	// counts is the memory that they take, see Bytes.
	Elements int
	// Bytes bounds, give or take a sixteenth, an upper estimate of what decoding a body
	// allocates: 16 MiB, and as much again as the body is longer than 1 MiB. So a body
	// takes little more memory than its sender has filled itself: a slice of int64 may be
	// as long as Body allows, one of a million small maps is refused.
	Bytes int
	// Body bounds the length of a body. Its default is Bytes where that is given, else
	// 64 MiB, and 64 KiB for what stands around the data.
	Body int
}

const (
	defaultDepth = 32
	defaultBytes = 16 << 20
	defaultBody  = 64<<20 + 64<<10
	bodyCounted  = 1 << 20

	// maxCount keeps the counters of a scan within an int32.
	maxCount = math.MaxInt32 / 2
)

// WithDefaults returns l with the defaults in place of what is zero or less.
func (l Limits) WithDefaults() Limits {
	if l.Depth <= 0 {
		l.Depth = defaultDepth
	}
	if l.Elements <= 0 {
		l.Elements = maxCount
	}
	if l.Body <= 0 {
		if l.Body = l.Bytes; l.Bytes <= 0 {
			l.Body = defaultBody
		}
	}
	if l.Bytes <= 0 {
		l.Bytes = defaultBytes
	}
	l.Elements = min(l.Elements, maxCount)
	l.Body = min(l.Body, math.MaxInt/2)
	return l
}

// checkBody refuses a body of n bytes that is over the limit.
func (l Limits) checkBody(n int) error {
	if n > l.Body {
		return fmt.Errorf("%w: body of %d bytes, limit %d", ErrLimit, n, l.Body)
	}
	return nil
}

// A Set looks codecs up by id. It is immutable, and safe for concurrent use.
type Set struct{ byID [256]Codec }

// NewSet returns a set of the given codecs. Two codecs of one id, or a codec of id 0,
// are an error.
func NewSet(codecs ...Codec) (*Set, error) {
	s := new(Set)
	for _, c := range codecs {
		id := c.ID()
		if id == 0 {
			return nil, fmt.Errorf("codec: %s has id 0, which stands for no codec", c.Name())
		}
		if other := s.byID[id]; other != nil {
			return nil, fmt.Errorf("codec: %s and %s share id %d", other.Name(), c.Name(), id)
		}
		s.byID[id] = c
	}
	return s, nil
}

// ByID returns the codec of that id, or an error that wraps ErrUnsupported.
func (s *Set) ByID(id uint8) (Codec, error) {
	if c := s.byID[id]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("%w: no codec has id %d", ErrUnsupported, id)
}

// guard calls into a library or into a method of a user's type. Its errors, and its
// panics, come back as errors that wrap kind.
func guard(kind error, fn func() error) (err error) {
	defer recovered(&err, kind)
	if err := fn(); err != nil {
		return fmt.Errorf("%w: %w", kind, err)
	}
	return nil
}

// recovered is to be deferred: it makes a panic an error, which wraps kind unless it is a
// failure.
func recovered(err *error, kind error) {
	switch p := recover().(type) {
	case nil:
	case failure:
		*err = p.err
	default:
		*err = &Panic{kind, p}
	}
}

// Panic is the error of a value whose own methods, or whose codec, panicked.
type Panic struct {
	Kind  error // ErrMalformed or ErrUnsupported
	Value any
}

// Error says what the panic said.
func (p *Panic) Error() string { return fmt.Sprintf("%v: panic: %v", p.Kind, p.Value) }

// Unwrap returns Kind.
func (p *Panic) Unwrap() error { return p.Kind }

// Guarded returns c with a panic of its methods made an error that wraps a [Panic]. Codecs
// of this package are so already, and come back as they are.
func Guarded(c Codec) Codec {
	switch c.(type) {
	case *msgpackCodec, *compactCodec, *jsonCodec, rawCodec, guarded:
		return c
	}
	return guarded{c}
}

type guarded struct{ Codec }

// Append implements Codec.
func (g guarded) Append(dst []byte, v any) (body []byte, err error) {
	defer func() {
		if err != nil {
			body = dst
		}
	}()
	defer recovered(&err, ErrUnsupported)
	return g.Codec.Append(dst, v)
}

// Decode implements Codec.
func (g guarded) Decode(body []byte, v any) (err error) {
	defer recovered(&err, ErrMalformed)
	return g.Codec.Decode(body, v)
}
