package codec

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"unsafe"
)

// Maps. Those of plain strings to the usual values are known by their Go type; the others
// go through reflect.
//
// The entries of a map are sent in the order of their encodings: equal messages have equal
// bodies, so that a request which is repeated under a key is known again.

// An entry is where an entry of a map lies in what is being encoded.
type entry struct{ start, end int }

// sorted brings the entries of a map, which are those from base on and all that b ends
// with, into order.
func (e *encoder) sorted(b []byte, base int) []byte {
	all := e.entries[base:]
	e.entries = e.entries[:base]
	compare := func(x, y entry) int { return bytes.Compare(b[x.start:x.end], b[y.start:y.end]) }
	if len(all) < 2 || slices.IsSortedFunc(all, compare) {
		return b
	}
	start := all[0].start
	slices.SortFunc(all, compare)
	e.spare = e.spare[:0]
	for _, x := range all {
		e.spare = append(e.spare, b[x.start:x.end]...)
	}
	copy(b[start:], e.spare)
	return b
}

// isText reports whether a string or a binary begins with c.
func isText(c byte) bool {
	return c >= 0xa0 && c < 0xc0 || c >= 0xd9 && c <= 0xdb || c >= 0xc4 && c <= 0xc6
}

// mapping compiles maps whatever their keys are.
func (c *encodeCompiler) mapping(n *encodeNode, t reflect.Type) bool {
	key, elem := c.node(t.Key()), c.node(t.Elem())
	n.pure = key.leavesNothing() && elem.leavesNothing()
	if t.Key() != reflect.TypeFor[string]() {
		n.fn = encodeAnyMap(t, key, elem)
		return true
	}
	switch t.Elem() {
	case reflect.TypeFor[string]():
		n.fn = encodeMap[string](elem)
	case reflect.TypeFor[bool]():
		n.fn = encodeMap[bool](elem)
	case reflect.TypeFor[int]():
		n.fn = encodeMap[int](elem)
	case reflect.TypeFor[int64]():
		n.fn = encodeMap[int64](elem)
	case reflect.TypeFor[float64]():
		n.fn = encodeMap[float64](elem)
	case reflect.TypeFor[any]():
		n.fn = encodeMap[any](elem)
	default:
		n.fn = encodeAnyMap(t, key, elem)
	}
	return true
}

func encodeMap[V any](elem *encodeNode) encodeFunc {
	return func(e *encoder, b []byte, p unsafe.Pointer) (_ []byte, err error) {
		m := *(*map[string]V)(p)
		if m == nil {
			return append(b, 0xc0), nil
		}
		b = appendMapHead(b, len(m))
		if err = e.enter(b); err != nil {
			return b, err
		}
		v := new(V)
		base := len(e.entries)
		for key, value := range m {
			*v = value
			start := len(b)
			b = append(appendStringHead(b, len(key)), key...)
			if b, err = elem.encode(e, b, unsafe.Pointer(v)); err == nil {
				err = e.look(b)
			}
			if err != nil {
				return b, err
			}
			e.entries = append(e.entries, entry{start, len(b)})
		}
		e.leave()
		return e.sorted(b, base), nil
	}
}

func encodeAnyMap(t reflect.Type, key, elem *encodeNode) encodeFunc {
	return func(e *encoder, b []byte, p unsafe.Pointer) (_ []byte, err error) {
		m := valueAt(t, p)
		if m.IsNil() {
			return append(b, 0xc0), nil
		}
		b = appendMapHead(b, m.Len())
		if err = e.enter(b); err != nil {
			return b, err
		}
		k, v := reflect.New(t.Key()), reflect.New(t.Elem())
		base := len(e.entries)
		for i := m.MapRange(); i.Next(); {
			k.Elem().SetIterKey(i)
			v.Elem().SetIterValue(i)
			start := len(b)
			if b, err = key.encode(e, b, k.UnsafePointer()); err == nil && e.generic > 0 && !isText(b[start]) {
				err = fmt.Errorf("a %s in an interface, where the keys of maps must be strings", t)
			}
			if err == nil {
				b, err = elem.encode(e, b, v.UnsafePointer())
			}
			if err == nil {
				err = e.look(b)
			}
			if err != nil {
				return b, err
			}
			e.entries = append(e.entries, entry{start, len(b)})
		}
		e.leave()
		return e.sorted(b, base), nil
	}
}

func (c *decodeCompiler) mapping(t reflect.Type) decodeFunc {
	key, elem := c.node(t.Key()), c.node(t.Elem())
	if t.Key() != reflect.TypeFor[string]() {
		return decodeAnyMap(t, key, elem)
	}
	switch t.Elem() {
	case reflect.TypeFor[string]():
		return decodeMap[string](elem)
	case reflect.TypeFor[bool]():
		return decodeMap[bool](elem)
	case reflect.TypeFor[int]():
		return decodeMap[int](elem)
	case reflect.TypeFor[int64]():
		return decodeMap[int64](elem)
	case reflect.TypeFor[float64]():
		return decodeMap[float64](elem)
	case reflect.TypeFor[any]():
		return decodeGenericMap(libraryDecodes(reflect.TypeFor[any]()))
	}
	return decodeAnyMap(t, key, elem)
}

func decodeMap[V any](elem *decodeNode) decodeFunc {
	return func(d *decoder, at int, p unsafe.Pointer) (int, error) {
		m := (*map[string]V)(p)
		n, next := readMap(d.in.b, at)
		switch {
		case next == 0:
			return unexpected(d.in.b, at, "a map")
		case n < 0:
			*m = nil
			return next, nil
		case *m == nil:
			*m = make(map[string]V, n)
		}
		v := new(V)
		for range n {
			key, after := readBytes(d.in.b, next)
			if after == 0 {
				return unexpected(d.in.b, next, "a key")
			}
			var err error
			if next, err = elem.decode(d, after, unsafe.Pointer(v)); err != nil {
				return next, err
			}
			(*m)[string(key)] = *v
		}
		return next, nil
	}
}

// decodeGenericMap replaces what the map held, as the library does for this type alone.
func decodeGenericMap(lib decodeFunc) decodeFunc {
	return func(d *decoder, at int, p unsafe.Pointer) (int, error) {
		m := (*map[string]any)(p)
		n, next := readMap(d.in.b, at)
		switch {
		case next == 0:
			return unexpected(d.in.b, at, "a map")
		case n < 0:
			*m = nil
			return next, nil
		}
		v, next, err := d.genericMap(at, lib)
		if err == nil {
			*m = v
		}
		return next, err
	}
}

func decodeAnyMap(t reflect.Type, key, elem *decodeNode) decodeFunc {
	return func(d *decoder, at int, p unsafe.Pointer) (int, error) {
		m := valueAt(t, p)
		n, next := readMap(d.in.b, at)
		switch {
		case next == 0:
			return unexpected(d.in.b, at, "a map")
		case n < 0:
			m.SetZero()
			return next, nil
		case m.IsNil():
			m.Set(reflect.MakeMapWithSize(t, n))
		}
		if n == 0 {
			return next, nil
		}
		k, v := reflect.New(t.Key()), reflect.New(t.Elem())
		for range n {
			k.Elem().SetZero()
			v.Elem().SetZero() // and so it shares nothing with the entry before
			var err error
			if next, err = key.decode(d, next, k.UnsafePointer()); err != nil {
				return next, err
			}
			if next, err = elem.decode(d, next, v.UnsafePointer()); err != nil {
				return next, err
			}
			m.SetMapIndex(k.Elem(), v.Elem())
		}
		return next, nil
	}
}
