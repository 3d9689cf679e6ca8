package codec

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// CheckWhole returns an error for types of values of which a part would silently stay behind: those with a
// field that is not exported. A field that is to stay behind says so with the tag `msgpack:"-"`. Whether
// values of the type can be carried at all is said by Check.
func (c *msgpackCodec) CheckWhole(t reflect.Type) error {
	w := wholeness{format: c.plans.format, seen: map[reflect.Type]bool{}}
	return w.visit(t)
}

// A wholeness looks for fields that would stay behind.
type wholeness struct {
	*format
	seen map[reflect.Type]bool
	path []string
}

func (w *wholeness) visit(t reflect.Type) error {
	if w.seen[t] || w.isKnown(t) || w.isPart(t) || w.isCustom(t, w.encodes) {
		return nil
	}
	w.seen[t] = true
	switch t.Kind() {
	case reflect.Map:
		if err := w.visit(t.Key()); err != nil {
			return err
		}
		return w.visit(t.Elem())
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return w.visit(t.Elem())
	case reflect.Struct:
		return w.visitFields(t)
	}
	return nil
}

func (w *wholeness) visitFields(t reflect.Type) error {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get(w.tag), ",")
		switch {
		case name == "-" || f.Name == "_" || f.Name == "_msgpack":
			continue
		case !f.IsExported() && !f.Anonymous && f.Type.Size() > 0:
			w.path = append(w.path, f.Name)
			return fmt.Errorf("%w: field %s of %s is not exported, so it would stay behind: export it, or say that it is to with the tag `msgpack:\"-\"`", ErrUnsupported, strings.Join(w.path, "."), t)
		}
		w.path = append(w.path, f.Name)
		if err := w.visit(f.Type); err != nil {
			return err
		}
		w.path = w.path[:len(w.path)-1]
	}
	return nil
}

// earlierNamesLost says what is wrong with the tags "wire" of a struct; "" for nothing. compiled says that its
// fields have different names, and tags that are known here.
func earlierNamesLost(t reflect.Type, compiled bool) string {
	for i := range t.NumField() {
		f := t.Field(i)
		names := earlierNames(f)
		switch {
		case len(names) == 0:
		case !compiled:
			return "." + f.Name + " has the tag `wire`, but a name of it is that of another field, or the struct has a tag that cannot be combined with it"
		case !f.IsExported() || f.Anonymous:
			return "." + f.Name + " has the tag `wire`, and no name of its own on the wire"
		case slices.Contains(names, "") || slices.Contains(names, "-"):
			return fmt.Sprintf(".%s has the tag `wire:%q`, which is no list of names", f.Name, f.Tag.Get("wire"))
		}
	}
	return ""
}
