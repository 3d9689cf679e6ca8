package codec

import (
	"encoding"
	"fmt"
	"reflect"
	"time"

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
// A struct is sent as a map of its fields by their names, so its type may change: a field that is missing in
// a body keeps what the target has, which is its zero value; one that the target does not have is skipped; and the order does not
// count. A field that was renamed is still found by its earlier names if the tag "wire" lists them: `wire:"Name,Title"`.
// A number arrives as another type of number if that holds it exactly.
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
	return newMsgpack(l.WithDefaults(), msgpackFormat())
}

func newMsgpack(l Limits, f *format) *msgpackCodec {
	c := &msgpackCodec{lim: l, plans: plans{format: f, lim: l}}
	c.plans.compile = func(t reflect.Type) *node {
		return (&compiler{format: c.plans.format, codec: c, nodes: make(map[reflect.Type]*node)}).node(t)
	}
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
		known:  reflect.TypeFor[time.Time](),
		arrays: true,
		refused: []reflect.Kind{
			reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128,
			reflect.Uintptr, reflect.UnsafePointer,
		},
	}
}

type msgpackCodec struct {
	lim     Limits
	plans   plans
	library library
}

func (c *msgpackCodec) ID() uint8    { return IDMsgpack }
func (c *msgpackCodec) Name() string { return "msgpack" }

// Check returns why values of type t cannot be carried, or nil: see Append's ErrUnsupported.
func (c *msgpackCodec) Check(t reflect.Type) error { return c.plans.check(t) }

func (c *msgpackCodec) Append(dst []byte, v any) (out []byte, err error) {
	if v == nil {
		return append(dst, 0xc0), nil
	}
	p := c.plans.known(v)
	if p == nil {
		p = c.plans.find(v)
	}
	if p.err != nil {
		return dst, p.err
	}
	if p.bare {
		out = appendScalar(dst, p.node.kind, wordOf(v))
	} else {
		e := encoder{codec: c, most: len(dst) + c.lim.Body, depth: c.lim.Depth}
		if out, err = e.run(dst, v, p); err == nil && e.parts > 0 {
			err = e.checkParts(len(out) - len(dst))
		}
	}
	if n := len(out) - len(dst); err == nil && n > p.safe {
		err = c.within(out[len(dst):], p)
	}
	if err != nil {
		return dst, err
	}
	return out, nil
}

func (c *msgpackCodec) Decode(body []byte, v any) error {
	var (
		p  *plan
		to addr
	)
	if v != nil {
		q := c.plans.known(v)
		if q == nil {
			q = c.plans.find(v)
		}
		p, to = q.elem, wordOf(v)
	}
	if p == nil || to == nil {
		var err error
		if p, to, err = c.target(v); err != nil {
			return err
		}
	}
	if len(body) > p.safe {
		if err := c.within(body, p); err != nil {
			return err
		}
	}
	if p.bare && len(body) > 0 && decodeScalar(p.node.kind, body, 0, to) == len(body) {
		return nil
	}
	d := decoder{codec: c, b: body[:len(body):len(body)], depth: c.lim.Depth, values: min(len(body), c.lim.Elements)}
	err := d.run(p.node, to)
	if err != nil {
		if why := c.within(body, p); why != nil {
			return why
		}
	}
	return err
}

// within says what is wrong with a body, apart from what is in the wrong place for its type:
// it is not one value, or it is beyond the limits. It makes a pass of its own over the body,
// which is for those that are longer than plan.safe, and for those that could not be decoded.
//
// The memory is not counted while decoding, as the depth and the elements are: a count would
// have to be kept wherever a byte of text is read or written, here, in the library and
// in JSON, and be the same in all of them, so that no sender is told that a body is good
// which its receiver refuses. Most bodies are short enough that there is nothing to count.
func (c *msgpackCodec) within(body []byte, p *plan) error {
	if err := c.lim.checkBody(len(body)); err != nil {
		return err
	}
	var s shape
	if err := scanWhole(body, c.lim, &s); err != nil {
		return err
	}
	return p.check(&s, c.lim)
}

// target returns the address of what v points to, and its plan, where plan.elem does not tell.
func (c *msgpackCodec) target(v any) (*plan, addr, error) {
	target, err := targetOf(v)
	if err != nil {
		return nil, nil, err
	}
	p := c.plans.of(target.Type().Elem())
	return p, addrIn(target), p.err
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
