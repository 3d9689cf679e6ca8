package codec

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/vmihailenco/msgpack/v5"
)

// A format is what the plans of a codec depend on.
type format struct {
	tag     string         // struct tag whose "-" leaves a field out
	growth  uint64         // eighths of a byte allocated, in all, per byte of a slice's final size
	encodes []reflect.Type // interfaces of types that encode themselves
	decodes []reflect.Type // interfaces of types that decode themselves
	known   []reflect.Type // types the format knows although they have such methods
	arrays  bool           // structs may be encoded as arrays
	refused []reflect.Kind // kinds that it cannot carry at all
}

// A plan is what a codec needs to know about one type of value. It bounds the memory
// that decoding may allocate: 64 KiB of nils decoded into []struct{ A [1024]byte }
// would otherwise take 128 MiB.
type plan struct {
	root    uint64 // bytes allocated for the value itself, whatever it holds
	perItem uint64 // the most that one value in an array may allocate
	perPair uint64 // the most that one entry of a map may allocate
	perMap  uint64 // the most that a map may allocate beside its entries, if it has any

	err    error // the type cannot be carried: wraps ErrUnsupported
	empty  bool  // a struct without fields or methods of its own
	flat   bool  // a struct of scalars: never too deep, never too many elements
	quick  bool  // enc.quick encodes it
	addr   bool  // a type in it encodes itself by pointer: see addressable
	custom bool  // a type in it decodes itself

	// What msgpack compiles.
	typ    reflect.Type
	word   uintptr     // what typeWord gives for its values
	direct bool        // see direct
	enc    *encodeNode // nil: leave it to the library
	dec    *decodeNode // the same
	elem   *plan       // of what a pointer points to
}

// cost estimates, from above, what decoding a body of shape s allocates. The error of
// floating point does not matter to it, and it cannot overflow.
func (p *plan) cost(s *shape) float64 {
	return float64(p.root) + float64(s.payload) +
		float64(s.items)*float64(p.perItem) + float64(s.pairs)*float64(p.perPair) + float64(s.maps)*float64(p.perMap)
}

// check refuses what may allocate more than the limit and a sixteenth of it: the estimate
// is coarse, and a body within the limit that is nearly all one string must pass. What has
// come beyond the first MiB of a body does not count: its sender has filled as much.
func (p *plan) check(s *shape, lim Limits) error {
	c := p.cost(s) - float64(max(0, s.size-bodyCounted))
	if c > float64(lim.Bytes)*17/16 {
		return fmt.Errorf("%w: decoding may take %.0f bytes, limit %d", ErrLimit, c, lim.Bytes)
	}
	return nil
}

// addressable returns a pointer to a copy of v if v holds values that encode themselves by
// methods of their pointers, which the libraries only find where they can take an address.
func (p *plan) addressable(v any) any {
	if !p.addr {
		return v
	}
	c := reflect.New(reflect.TypeOf(v))
	c.Elem().Set(reflect.ValueOf(v))
	return c.Interface()
}

// plans caches the plan of every type a codec has met. The types are those of the
// program, so it stays small.
type plans struct {
	format *format
	lim    Limits
	cache  sync.Map // reflect.Type → *plan

	// recent is asked before cache: it finds most plans without a hash of their type.
	recent [64]atomic.Pointer[plan]

	compile func(reflect.Type, *plan) // nil, or adds to a new plan
}

// ofValue returns the plan of v's type. v must not be nil.
func (ps *plans) ofValue(v any) *plan {
	word := typeWord(v)
	slot := &ps.recent[word>>6%uintptr(len(ps.recent))]
	if p := slot.Load(); p != nil && p.word == word {
		return p
	}
	p := ps.of(reflect.TypeOf(v))
	slot.Store(p)
	return p
}

// check is Check of the codec.
func (ps *plans) check(t reflect.Type) error {
	if t.Kind() == reflect.Interface && t.NumMethod() == 0 {
		return nil
	}
	return ps.of(t).err
}

