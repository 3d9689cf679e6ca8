package codec

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/vmihailenco/msgpack/v5"
)

// A format is what the plans of a codec depend on.
type format struct {
	tag     string         // struct tag whose "-" leaves a field out
	growth  uint64         // eighths of a byte allocated, in all, per byte of a slice's final size
	encodes []reflect.Type // interfaces of types that encode themselves
	decodes []reflect.Type // interfaces of types that decode themselves
	known   reflect.Type   // a type that the format knows although it has such methods
	arrays  bool           // structs may be encoded as arrays
	refused []reflect.Kind // kinds that it cannot carry at all
	parts   Parts          // carries values of some types; nil: there are none
	names   *msgpackCodec  // of a positional format: the codec with names, for what interfaces hold; nil: this is no positional format
}

// Sizes that the Go runtime allocates, rounded up.
const (
	mapHead     = 64  // a map's header
	mapSlots    = 8   // the slots that a map with one entry already has
	slotInline  = 128 // a larger key or value is stored by pointer
	textSlack   = 16  // what the size classes may add to a string
	boxed       = 48  // a header in an interface value, or an empty map
	pairSlack   = 64
	maxPointers = 8 // *******T: nobody means it
)

// A walker visits every type that is reachable from one, and adds up the plan.
type walker struct {
	*format
	plan    *plan
	growth  uint64
	library bool // msgpack: the library decodes some of it
	parted  bool // it holds parts
	seen    map[reflect.Type]bool
	path    []string // fields that lead to the type
}

func (w *walker) visit(t reflect.Type) {
	if w.seen[t] || w.plan.err != nil {
		return
	}
	w.seen[t] = true
	switch {
	case w.isKnown(t):
		return
	case w.isPart(t):
		w.holdsParts()
		return
	case w.isPart(reflect.PointerTo(t)):
		w.refuse("a %s that is no pointer", t)
		return
	}
	if why := w.oneWay(t); why != "" {
		w.refuse("%s %s", t, why)
		return
	}
	if w.customEnc(t) && t.Kind() != reflect.Pointer && !implements(t, w.encodes) {
		w.plan.addr = true // the methods are the pointer's
	}
	if w.customDec(t) {
		w.plan.custom = true
		return
	}
	if slices.Contains(w.refused, t.Kind()) {
		w.refuse("a %s", t)
		return
	}
	switch t.Kind() {
	case reflect.Pointer:
		elem := t
		for n := 0; elem.Kind() == reflect.Pointer; n++ {
			if n == maxPointers {
				w.refuse("pointers of %s", t)
				return
			}
			elem = elem.Elem()
		}
		w.visit(t.Elem())
	case reflect.Slice:
		w.visit(t.Elem())
		w.item(w.grown(uint64(t.Elem().Size())) + w.own(t.Elem()))
	case reflect.Array:
		w.visit(t.Elem())
		w.item(w.own(t.Elem()))
	case reflect.Map:
		w.visit(t.Key())
		w.visit(t.Elem())
		k, v := uint64(t.Key().Size()), uint64(t.Elem().Size())
		// The first entry takes a group of slots, each further one some slots; each, one
		// copy of key and value on the way; if they are large, one more that the slot
		// points to.
		slot := min(k, slotInline) + min(v, slotInline)
		w.mapped(slot)
		w.pair(w.slots(slot) + 2*(k+v) + w.own(t.Key()) + w.own(t.Elem()))
	case reflect.Interface:
		if t.NumMethod() > 0 && t != reflect.TypeFor[error]() {
			w.refuse("what a %s holds cannot be decoded: only any, and error, may be sent", t)
			return
		}
		// It may come to hold []any and map[string]any.
		w.item(w.grown(16) + boxed)
		w.mapped(32)
		w.pair(w.slots(32) + boxed)
	case reflect.Struct:
		w.visitStruct(t)
	}
}

func (w *walker) visitStruct(t reflect.Type) {
	if w.embedsItself(t, nil) {
		w.refuse("%s embeds itself", t)
		return
	}
	if w.tag == "msgpack" {
		_, ok := w.layoutOf(t)
		if w.library = w.library || !ok || t.Size() > mostCompared; w.library && w.parted {
			w.holdsParts()
			return
		}
		if why := earlierNamesLost(t, ok); why != "" {
			w.refuse("%s%s", t, why)
			return
		}
	}
	if hidesAll(t) && !w.registered(t) {
		w.refuse("no field of %s is exported, so it would arrive empty", t)
		return
	}
	var most, embedded uint64
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get(w.tag), ",")
		if name == "-" || f.PkgPath != "" && !f.Anonymous {
			continue
		}
		if w.tag == "msgpack" && strings.Contains(options, "intern") {
			// Interned strings are extensions that reader cannot tell from an attack.
			w.refuse("%s.%s is interned", t, f.Name)
			return
		}
		w.path = append(w.path, f.Name)
		w.visit(f.Type)
		if w.plan.err != nil {
			return
		}
		w.path = w.path[:len(w.path)-1]
		most = max(most, w.own(f.Type))
		if f.Anonymous {
			embedded += w.own(f.Type)
		}
	}
	w.pair(most + embedded)
	if w.arrays {
		w.item(most + embedded)
	}
}

