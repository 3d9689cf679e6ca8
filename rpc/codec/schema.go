package codec

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Schema returns a canonical text of all that the bodies of [Compact] depend on in a type: the names of its
// fields, in their order, and how their values are encoded, also of the types within it and of those
// that contain themselves. Two types of the same text read each other's bodies.
//
// A type that encodes itself counts as one whose inside is not known, and stands there with its own
// name. What an interface holds describes itself. ErrUnsupported is the error of types that cannot be
// carried, of those that a program has registered functions for with the msgpack library, and of
// structs with an embedded pointer, an embedded struct that is sent as a field and not exported, or tags that only the library knows.
func Schema(t reflect.Type) (string, error) {
	return newMsgpack(Limits{}.WithDefaults(), msgpackFormat()).schema(t)
}

func (c *msgpackCodec) schema(t reflect.Type) (string, error) {
	p := c.plans.of(t)
	if p.err != nil {
		return "", p.err
	}
	w := schemaWriter{format: c.plans.format, structs: map[*node]int{}}
	if w.node(p.node); w.err != nil {
		return "", w.err
	}
	return w.text.String(), nil
}

// A schemaWriter writes the schema of one type. It walks the tree by which its values are encoded.
type schemaWriter struct {
	*format
	text    strings.Builder
	structs map[*node]int // the structs that have begun, by number: a type may contain itself
	err     error
}

func (w *schemaWriter) node(n *node) {
	if w.err != nil {
		return
	}
	switch n.kind {
	case reflect.Struct:
		w.structure(n)
	case reflect.Slice:
		w.text.WriteString("[]")
		w.node(n.elem)
	case reflect.Array:
		fmt.Fprintf(&w.text, "[%d]", n.length)
		w.node(n.elem)
	case reflect.Map:
		w.text.WriteString("map[")
		w.node(n.key)
		w.text.WriteString("]")
		w.node(n.elem)
	case reflect.Pointer:
		w.text.WriteString("*")
		w.node(n.elem)
	case reflect.Interface:
		w.text.WriteString("any")
	case kindBytes:
		w.text.WriteString("bytes")
	case kindByteArray:
		fmt.Fprintf(&w.text, "bytes[%d]", n.length)
	case kindEmpty:
		w.text.WriteString("{}")
	case kindTime:
		w.text.WriteString("time")
	case kindText:
		w.opaque("text", n.typ)
	case kindLibrary:
		w.library(n.typ)
	case kindPart:
		w.refuse(n.typ, "is a part")
	default:
		w.text.WriteString(n.kind.String())
	}
}

func (w *schemaWriter) structure(n *node) {
	if number, ok := w.structs[n]; ok {
		fmt.Fprintf(&w.text, "#%d", number)
		return
	}
	w.structs[n] = len(w.structs)
	w.text.WriteString("{")
	for i := range n.fields[:n.coded] {
		f := &n.fields[i]
		if len(f.hops) > 0 || f.sealed {
			w.refuse(n.typ, "has the embedded field "+f.name+", which may be missing or cannot be set")
			return
		}
		if i > 0 {
			w.text.WriteString(";")
		}
		w.text.WriteString(strconv.Quote(f.name))
		w.text.WriteString(" ")
		w.node(f.node)
	}
	w.text.WriteString("}")
}

// library is for what the library encodes. Only what a type does itself, by its own methods, is known to
// be the same wherever the type has that name.
func (w *schemaWriter) library(t reflect.Type) {
	switch {
	case t == reflect.TypeFor[error]():
		w.text.WriteString("error")
	case t.Kind() != reflect.Pointer && w.isCustom(t, w.encodes) && w.isCustom(t, w.decodes):
		w.opaque("self", t)
	default:
		w.refuse(t, "is encoded in a way that is not known")
	}
}

func (w *schemaWriter) opaque(how string, t reflect.Type) {
	if t.Name() == "" {
		w.refuse(t, "encodes itself and has no name")
		return
	}
	fmt.Fprintf(&w.text, "%s %s", how, strconv.Quote(t.PkgPath()+"."+t.Name()))
}

func (w *schemaWriter) refuse(t reflect.Type, why string) {
	if w.err == nil {
		w.err = fmt.Errorf("%w: no schema: %s %s", ErrUnsupported, t, why)
	}
}