func (ps *plans) of(t reflect.Type) *plan {
	if p, ok := ps.cache.Load(t); ok {
		return p.(*plan)
	}
	w := walker{format: ps.format, plan: new(plan), growth: ps.format.growth, seen: make(map[reflect.Type]bool)}
	if w.visit(t); w.library {
		w = walker{format: ps.format, plan: new(plan), growth: libraryGrowth, seen: make(map[reflect.Type]bool)}
		w.visit(t)
	}
	p := w.plan
	p.typ, p.word = t, reflect.ValueOf(t).Pointer()
	if p.err == nil {
		p.root = w.own(t)
		p.flat = w.flat(t, ps.lim)
		p.empty = t.Kind() == reflect.Struct && t.NumField() == 0 && !w.customEnc(t)
		if ps.compile != nil {
			ps.compile(t, p)
		}
	}
	got, _ := ps.cache.LoadOrStore(t, p)
	return got.(*plan)
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
	seen    map[reflect.Type]bool
	path    []string // fields that lead to the type
}

func (w *walker) visit(t reflect.Type) {
	if w.seen[t] || w.plan.err != nil {
		return
	}
	w.seen[t] = true
	if w.isKnown(t) {
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
	for _, k := range w.refused {
		if t.Kind() == k {
			w.refuse("a %s", t)
			return
		}
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
		w.library = w.library || !ok || t.Size() > mostCompared
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

// first returns which of the interfaces a t, or else a pointer to it, implements first; -1 for none.
func first(t reflect.Type, ifaces []reflect.Type) int {
	for _, t := range []reflect.Type{t, reflect.PointerTo(t)} {
		for i, f := range ifaces {
			if t.Implements(f) {
				return i
			}
		}
	}
	return -1
}

// own is what a value of type t may allocate beside the place it lies in, and beside
// what the values within it allocate. Its type must have been visited.
func (w *walker) own(t reflect.Type) uint64 {
	switch {
	case w.plan.err != nil:
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

// flat reports whether t is a struct of scalars whose encoding is within lim, whatever
// it holds, but for its length.
func (w *walker) flat(t reflect.Type, lim Limits) bool {
	if t.Kind() != reflect.Struct || w.customEnc(t) || 2*t.NumField() > lim.Elements {
		return false
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if f.PkgPath != "" && !f.Anonymous {
			continue
		}
		if f.Anonymous || w.customEnc(f.Type) {
			return false
		}
		switch f.Type.Kind() {
		case reflect.Struct:
			if !w.isKnown(f.Type) {
				return false
			}
		case reflect.Slice:
			if f.Type.Elem().Kind() != reflect.Uint8 {
				return false
			}
		case reflect.Array, reflect.Map, reflect.Interface, reflect.Pointer:
			return false
		}
	}
	return true
}

// embedsItself reports whether t is among the structs embedded in it: the libraries
// would look for its fields for ever.
func (w *walker) embedsItself(t reflect.Type, path []reflect.Type) bool {
	for _, p := range path {
		if p == t {
			return true
		}
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

func (m *format) isKnown(t reflect.Type) bool {
	for _, s := range m.known {
		if s == t {
			return true
		}
	}
	return false
}

func (w *walker) customEnc(t reflect.Type) bool { return !w.isKnown(t) && custom(t, w.encodes) }
func (w *walker) customDec(t reflect.Type) bool { return !w.isKnown(t) && custom(t, w.decodes) }

// custom reports whether t, or a pointer to it, implements one of the interfaces.
func custom(t reflect.Type, ifaces []reflect.Type) bool {
	return implements(t, ifaces) || t.Kind() != reflect.Pointer && implements(reflect.PointerTo(t), ifaces)
}

func implements(t reflect.Type, ifaces []reflect.Type) bool {
	for _, i := range ifaces {
		if t.Implements(i) {
			return true
		}
	}
	return false
}
