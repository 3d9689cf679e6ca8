package codec

import (
	"bytes"
	"fmt"
	"reflect"
	"unsafe"
)

// The decoders of what holds other values.

func decodePointer(elem reflect.Type, n *decodeNode) decodeFunc {
	return func(d *decoder, at int, p unsafe.Pointer) (int, error) {
		to := (*unsafe.Pointer)(p)
		if d.in.b[at] == 0xc0 {
			*to = nil
			return at + 1, nil
		}
		if *to == nil {
			*to = reflect.New(elem).UnsafePointer()
		}
		return n.decode(d, at, *to)
	}
}

func decodeSlice(t reflect.Type, elem *decodeNode) decodeFunc {
	size := t.Elem().Size()
	keepsOnNil := t.Elem() == reflect.TypeFor[string]() // so the library has it
	return func(d *decoder, at int, p unsafe.Pointer) (int, error) {
		n, next := readArray(d.in.b, at)
		switch {
		case next == 0:
			return unexpected(d.in.b, at, "an array")
		case n < 0:
			if !keepsOnNil {
				valueAt(t, p).SetZero()
			}
			return next, nil
		}
		first := resize(t, p, n)
		var err error
		for i := range n {
			if next, err = elem.decode(d, next, unsafe.Add(first, uintptr(i)*size)); err != nil {
				return next, err
			}
		}
		return next, nil
	}
}

func decodeArray(t reflect.Type, elem *decodeNode) decodeFunc {
	size, length := t.Elem().Size(), t.Len()
	return func(d *decoder, at int, p unsafe.Pointer) (int, error) {
		n, next := readArray(d.in.b, at)
		switch {
		case next == 0:
			return unexpected(d.in.b, at, "an array")
		case n > length:
			return at, fmt.Errorf("%d elements for a %s", n, t)
		}
		var err error
		for i := range n { // nil, which is -1, leaves all as it is
			if next, err = elem.decode(d, next, unsafe.Add(p, uintptr(i)*size)); err != nil {
				return next, err
			}
		}
		return next, nil
	}
}

func decodeByteArray(length int) decodeFunc {
	return func(d *decoder, at int, p unsafe.Pointer) (int, error) {
		s, next := readBytes(d.in.b, at)
		switch {
		case next == 0:
			return unexpected(d.in.b, at, "a binary")
		case len(s) > length:
			return at, fmt.Errorf("%d bytes for an array of %d", len(s), length)
		}
		copy(unsafe.Slice((*byte)(p), length), s)
		return next, nil
	}
}

// A decodeField is a field of a struct that is decoded.
type decodeField struct {
	field
	node *decodeNode
	key  []byte // the name, as it is encoded
}

// A structDecoder decodes into structs of one type.
type structDecoder struct {
	typ    reflect.Type
	list   []decodeField // in the order in which they are encoded; then those that never are
	byName map[string]int
	coded  int  // how many of list are encoded
	flat   bool // every encoded field is a leaf: see decodeFlat
	quick  bool // and of a fast kind, so that it needs no decoder
}

func (c *decodeCompiler) structure(n *decodeNode, t reflect.Type) bool {
	l, ok := c.layoutOf(t)
	if !ok {
		return false
	}
	s := &structDecoder{typ: t, flat: true, quick: true, byName: make(map[string]int), coded: len(l.fields)}
	for i, f := range append(l.fields, l.whole...) {
		node := c.node(f.typ)
		if f.sealed {
			node = &decodeNode{fn: decodeSealed(node)}
		}
		s.byName[f.name] = len(s.list)
		if f.alias != "" {
			s.byName[f.alias] = len(s.list)
		}
		s.list = append(s.list, decodeField{f, node, append(appendStringHead(nil, len(f.name)), f.name...)})
		if i < s.coded {
			s.flat = s.flat && node.leaf && len(f.hops) == 0
			s.quick = s.quick && node.kind != slow
		}
	}
	n.fn, n.struc = s.decode, true
	if s.flat {
		n.flat = s
	}
	return true
}

