package codec

import (
	"reflect"
	"strings"
	"unsafe"
)

// A layout is what the encoding of a struct type holds, by the rules of the library.
type layout struct {
	fields  []field // those that are encoded, in order
	whole   []field // embedded structs whose fields are among those above: only decoded
	asArray bool
	omits   bool // a field is left out when it is empty
}

// A field lies at off in the struct that hops lead to, through embedded pointers.
type field struct {
	name      string
	typ       reflect.Type
	off       uintptr
	hops      []hop
	omitEmpty bool
	sealed    bool // embedded, and of a name that is not exported
}

// A hop is an embedded pointer to a struct of type elem.
type hop struct {
	off  uintptr
	elem reflect.Type
}

// at returns the address of f in the struct at p, or nil if an embedded pointer is nil.
func (f *field) at(p unsafe.Pointer) unsafe.Pointer {
	for _, h := range f.hops {
		if p = *(*unsafe.Pointer)(unsafe.Add(p, h.off)); p == nil {
			return nil
		}
	}
	return unsafe.Add(p, f.off)
}

// makeAt is like at, but makes the embedded structs that are missing.
func (f *field) makeAt(p unsafe.Pointer) unsafe.Pointer {
	for _, h := range f.hops {
		next := (*unsafe.Pointer)(unsafe.Add(p, h.off))
		if *next == nil {
			*next = reflect.New(h.elem).UnsafePointer()
		}
		p = *next
	}
	return unsafe.Add(p, f.off)
}

// within returns f as a field of the struct that embeds its own struct at off, or by a
// pointer at off if pointer is its type.
func (f field) within(off uintptr, pointer reflect.Type) field {
	switch {
	case pointer.Kind() == reflect.Pointer:
		f.hops = append([]hop{{off, pointer.Elem()}}, f.hops...)
	case len(f.hops) > 0:
		f.hops = append([]hop{{off + f.hops[0].off, f.hops[0].elem}}, f.hops[1:]...)
	default:
		f.off += off
	}
	return f
}

// layoutOf returns the layout of the struct type t. It is not ok where the library's
// rules are not plain: names that meet, rare options, what it may not write to.
func (m *format) layoutOf(t reflect.Type) (l *layout, ok bool) {
	l = new(layout)
	names := make(map[string]bool)
	omitAll := false
	add := func(to *[]field, f field) bool {
		if names[f.name] {
			return false
		}
		names[f.name] = true
		*to = append(*to, f)
		l.omits = l.omits || f.omitEmpty
		return true
	}
	for i := range t.NumField() {
		sf := t.Field(i)
		tag, ok := parseTag(sf.Tag.Get(m.tag))
		if !ok {
			return nil, false
		}
		if tag.name == "-" {
			continue
		}
		if sf.Name == "_msgpack" {
			l.asArray = tag.asArray
			omitAll = omitAll || tag.omitEmpty
		}
		exported := sf.PkgPath == ""
		if !exported && !sf.Anonymous {
			continue
		}
		f := field{name: tag.name, typ: sf.Type, off: sf.Offset, omitEmpty: omitAll || tag.omitEmpty, sealed: !exported}
		if f.name == "" {
			f.name = sf.Name
		}
		if !sf.Anonymous || tag.noInline || !m.inlines(sf.Type) {
			if !exported || !add(&l.fields, f) {
				return nil, false
			}
			continue
		}
		inner, ok := m.layoutOf(structOf(sf.Type))
		if !ok || !exported && sf.Type.Kind() == reflect.Pointer {
			return nil, false
		}
		for _, in := range inner.fields {
			if !add(&l.fields, in.within(sf.Offset, sf.Type)) {
				return nil, false
			}
		}
		f.omitEmpty = false
		if !add(&l.whole, f) {
			return nil, false
		}
	}
	return l, true
}

// inlines reports whether the fields of an embedded t become those of its parent.
func (m *format) inlines(t reflect.Type) bool {
	t = structOf(t)
	return t.Kind() == reflect.Struct && !m.isKnown(t) && !custom(t, m.encodes) && !custom(t, m.decodes)
}

// structOf returns what t points to, if it is a pointer.
func structOf(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

type fieldTag struct {
	name                         string
	omitEmpty, noInline, asArray bool
}

// parseTag reads a tag that needs no quotes and holds no option but those of fieldTag.
func parseTag(s string) (t fieldTag, ok bool) {
	if strings.ContainsAny(s, ":'\"\\( ") {
		return t, false
	}
	name, options, _ := strings.Cut(s, ",")
	t.name = name
	for o := range strings.SplitSeq(options, ",") {
		switch o {
		case "":
		case "omitempty":
			t.omitEmpty = true
		case "noinline":
			t.noInline = true
		case "as_array", "asArray":
			t.asArray = true
		default:
			return t, false
		}
	}
	return t, true
}
