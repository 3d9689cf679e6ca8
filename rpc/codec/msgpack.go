package codec

import (
	"encoding"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync"
	"time"
	"unsafe"

	"github.com/vmihailenco/msgpack/v5"
)

// Msgpack returns the codec of id 1. Its bytes are those of msgpack.Marshal, but that a struct
// whose fields have the names of others is not embedded, and sent as a field; struct
// tags and the interfaces by which a type encodes itself are those of
// github.com/vmihailenco/msgpack/v5.
//
// It refuses with ErrUnsupported what would arrive as something else, or not at all:
// channels, functions, complex numbers, uintptr, structs that embed themselves, structs of
// which no field is exported (such as sync.Map or bytes.Buffer), interfaces with methods other
// than error, types that encode themselves and do not decode themselves in the same way, and
// fields tagged "intern". The error names the field. In an interface a map must have keys
// that are strings, and what it holds arrives as any does: a struct as a map[string]any.
//
// Equal values have equal bytes: the entries of maps are sorted, save by types that encode
// themselves. An integer that its target cannot hold is ErrMalformed. A time.Time is sent as
// an instant, and arrives in UTC.
//
// Extensions other than times must read their payload as bytes, and may not be empty. For a
// struct type that is embedded by pointer the library keeps one goroutine until the process
// ends; if such a type is not exported, its fields cannot be decoded.
//
// For most types the codec compiles an encoder and a decoder of its own when it first
// meets them. Functions that a program gives the library for a type, by msgpack.Register
// and the like, must be there by then, and encode the zero value otherwise than the
// library would; else they are not called.
func Msgpack(l Limits) Codec {
	l = l.withDefaults()
	c := &msgpackCodec{lim: l, plans: plans{format: msgpackFormat(), lim: l}}
	c.plans.compile = c.compile
	return c
}

// libraryGrowth is the growth of slices that the library decodes: one is made, and then
// appended to an empty one.
const libraryGrowth = 16

