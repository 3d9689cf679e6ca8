package codec

import (
	"reflect"
	"unsafe"
)

// Maps whose keys are plain strings. Those of the usual values are known by their Go
// type; the others go through reflect.

// mapping compiles maps of plain strings to what the library is not needed for: it
// gives it values that have no address, which it may refuse.
func (c *encodeCompiler) mapping(n *encodeNode, t reflect.Type) bool {
	elem := c.node(t.Elem())
	if t.Key() != reflect.TypeFor[string]() || !elem.leavesNothing() {
		return false
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
	default:
		n.fn = encodeAnyMap(t, elem)
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
		for key, value := range m {
			*v = value
			b = append(appendStringHead(b, len(key)), key...)
			if b, err = elem.encode(e, b, unsafe.Pointer(v)); err == nil {
				err = e.look(b)
			}
			if err != nil {
				return b, err
			}
		}
		e.leave()
		return b, nil
	}
}

func encodeAnyMap(t reflect.Type, elem *encodeNode) encodeFunc {
	return func(e *encoder, b []byte, p unsafe.Pointer) (_ []byte, err error) {
		m := valueAt(t, p)
		if m.IsNil() {
			return append(b, 0xc0), nil
		}
		b = appendMapHead(b, m.Len())
		if err = e.enter(b); err != nil {
			return b, err
		}
		v := reflect.New(t.Elem())
		for i := m.MapRange(); i.Next(); {
			key := i.Key().String()
			v.Elem().SetIterValue(i)
			b = append(appendStringHead(b, len(key)), key...)
			if b, err = elem.encode(e, b, v.UnsafePointer()); err == nil {
				err = e.look(b)
			}
			if err != nil {
				return b, err
			}
		}
		e.leave()
		return b, nil
	}
}

func (c *decodeCompiler) mapping(t reflect.Type) decodeFunc {
	elem := c.node(t.Elem())
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
	}
	return decodeAnyMap(t, elem)
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

func decodeAnyMap(t reflect.Type, elem *decodeNode) decodeFunc {
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
			key, after := readBytes(d.in.b, next)
			if after == 0 {
				return unexpected(d.in.b, next, "a key")
			}
			k.Elem().SetString(string(key))
			v.Elem().SetZero() // and so it shares nothing with the entry before
			var err error
			if next, err = elem.decode(d, after, v.UnsafePointer()); err != nil {
				return next, err
			}
			m.SetMapIndex(k.Elem(), v.Elem())
		}
		return next, nil
	}
}
