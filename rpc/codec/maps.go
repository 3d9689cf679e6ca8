package codec

import (
	"bytes"
	"reflect"
	"slices"
)

// Maps. Those of plain strings to the usual values are known by their Go type; the others
// go through reflect.
//
// The entries of a map are sent in the order of their encodings: equal messages have equal
// bodies, so that a request which is repeated under a key is known again.

// An entry is where an entry of a map lies in what is being encoded.
type entry struct{ start, end int }

func (e *encoder) mapping(b []byte, n *node, p addr) []byte {
	switch n.plain {
	case reflect.String:
		return encodeMap[string](e, b, n, p)
	case reflect.Bool:
		return encodeMap[bool](e, b, n, p)
	case reflect.Int:
		return encodeMap[int](e, b, n, p)
	case reflect.Int64:
		return encodeMap[int64](e, b, n, p)
	case reflect.Float64:
		return encodeMap[float64](e, b, n, p)
	case reflect.Interface:
		return encodeMap[any](e, b, n, p)
	}
	m := valueAt(n.typ, p)
	if m.IsNil() {
		return append(b, 0xc0)
	}
	b, base := e.begin(b, m.Len())
	k, v := reflect.New(n.key.typ), reflect.New(n.elem.typ)
	for i := m.MapRange(); i.Next(); {
		k.Elem().SetIterKey(i)
		v.Elem().SetIterValue(i)
		start := len(b)
		b = e.value(b, n.key, addrIn(k))
		if e.held > 0 && !isText(b[start]) {
			fail(ErrUnsupported, "a %s in an interface, where the keys of maps must be strings", n.typ)
		}
		b = e.value(b, n.elem, addrIn(v))
		e.entry(b, start)
	}
	return e.end(b, base)
}

func encodeMap[V any](e *encoder, b []byte, n *node, p addr) []byte {
	m := *at[map[string]V](p)
	if m == nil {
		return append(b, 0xc0)
	}
	b, base := e.begin(b, len(m))
	v := new(V)
	for key, value := range m {
		*v = value
		start := len(b)
		b = append(appendStringHead(b, len(key)), key...)
		b = e.value(b, n.elem, addrOf(v))
		e.entry(b, start)
	}
	return e.end(b, base)
}

// begin begins a map of so many entries. It returns which of e's entries will be the first.
func (e *encoder) begin(b []byte, count int) (_ []byte, base int) {
	b = appendMapHead(b, count)
	e.enter(b)
	return b, len(e.memory().entries)
}

// entry ends an entry that began at start.
func (e *encoder) entry(b []byte, start int) {
	e.look(b)
	e.spare.entries = append(e.spare.entries, entry{start, len(b)})
}

// end ends a map and brings its entries, which are those from base on, into order.
func (e *encoder) end(b []byte, base int) []byte {
	e.leave()
	s := e.spare
	all := s.entries[base:]
	s.entries = s.entries[:base]
	compare := func(x, y entry) int { return bytes.Compare(b[x.start:x.end], b[y.start:y.end]) }
	if len(all) < 2 || slices.IsSortedFunc(all, compare) {
		return b
	}
	start := all[0].start
	slices.SortFunc(all, compare)
	s.sorted = s.sorted[:0]
	for _, x := range all {
		s.sorted = append(s.sorted, b[x.start:x.end]...)
	}
	copy(b[start:], s.sorted)
	return b
}

func (d *decoder) mapping(n *node, i int, p addr) int {
	switch n.plain {
	case reflect.String:
		return decodeMap[string](d, n, i, p)
	case reflect.Bool:
		return decodeMap[bool](d, n, i, p)
	case reflect.Int:
		return decodeMap[int](d, n, i, p)
	case reflect.Int64:
		return decodeMap[int64](d, n, i, p)
	case reflect.Float64:
		return decodeMap[float64](d, n, i, p)
	case reflect.Interface:
		m, next := d.anyMap(i) // it replaces what was there, as in the library for this type alone
		*at[map[string]any](p) = m
		return next
	}
	m := valueAt(n.typ, p)
	count, next := d.enterMap(i)
	switch {
	case count < 0:
		m.SetZero()
		return next
	case m.IsNil():
		m.Set(reflect.MakeMapWithSize(n.typ, count))
	}
	if count == 0 {
		d.leave()
		return next
	}
	k, v := reflect.New(n.key.typ), reflect.New(n.elem.typ)
	for range count {
		k.Elem().SetZero()
		v.Elem().SetZero() // and so it shares nothing with the entry before
		next = d.value(n.key, next, addrIn(k))
		next = d.value(n.elem, next, addrIn(v))
		m.SetMapIndex(k.Elem(), v.Elem())
	}
	d.leave()
	return next
}

func decodeMap[V any](d *decoder, n *node, i int, p addr) int {
	m := at[map[string]V](p)
	count, next := d.enterMap(i)
	switch {
	case count < 0:
		*m = nil
		return next
	case *m == nil:
		*m = make(map[string]V, count)
	}
	v := new(V)
	for range count {
		var key []byte
		key, next = d.text(next)
		next = d.value(n.elem, next, addrOf(v))
		(*m)[string(key)] = *v
	}
	d.leave()
	return next
}
