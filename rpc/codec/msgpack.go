package codec

import (
	"encoding"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// Msgpack returns the codec of id 1. Its bytes are those of msgpack.Marshal; struct
// tags and the interfaces by which a type encodes itself are those of
// github.com/vmihailenco/msgpack/v5.
//
// It refuses with ErrUnsupported channels, functions, complex numbers, uintptr, structs
// that embed themselves, and fields tagged "intern". Extensions other than times must
// read their payload as bytes, and may not be empty. For a struct type that is embedded
// by pointer the library keeps one goroutine until the process ends; if such a type is
// not exported, its fields cannot be decoded.
func Msgpack(l Limits) Codec {
	l = l.withDefaults()
	return &msgpackCodec{lim: l, plans: plans{format: msgpackFormat(), lim: l}}
}

func msgpackFormat() *format {
	return &format{
		tag:    "msgpack",
		growth: 2, // a slice is made, and then appended to an empty one
		encodes: []reflect.Type{
			reflect.TypeFor[msgpack.CustomEncoder](), reflect.TypeFor[msgpack.Marshaler](),
			reflect.TypeFor[encoding.BinaryMarshaler](), reflect.TypeFor[encoding.TextMarshaler](),
		},
		decodes: []reflect.Type{
			reflect.TypeFor[msgpack.CustomDecoder](), reflect.TypeFor[msgpack.Unmarshaler](),
			reflect.TypeFor[encoding.BinaryUnmarshaler](), reflect.TypeFor[encoding.TextUnmarshaler](),
		},
		known:  []reflect.Type{reflect.TypeFor[time.Time]()},
		arrays: true,
		refused: []reflect.Kind{
			reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128,
			reflect.Uintptr, reflect.UnsafePointer,
		},
	}
}

type msgpackCodec struct {
	lim   Limits
	plans plans
	encs  sync.Pool // of *encoder
	decs  sync.Pool // of *decoder
}

func (c *msgpackCodec) ID() uint8    { return IDMsgpack }
func (c *msgpackCodec) Name() string { return "msgpack" }

func (c *msgpackCodec) Append(dst []byte, v any) ([]byte, error) {
	if out, ok := appendScalar(dst, v); ok {
		if err := c.lim.checkBody(len(out) - len(dst)); err != nil {
			return dst, err
		}
		return out, nil
	}
	p := c.plans.of(reflect.TypeOf(v))
	switch {
	case p.err != nil:
		return dst, p.err
	case p.empty:
		return append(dst, 0x80), nil
	}

	e, _ := c.encs.Get().(*encoder)
	if e == nil {
		e = &encoder{enc: msgpack.NewEncoder(nil)}
	}
	e.out = sink{b: dst, start: len(dst), next: len(dst) + firstLook, lim: c.lim}
	err := e.encode(p.addressable(v))
	out := e.out.b
	if err == nil {
		err = c.lim.checkBody(len(out) - len(dst))
	}
	if err == nil && !p.flat {
		e.seen.reset()
		if err = scan(out[len(dst):], c.lim, false, &e.seen); err == nil {
			err = p.check(&e.seen, c.lim)
		}
	}
	e.out = sink{}
	if err != nil {
		return dst, err // and leave the encoder to the collector: its state is unknown
	}
	if len(out)-len(dst) <= keepBody {
		c.encs.Put(e)
	}
	return out, nil
}

// An encoder is a msgpack encoder with the sink it writes to.
type encoder struct {
	enc  *msgpack.Encoder
	out  sink
	seen shape
}

func (e *encoder) encode(v any) error {
	err := guard(ErrUnsupported, func() error {
		e.enc.Reset(&e.out)
		return e.enc.Encode(v)
	})
	if e.out.err != nil {
		return e.out.err
	}
	return err
}

// firstLook is the length at which a sink first looks at what it was given.
const firstLook = 64 << 10

// A sink appends to a slice. Whenever that has doubled it checks the limits, so that a
// value that contains itself ends in ErrLimit, and not in an overflow of the stack.
type sink struct {
	b     []byte
	start int // of the body in b
	next  int // length of b at which to look again
	lim   Limits
	err   error // the limit that it met; for good
}

func (s *sink) Write(p []byte) (int, error) {
	s.b = append(s.b, p...)
	if len(s.b) > s.next {
		return len(p), s.look()
	}
	return len(p), nil
}

func (s *sink) WriteByte(c byte) error {
	s.b = append(s.b, c)
	if len(s.b) > s.next {
		return s.look()
	}
	return nil
}

func (s *sink) look() error {
	n := len(s.b) - s.start
	s.next = s.start + min(2*n, s.lim.Bytes)
	if s.err == nil {
		s.err = s.lim.checkBody(n)
	}
	if s.err == nil {
		var seen shape
		if err := scan(s.b[s.start:], s.lim, true, &seen); errors.Is(err, ErrLimit) {
			s.err = err
		}
	}
	return s.err
}

func (c *msgpackCodec) Decode(body []byte, v any) error {
	if err := c.lim.checkBody(len(body)); err != nil {
		return err
	}
	if decodeScalar(body, v) {
		return nil
	}
	target, err := targetOf(v)
	if err != nil {
		return err
	}
	p := c.plans.of(target.Type().Elem())
	if p.err != nil {
		return p.err
	}

	d, _ := c.decs.Get().(*decoder)
	if d == nil {
		d = &decoder{dec: msgpack.NewDecoder(nil)}
	}
	d.seen.reset()
	if err = scan(body, c.lim, false, &d.seen); err == nil {
		err = p.check(&d.seen, c.lim)
	}
	if err == nil {
		if err = d.decode(body, target.Interface()); err != nil {
			return err // and leave the decoder to the collector: its state is unknown
		}
	}
	if len(body) <= keepBody {
		c.decs.Put(d)
	}
	return err
}

// targetOf returns the pointer to decode into. An interface that holds a pointer stands
// for it; one that holds anything else is emptied.
func targetOf(v any) (reflect.Value, error) {
	for range maxPointers {
		p := reflect.ValueOf(v)
		if p.Kind() != reflect.Pointer || p.IsNil() {
			return p, fmt.Errorf("%w: cannot decode into %T, want a pointer that is not nil", ErrUnsupported, v)
		}
		held, ok := v.(*any)
		if !ok || *held == nil {
			return p, nil
		}
		if q := reflect.ValueOf(*held); q.Kind() != reflect.Pointer || q.IsNil() {
			*held = nil
			return p, nil
		}
		v = *held
	}
	return reflect.Value{}, fmt.Errorf("%w: interfaces nested in the target", ErrUnsupported)
}

// keepBody is the longest body after which an encoder or decoder is kept: they hold
// buffers of that order.
const keepBody = 64 << 10

// A decoder is a msgpack decoder with the reader it reads from.
type decoder struct {
	dec  *msgpack.Decoder
	in   reader
	seen shape
}

// decode decodes a body that scan has passed, with d.seen its shape.
func (d *decoder) decode(body []byte, v any) error {
	d.in = reader{b: body, exts: d.seen.exts}
	err := guard(ErrMalformed, func() error {
		d.dec.Reset(&d.in)
		d.dec.DisableAllocLimit(true) // scan has checked every length
		return d.dec.Decode(v)
	})
	rest := len(body) - d.in.at
	d.in = reader{}
	if err == nil && rest != 0 {
		return fmt.Errorf("%w: %d bytes not decoded", ErrMalformed, rest)
	}
	return err
}

var errInExtension = errors.New("codec: an extension where another value was wanted")

// A reader gives a body to a msgpack decoder, and keeps it in step with the scan.
//
// Where a map is wanted, the decoder skips the header of an extension and takes the
// extension's payload for the header of a map, of a length that no scan has checked:
// eight bytes decoded into a map[string]any ask for 2³² entries. It reads headers byte
// by byte and payloads at once, so a single byte is never given from a payload.
type reader struct {
	b    []byte
	at   int
	exts []ext // those that end after at, and perhaps some before
}

func (r *reader) Read(p []byte) (int, error) {
	if r.at >= len(r.b) {
		return 0, io.EOF
	}
	n := copy(p, r.b[r.at:])
	r.at += n
	return n, nil
}

func (r *reader) ReadByte() (byte, error) {
	if r.at >= len(r.b) {
		return 0, io.EOF
	}
	for len(r.exts) > 0 && r.exts[0].start <= r.at {
		if r.at < r.exts[0].end {
			return 0, errInExtension
		}
		r.exts = r.exts[1:]
	}
	c := r.b[r.at]
	r.at++
	return c, nil
}

func (r *reader) UnreadByte() error {
	if r.at == 0 {
		return errors.New("codec: nothing to unread")
	}
	r.at--
	return nil
}
