package codec

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
)

// A layout is what the encoding of a struct type holds, by the rules of the library.
type layout struct {
	fields  []field // those that are encoded, in order
	whole   []field // embedded structs whose fields are among those above: only decoded
	asArray bool
	omits   bool // a field is left out when it is empty
	shadows bool // an embedded struct is a field, because of the names of its own
}

// A field lies at off in the struct that hops lead to, through embedded pointers.
type field struct {
	off       uintptr
	hops      []hop
	name      string
	typ       reflect.Type
	omitEmpty bool
	sealed    bool     // embedded, and of a name that is not exported
	embedded  bool     // its fields are to be among those of the struct it is embedded in
	aliases   []string // further names by which it is decoded
}

// A hop is an embedded pointer to a struct of type elem.
type hop struct {
	off  uintptr
	elem reflect.Type
}

// at returns the address of f in the struct at p, or nil if an embedded pointer is nil.
func (f *field) at(p addr) addr {
	for _, h := range f.hops {
		if p = *at[addr](add(p, h.off)); p == nil {
			return nil
		}
	}
	return add(p, f.off)
}

// makeAt is like at, but makes the embedded structs that are missing.
func (f *field) makeAt(p addr) addr {
	for _, h := range f.hops {
		next := at[addr](add(p, h.off))
		if *next == nil {
			*next = addrIn(reflect.New(h.elem))
		}
		p = *next
	}
	return add(p, f.off)
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

// layoutOf returns the layout of the struct type t. It is not ok for rare options, which are
// left to the library. A struct that is embedded becomes a field of its own where one of its
// fields has the name of another field.
func (m *format) layoutOf(t reflect.Type) (l *layout, ok bool) {
	l = new(layout)
	names, omitAll := make(map[string]bool), false
	own := make([]field, t.NumField()) // of t itself; no name: it is not encoded, or inlined
	for i := range own {
		sf := t.Field(i)
		tag, ok := parseTag(sf.Tag.Get(m.tag))
		if !ok {
			return nil, false
		}
		if tag.name == "-" {
			continue
		}
		if sf.Name == "_msgpack" {
			l.asArray, omitAll = tag.asArray, omitAll || tag.omitEmpty
		}
		if sf.PkgPath != "" && !sf.Anonymous {
			continue
		}
		aliases := earlierNames(sf)
		if tag.alias != "" {
			aliases = append(aliases, tag.alias)
		}
		f := field{name: cmp.Or(tag.name, sf.Name), aliases: aliases, typ: sf.Type, off: sf.Offset,
			omitEmpty: omitAll || tag.omitEmpty, sealed: sf.PkgPath != "", embedded: sf.Anonymous && !tag.noInline && m.inlines(sf.Type)}
		own[i] = f
		for _, name := range append([]string{f.name}, f.aliases...) {
			if name != "" && !f.embedded && names[name] {
				return nil, false
			}
			names[name] = names[name] || name != "" && !f.embedded
		}
	}
	for _, f := range own {
		switch {
		case f.name == "":
		case f.embedded && m.inline(l, f, names):
			l.whole = append(l.whole, f)
		case f.embedded && names[f.name]:
			return nil, false
		default:
			if f.sealed && f.typ.Kind() == reflect.Pointer {
				return nil, false
			}
			names[f.name] = true
			l.shadows = l.shadows || f.embedded
			l.fields = append(l.fields, f)
			l.omits = l.omits || f.omitEmpty
		}
	}
	for i := range l.whole {
		l.whole[i].omitEmpty = false
	}
	return l, true
}

// inline adds the fields of the embedded struct f to l, unless one has a name that is taken.
func (m *format) inline(l *layout, f field, names map[string]bool) bool {
	inner, ok := m.layoutOf(structOf(f.typ))
	if !ok || f.sealed && f.typ.Kind() == reflect.Pointer || names[f.name] {
		return false
	}
	for _, in := range inner.fields {
		if names[in.name] || slices.ContainsFunc(in.aliases, func(a string) bool { return names[a] }) {
			return false
		}
	}
	for _, in := range inner.fields {
		names[in.name] = true
		l.shadows = l.shadows || inner.shadows
		for _, a := range in.aliases {
			names[a] = true
		}
		l.fields = append(l.fields, in.within(f.off, f.typ))
		l.omits = l.omits || in.omitEmpty
	}
	names[f.name] = true
	return true
}

// earlierNames returns what the tag "wire" says: names, separated by commas, that a field had in earlier
// versions of its struct, and by which it is still decoded.
func earlierNames(f reflect.StructField) (names []string) {
	tag, ok := f.Tag.Lookup("wire")
	if !ok {
		return nil
	}
	return strings.Split(tag, ",")
}

// inlines reports whether the fields of an embedded t become those of its parent.
func (m *format) inlines(t reflect.Type) bool {
	if m.isPart(t) {
		return false
	}
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
	name, alias                  string
	omitEmpty, noInline, asArray bool
}

// parseTag reads a tag that needs no quotes and holds no option but those of fieldTag.
func parseTag(s string) (t fieldTag, ok bool) {
	if strings.ContainsAny(s, "'\"\\( ") {
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
			if t.alias, ok = strings.CutPrefix(o, "alias:"); !ok {
				return t, false
			}
		}
	}
	return t, true
}
