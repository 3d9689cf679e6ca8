package codec

import (
	"fmt"
	"reflect"
)

// Parts carries values of some types that lie within values of others, each as bytes of its own:
// see [MsgpackWith]. Its methods may be called concurrently, and may not panic.
type Parts interface {
	// Carries reports whether values of the pointer type t are parts. It must always say the same
	// of a type.
	Carries(t reflect.Type) bool

	// AppendPart appends the encoding of v, which is not nil, to dst. cost is how many bytes
	// decoding it may allocate.
	AppendPart(dst []byte, v any) (out []byte, cost int, err error)

	// DecodePart decodes body into what v, a pointer to a type that is carried, points to. It
	// refuses with ErrLimit, before it allocates anything, what may allocate more than most bytes.
	// Nothing of body is kept, and what v points to is not looked at.
	DecodePart(body []byte, v any, most int) (cost int, err error)
}

// A Namer is a codec that gives types of messages their names on the wire, because the types
// come from elsewhere and cannot say them. ok is false for types that it leaves alone.
type Namer interface {
	WireName(t reflect.Type) (name string, ok bool)
}

// MsgpackWith is Msgpack for values that may hold parts: these are encoded as binaries, which
// have the bytes that p gives them, and nil as nil. In an interface a part arrives as a []byte.
// What all parts of a body may allocate together counts against Limits.Bytes, apart from the rest.
func MsgpackWith(l Limits, p Parts) Codec {
	f := msgpackFormat()
	f.parts = p
	return newMsgpack(l.WithDefaults(), f)
}

// WireName returns the name that a codec of s gives the type; see [Namer]. If several do, that with
// the lowest id counts.
func (s *Set) WireName(t reflect.Type) (name string, ok bool) {
	for _, c := range s.byID {
		if n, namer := c.(Namer); namer {
			if name, ok = n.WireName(t); ok {
				return name, true
			}
		}
	}
	return "", false
}

// WireName implements Namer for a codec that may be one.
func (g guarded) WireName(t reflect.Type) (name string, ok bool) {
	if n, namer := g.Codec.(Namer); namer {
		return n.WireName(t)
	}
	return "", false
}

// isPart reports whether values of type t are carried by the format's Parts.
func (m *format) isPart(t reflect.Type) bool {
	return m.parts != nil && t.Kind() == reflect.Pointer && m.parts.Carries(t)
}

// holdsParts notes that the visited types hold parts, which the library does not know.
func (w *walker) holdsParts() {
	if w.parted = true; w.library {
		w.refuse("a part in a struct with tags that only the library knows")
	}
}

// Memory is how many bytes decoding a body of n bytes may allocate: Bytes, and as much as the
// body is longer than 1 MiB. l must have its defaults.
func (l Limits) Memory(n int) int { return l.Bytes + max(0, n-bodyCounted) }

// part appends the part whose pointer is at p.
func (e *encoder) part(b []byte, n *node, p addr) []byte {
	v := valueAt(n.typ, p)
	if v.IsNil() {
		return append(b, 0xc0)
	}
	body, cost, err := e.codec.plans.format.parts.AppendPart(nil, v.Interface())
	if err != nil {
		panic(failure{err})
	}
	e.parts += cost
	return append(appendBinHead(b, len(body)), body...)
}

// checkParts returns an error if decoding the parts that were appended may take more than is
// allowed for a body of n bytes.
func (e *encoder) checkParts(n int) error {
	if most := e.codec.lim.Memory(n); e.parts > most {
		return fmt.Errorf("%w: decoding the parts may take %d bytes, limit %d", ErrLimit, e.parts, most)
	}
	return nil
}

// part decodes the part at index i, and leaves a pointer to it at p.
func (d *decoder) part(n *node, i int, p addr) int {
	if d.b[i] == 0xc0 {
		valueAt(n.typ, p).SetZero()
		return i + 1
	}
	body, next := d.text(i)
	cost, err := d.codec.plans.format.parts.DecodePart(body, pointerTo(n.typ, p).Interface(), d.codec.lim.Memory(len(d.b))-d.parts)
	if err != nil {
		panic(failure{err})
	}
	d.parts += cost
	return next
}