func msgpackFormat() *format {
	return &format{
		tag:    "msgpack",
		growth: 9, // a slice is made at once, and what it takes is rounded up
		// In the order in which the library looks for them; text is the last.
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

// Check returns why values of type t cannot be carried, or nil: see Append's ErrUnsupported.
func (c *msgpackCodec) Check(t reflect.Type) error { return c.plans.check(t) }

func (c *msgpackCodec) Append(dst []byte, v any) ([]byte, error) {
	if out, ok := appendScalar(dst, v); ok {
		if err := c.lim.checkBody(len(out) - len(dst)); err != nil {
			return dst, err
		}
		return out, nil
	}
	p := c.plans.ofValue(v)
	switch {
	case p.err != nil:
		return dst, p.err
	case p.empty:
		return append(dst, 0x80), nil
	case p.quick:
		out, err := p.appendQuick(dst, v)
		if err == nil {
			err = c.lim.checkBody(len(out) - len(dst))
		}
		if err != nil {
			return dst, err
		}
		return out, nil
	}

	e, _ := c.encs.Get().(*encoder)
	if e == nil {
		e = newEncoder(c.lim)
	}
	out, err := e.append(dst, v, p)
	if err == nil {
		err = c.lim.checkBody(len(out) - len(dst))
	}
	if err == nil && !p.flat {
		e.seen.reset()
		if err = scan(out[len(dst):], c.lim, false, &e.seen); err == nil {
			err = p.check(&e.seen, c.lim)
		}
	}
	if err != nil {
		return dst, err // and leave the encoder to the collector: its state is unknown
	}
	if len(out)-len(dst) <= keepBody {
		c.encs.Put(e)
	}
	return out, nil
}

// appendQuick appends v to dst without an encoder.
func (p *plan) appendQuick(dst []byte, v any) (out []byte, err error) {
	defer recovered(&err, ErrUnsupported) // v may be written to meanwhile, against the rules
	return p.enc.quick(dst, wordOf(v)), nil
}

// An encoder is a msgpack encoder with the sink it writes to.
type encoder struct {
	enc   *msgpack.Encoder
	reset bool // enc is ready for the value that is being encoded
	depth int  // of compiled containers
	out   sink
	hold  holder
	seen  shape

	generic int     // interfaces around what is being encoded
	entries []entry // of the maps around it
	spare   []byte  // to sort them in
}

// restart makes enc ready for the value that is being encoded.
func (e *encoder) restart() {
	e.enc.Reset(&e.out)
	e.enc.SetSortMapKeys(true)
	e.reset = true
}

func newEncoder(lim Limits) *encoder {
	return &encoder{enc: msgpack.NewEncoder(nil), out: sink{lim: lim, next: firstLook}}
}

// append appends v, of plan p, to dst.
func (e *encoder) append(dst []byte, v any, p *plan) (out []byte, err error) {
	defer recovered(&err, ErrUnsupported)
	e.depth, e.generic, e.reset = 0, 0, false
	e.out.start, e.out.next = len(dst), len(dst)+firstLook
	switch {
	case p.enc == nil:
		e.out.b = dst
		e.restart()
		err = e.enc.Encode(p.addressable(v))
		out = e.out.b
	case p.addr:
		out, err = p.enc.encode(e, dst, reflect.ValueOf(p.addressable(v)).UnsafePointer())
	default:
		out, err = p.enc.encode(e, dst, e.hold.locate(v, p.typ, p.direct))
	}
	e.out.b, e.hold.word = nil, nil
	switch {
	case e.out.err != nil:
		return dst, e.out.err
	case err != nil:
		return dst, fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return out, nil
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
	s.next = s.start + min(2*n, s.lim.Body)
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
	if t, ok := v.(*time.Time); ok && t != nil && len(body) == 1 && body[0] == 0xc0 {
		*t = time.Time{}
		return nil
	}
	p, at := c.compiledTarget(v)
	var target reflect.Value
	switch {
	case p == nil:
		var err error
		if target, err = targetOf(v); err != nil {
			return err
		}
		if p = c.plans.of(target.Type().Elem()); p.err != nil {
			return p.err
		}
		if p.dec != nil && p.typ.Kind() == reflect.Interface {
			at = target.UnsafePointer()
		}
	case p.dec.struc && len(body) == 1 && body[0] == 0x80:
		return nil // a message without fields, or none set
	}

	flat := at != nil && p.dec.flat != nil && len(body) <= keepBody // what it allocates may be for nothing
	if flat && p.dec.flat.quick && p.dec.flat.decodeFlat(nil, body[:len(body):len(body)], at, p, c.lim) {
		return nil
	}
	d, _ := c.decs.Get().(*decoder)
	if d == nil {
		d = &decoder{dec: msgpack.NewDecoder(nil)}
	}
	if flat && !p.dec.flat.quick {
		d.in.b = body[:len(body):len(body)]
		ok := p.dec.flat.decodeFlat(d, d.in.b, at, p, c.lim)
		d.in.b = nil
		if ok {
			c.keep(d, body)
			return nil
		}
	}
	d.seen.reset()
	err := scan(body, c.lim, false, &d.seen)
	if err == nil {
		err = p.check(&d.seen, c.lim)
	}
	if err == nil {
		if at != nil {
			err = d.compiled(p.dec, body, at)
		} else {
			err = d.decode(body, target.Interface())
			if t, ok := target.Interface().(*time.Time); ok {
				*t = t.UTC()
			}
		}
		if err != nil {
			return err // and leave the decoder to the collector: its state is unknown
		}
	}
	c.keep(d, body)
	return err
}

// keep puts a decoder back that has decoded body.
func (c *msgpackCodec) keep(d *decoder, body []byte) {
	if len(body) <= keepBody {
		c.decs.Put(d)
	}
}

// compiledTarget returns the plan and the address of what v points to, if there is a
// compiled decoder for it.
func (c *msgpackCodec) compiledTarget(v any) (p *plan, at unsafe.Pointer) {
	t := reflect.TypeOf(v)
	if t == nil || t.Kind() != reflect.Pointer {
		return nil, nil
	}
	p = c.plans.ofValue(v).elem
	at = reflect.ValueOf(v).UnsafePointer()
	if p == nil || p.dec == nil || at == nil || p.typ.Kind() == reflect.Interface { // for targetOf to look into
		return nil, nil
	}
	return p, at
}

// compile adds to the plan of t what the codec does by itself. It leaves out what the
// library must begin with.
func (c *msgpackCodec) compile(t reflect.Type, p *plan) {
	enc := &encodeCompiler{format: c.plans.format, plans: &c.plans, nodes: make(map[reflect.Type]*encodeNode)}
	dec := &decodeCompiler{format: c.plans.format, enc: enc, nodes: make(map[reflect.Type]*decodeNode)}
	p.direct = direct(t)
	if n := enc.node(t); !n.lib {
		p.enc = n
		p.empty = n.struc && n.fields == 0
		p.flat = p.flat || n.fits(p, c.lim)
		p.quick = p.flat && n.quick != nil && !p.addr
	}
	if n := dec.node(t); !n.lib && !dec.isKnown(t) { // a bare time may come in more forms
		p.dec = n
	}
	if t.Kind() == reflect.Pointer {
		p.elem = c.plans.of(t.Elem())
	}
}

// fits reports whether an encoding is within lim whatever the value, but for its length.
func (n *encodeNode) fits(p *plan, lim Limits) bool {
	return n.depth <= int64(lim.Depth) && n.elements <= int64(lim.Elements) &&
		p.cost(&shape{items: int(n.elements), pairs: int(n.elements), maps: int(n.elements)}) <= float64(lim.Bytes)/16
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
	dec   *msgpack.Decoder
	ready bool // dec is ready for the body that is being decoded
	in    reader
	seen  shape
}

// compiled decodes a body that scan has passed, with d.seen its shape.
func (d *decoder) compiled(n *decodeNode, body []byte, p unsafe.Pointer) (err error) {
	defer recovered(&err, ErrMalformed)
	d.in = reader{b: body[:len(body):len(body)], exts: d.seen.exts}
	end, err := n.decode(d, 0, p)
	d.in, d.ready = reader{}, false
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	case end != len(body):
		return fmt.Errorf("%w: %d bytes not decoded", ErrMalformed, len(body)-end)
	}
	return nil
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