// refuse has types refused that hold what is described, at the path that led to it.
func (w *walker) refuse(format string, args ...any) {
	at := ""
	if len(w.path) > 0 {
		at = "field " + strings.Join(w.path, ".") + ": "
	}
	w.plan.err = fmt.Errorf("%w: %s%s", ErrUnsupported, at, fmt.Sprintf(format, args...))
}

// hidesAll reports whether t is a struct of which nothing is sent, although it holds
// something. Fields that are left out by their tags, and those named _, do not count.
func hidesAll(t reflect.Type) bool {
	hidden := false
	for i := range t.NumField() {
		f := t.Field(i)
		if f.PkgPath == "" || f.Anonymous {
			return false
		}
		hidden = hidden || f.Name != "_" && f.Name != "_msgpack" && f.Type.Size() > 0
	}
	return hidden
}

// registered reports whether the program has given the msgpack library functions for t.
func (w *walker) registered(t reflect.Type) bool {
	if w.tag != "msgpack" {
		return false
	}
	var b []byte
	err := guard(ErrUnsupported, func() (err error) { b, err = msgpack.Marshal(reflect.New(t).Interface()); return err })
	return err != nil || string(b) != "\x80"
}

// oneWay says what is wrong with a type that encodes itself in one way and is decoded in
// another; it returns "" for the others. JSON is left alone: such types are common there, and
// most of them work.
func (w *walker) oneWay(t reflect.Type) string {
	if w.tag != "msgpack" || t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface {
		return ""
	}
	enc, dec := first(t, w.encodes), first(t, w.decodes)
	switch {
	case enc == dec:
		return ""
	case enc < 0:
		return fmt.Sprintf("decodes itself as a %s, and does not encode itself so", w.decodes[dec])
	case dec < 0:
		return fmt.Sprintf("encodes itself as a %s, and does not decode itself so", w.encodes[enc])
	}
	return fmt.Sprintf("encodes itself as a %s, and decodes itself as a %s", w.encodes[enc], w.decodes[dec])
}

// own is what a value of type t may allocate beside the place it lies in, and beside
// what the values within it allocate. Its type must have been visited.
func (w *walker) own(t reflect.Type) uint64 {
	switch {
	case w.plan.err != nil || w.isPart(t):
		return 0
	case t.Kind() == reflect.Pointer:
		return uint64(t.Elem().Size()) + w.own(t.Elem())
	case w.isKnown(t) || w.customDec(t):
		return textSlack
	}
	switch t.Kind() {
	case reflect.Map:
		return mapHead
	case reflect.Interface:
		return boxed
	case reflect.String, reflect.Slice:
		return textSlack
	}
	return 0
}

// grown is what a slice of n bytes takes until it has that length.
func (w *walker) grown(n uint64) uint64 { return (w.growth*n + 7) / 8 }

// slots is what an entry of a large map takes: its slots are filled to 7/16 at least, and where
// their number is not known beforehand, smaller ones were filled before.
func (w *walker) slots(slot uint64) uint64 { return 2*slot + w.grown(slot) + 8 }

func (w *walker) mapped(slot uint64) {
	w.plan.perMap = max(w.plan.perMap, pairSlack+mapSlots*slot)
}

func (w *walker) item(n uint64) { w.plan.perItem = max(w.plan.perItem, n) }
func (w *walker) pair(n uint64) { w.plan.perPair = max(w.plan.perPair, n) }

// embedsItself reports whether t is among the structs embedded in it: the libraries
// would look for its fields for ever.
func (w *walker) embedsItself(t reflect.Type, path []reflect.Type) bool {
	if slices.Contains(path, t) {
		return true
	}
	path = append(path, t)
	for i := range t.NumField() {
		f := t.Field(i)
		ft := f.Type
		for n := 0; ft.Kind() == reflect.Pointer && n < maxPointers; n++ {
			ft = ft.Elem()
		}
		if f.Anonymous && ft.Kind() == reflect.Struct && f.Tag.Get(w.tag) != "-" &&
			w.embedsItself(ft, path) {
			return true
		}
	}
	return false
}

func (m *format) isKnown(t reflect.Type) bool   { return t == m.known }
func (m *format) customEnc(t reflect.Type) bool { return !m.isKnown(t) && custom(t, m.encodes) }
func (m *format) customDec(t reflect.Type) bool { return !m.isKnown(t) && custom(t, m.decodes) }

// custom reports whether t, or a pointer to it, implements one of the interfaces.
func custom(t reflect.Type, ifaces []reflect.Type) bool { return first(t, ifaces) >= 0 }

// first returns which of the interfaces a t, or else a pointer to it, implements first; -1 for none.
func first(t reflect.Type, ifaces []reflect.Type) int {
	i := slices.IndexFunc(ifaces, t.Implements)
	if i < 0 && t.Kind() != reflect.Pointer {
		i = slices.IndexFunc(ifaces, reflect.PointerTo(t).Implements)
	}
	return i
}

func implements(t reflect.Type, ifaces []reflect.Type) bool {
	return slices.ContainsFunc(ifaces, t.Implements)
}
