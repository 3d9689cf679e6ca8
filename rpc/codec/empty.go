package codec

import (
	"reflect"
	"time"
)

// What omitempty leaves out, by the rules of the library.

// An emptyFunc reports whether omitempty leaves the value at p out.
type emptyFunc func(p addr) bool

type zeroer interface{ IsZero() bool }

// emptyOf returns what the library's omitempty asks of a t. It is not ok for interfaces,
// which are asked for what they hold, and for structs that are not compiled.
func (m *format) emptyOf(t reflect.Type) (empty emptyFunc, ok bool) {
	k := t.Kind()
	switch {
	case k == reflect.Interface:
		return m.emptyInterface(t), true
	case m.isKnown(t):
		return func(p addr) bool { return at[time.Time](p).IsZero() }, true
	case t.Implements(reflect.TypeFor[zeroer]()):
		if !nilable(k) {
			return func(p addr) bool { return pointerTo(t, p).Interface().(zeroer).IsZero() }, true
		}
		return func(p addr) bool {
			v := valueAt(t, p)
			return v.IsNil() || v.Interface().(zeroer).IsZero()
		}, true
	}
	switch k {
	case reflect.String, reflect.Slice, reflect.Array, reflect.Map:
		return func(p addr) bool { return valueAt(t, p).Len() == 0 }, true
	case reflect.Float32, reflect.Float64: // minus nothing is nothing, too
		return func(p addr) bool { return valueAt(t, p).Float() == 0 }, true
	case reflect.Struct:
		return m.emptyStruct(t)
	}
	return func(p addr) bool { return valueAt(t, p).IsZero() }, true
}

// emptyInterface asks for what the interface holds.
func (m *format) emptyInterface(t reflect.Type) emptyFunc {
	return func(p addr) bool {
		v := valueAt(t, p)
		if v.IsNil() {
			return true
		}
		held := reflect.New(v.Elem().Type())
		held.Elem().Set(v.Elem())
		empty, ok := m.emptyOf(held.Elem().Type())
		return ok && empty(addrIn(held))
	}
}

// emptyStruct asks whether all fields are omitted.
func (m *format) emptyStruct(t reflect.Type) (empty emptyFunc, ok bool) {
	l, ok := m.layoutOf(t)
	if !ok {
		return nil, false
	}
	fields := make([]fieldNode, len(l.fields))
	for i, f := range l.fields {
		fields[i].field = f
		if f.omitEmpty {
			if fields[i].empty, ok = m.emptyOf(f.typ); !ok {
				return nil, false
			}
		}
	}
	return func(p addr) bool {
		for i := range fields {
			if !l.omits || !fields[i].omitted(p) {
				return false
			}
		}
		return true
	}, true
}
