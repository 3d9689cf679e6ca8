package actor

import (
	"math"
	"reflect"
	"unsafe"
)

// sizeOf returns about how many bytes a message takes, with what it refers to: strings, slices,
// maps, and what is behind pointers. It stops at the first value that makes more than most of
// them, so the time that it takes is bounded too. It does not look into what others may be
// changing: channels, functions, refs, and unexported fields behind pointers, as those of a
// mutex.
func sizeOf(msg any, most int) int {
	if msg == nil {
		return 0
	}
	v := reflect.ValueOf(msg)
	m := measure{most: most, bytes: int(v.Type().Size()), plain: map[reflect.Type]bool{}}
	if m.isPlain(v.Type()) {
		return m.bytes
	}
	m.seen = map[unsafe.Pointer]bool{}
	if v.Kind() == reflect.Pointer && !v.IsNil() { // a message that is a pointer belongs to its receiver
		m.seen[v.UnsafePointer()] = true
		v = v.Elem()
		m.bytes += int(v.Type().Size())
	}
	m.add(v, true)
	for len(m.open) > 0 && m.bytes <= most {
		next := m.open[len(m.open)-1]
		m.open = m.open[:len(m.open)-1]
		m.look(next)
	}
	return m.bytes
}

// maxParts is how many parts of a message may wait to be looked at. A message with more of them
// counts as larger than anything.
const maxParts = 1 << 16

// measure is a value that is being measured.
type measure struct {
	most, bytes int
	open        []part                  // what is counted itself, but not yet what it refers to
	seen        map[unsafe.Pointer]bool // what was behind pointers, in maps and in slices; it counts once
	plain       map[reflect.Type]bool   // types that are known to refer to something, or not to
}

// part is a part of a message. own says that it is not behind a pointer, so that nobody but the
// receiver uses its unexported fields.
type part struct {
	v   reflect.Value
	own bool
}

var refType = reflect.TypeFor[Ref]()

// add notes that it has to be found out what v refers to.
func (m *measure) add(v reflect.Value, own bool) {
	switch {
	case m.isPlain(v.Type()):
	case v.Kind() == reflect.String:
		m.bytes += v.Len()
	case len(m.open) == maxParts:
		m.bytes = math.MaxInt / 2 // what is still added does not overflow
	default:
		m.open = append(m.open, part{v, own})
	}
}

// look counts what a part refers to.
func (m *measure) look(p part) {
	v := p.v
	switch v.Kind() {
	case reflect.Slice:
		if v.Cap() == 0 || !m.first(v.UnsafePointer()) {
			return
		}
		m.bytes += v.Cap() * int(v.Type().Elem().Size())
		m.elements(v, p.own)
	case reflect.Array:
		m.elements(v, p.own)
	case reflect.Map:
		if v.Len() == 0 || !m.first(v.UnsafePointer()) {
			return
		}
		key, value := v.Type().Key(), v.Type().Elem()
		m.bytes += v.Len() * (int(key.Size()+value.Size()) + 8)
		if m.isPlain(key) && m.isPlain(value) {
			return
		}
		for i := v.MapRange(); i.Next() && m.bytes <= m.most; {
			m.add(i.Key(), false)
			m.add(i.Value(), false)
		}
	case reflect.Pointer:
		if !v.IsNil() && m.first(v.UnsafePointer()) {
			m.bytes += int(v.Type().Elem().Size())
			m.add(v.Elem(), false)
		}
	case reflect.Interface:
		if !v.IsNil() {
			m.bytes += int(v.Elem().Type().Size())
			m.add(v.Elem(), p.own)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if p.own || v.Type().Field(i).IsExported() {
				m.add(v.Field(i), p.own)
			}
		}
	}
}

// elements looks at the elements of a slice or an array.
func (m *measure) elements(v reflect.Value, own bool) {
	if m.isPlain(v.Type().Elem()) {
		return
	}
	for i := 0; i < v.Len() && m.bytes <= m.most; i++ {
		m.add(v.Index(i), own)
	}
}

// first reports whether what is at p was not counted before.
func (m *measure) first(p unsafe.Pointer) bool {
	if m.seen[p] {
		return false
	}
	m.seen[p] = true
	return true
}

// isPlain reports whether values of a type refer to nothing that counts.
func (m *measure) isPlain(t reflect.Type) bool {
	if plain, known := m.plain[t]; known {
		return plain
	}
	m.plain[t] = false // for a type that contains itself, which it can only behind a pointer or the like
	plain := true
	switch t.Kind() {
	case reflect.String, reflect.Slice, reflect.Map, reflect.Pointer, reflect.Interface:
		plain = false
	case reflect.Array:
		plain = t.Len() == 0 || m.isPlain(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			plain = plain && m.isPlain(t.Field(i).Type)
		}
		plain = plain || t == refType
	}
	m.plain[t] = plain
	return plain
}