// decodeSealed refuses what would empty a struct that reflect may not write to.
func decodeSealed(n *decodeNode) decodeFunc {
	return func(d *decoder, at int, p unsafe.Pointer) (int, error) {
		if n, next := readArray(d.in.b, at); next != 0 && n <= 0 {
			return unexpected(d.in.b, at, "the content of an embedded struct")
		}
		return n.decode(d, at, p)
	}
}

func (s *structDecoder) decode(d *decoder, at int, p unsafe.Pointer) (int, error) {
	b := d.in.b
	n, next := readMap(b, at)
	if next == 0 {
		return s.decodeArray(d, at, p)
	}
	if n < 0 {
		valueAt(s.typ, p).SetZero()
		return next, nil
	}
	expected := 0 // the sender has most likely the same fields in the same order
	for range n {
		i, after := s.find(b, next, expected)
		switch {
		case after == 0:
			return unexpected(b, next, "a key")
		case i < 0:
			next = skip(b, after)
			continue
		}
		expected = i + 1
		var err error
		if next, err = s.list[i].decode(d, after, p); err != nil {
			return next, err
		}
	}
	return next, nil
}

// find returns which field the key at index at of b names, or -1 for one that is not
// known, and the index behind it. It returns 0 for that if there is no key.
func (s *structDecoder) find(b []byte, at, expected int) (i, next int) {
	if expected < len(s.list) {
		if key := s.list[expected].key; bytes.HasPrefix(b[at:], key) {
			return expected, at + len(key)
		}
	}
	key, next := readBytes(b, at)
	if next == 0 {
		return 0, 0
	}
	if i, ok := s.byName[string(key)]; ok {
		return i, next
	}
	return -1, next
}

// decodeFlat decodes in one pass a body that no scan has seen, if it is the usual one: a
// map of the fields that are encoded, each a leaf, of which a scan could find nothing wrong. It reports
// false for any other, which must then be decoded anew. What is cut short ends in a
// panic of Go's own checks, so b, which is d.in.b, must have no room behind its end. d may be
// nil if s is quick.
func (s *structDecoder) decodeFlat(d *decoder, b []byte, p unsafe.Pointer, plan *plan, lim Limits) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	n, next := readMap(b, 0)
	if next == 0 || n < 0 || 2*n > lim.Elements || plan.check(&shape{pairs: n, maps: 1, payload: len(b), size: len(b)}, lim) != nil {
		return false
	}
	expected := 0
	for range n {
		i, after := s.find(b, next, expected)
		if after == 0 || i < 0 || i >= s.coded {
			return false
		}
		expected = i + 1
		f := &s.list[i]
		var err error
		if at := unsafe.Add(p, f.off); f.node.kind == slow {
			next, err = f.node.fn(d, after, at)
		} else {
			next, err = f.node.fast(b, after, at)
		}
		if err != nil {
			return false
		}
	}
	return next == len(b)
}

// decodeArray decodes a struct that was sent as an array of its fields.
func (s *structDecoder) decodeArray(d *decoder, at int, p unsafe.Pointer) (int, error) {
	n, next := readArray(d.in.b, at)
	switch {
	case next == 0:
		return unexpected(d.in.b, at, "a map")
	case n == 0:
		valueAt(s.typ, p).SetZero()
		return next, nil
	case n != s.coded:
		return at, fmt.Errorf("%d values for the %d fields of a %s", n, s.coded, s.typ)
	}
	var err error
	for i := range n {
		if next, err = s.list[i].decode(d, next, p); err != nil {
			return next, err
		}
	}
	return next, nil
}

func (f *decodeField) decode(d *decoder, at int, p unsafe.Pointer) (int, error) {
	if len(f.hops) > 0 {
		p = f.makeAt(p)
	} else {
		p = unsafe.Add(p, f.off)
	}
	return f.node.decode(d, at, p)
}
