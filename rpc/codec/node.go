package codec

import (
	"bytes"
	"reflect"
)

// A node is the compiled form of a type: what encoder.value and decoder.value need to know
// of it. It refers to the nodes of the types within it; where a type contains itself they form
// a cycle. The fields of a struct stand in it in their order, with their names and nodes, so
// it is the schema as well by which bodies without names could be read. A node does not
// change once it is compiled, and may be used concurrently.
type node struct {
	kind reflect.Kind // or one of the kinds below
	typ  reflect.Type
	size uintptr // of typ

	elem   *node        // of a pointer, slice, array or map
	length int          // of an array
	key    *node        // of a map
	plain  reflect.Kind // of a map of strings to values of that kind, which needs no reflection; else Invalid

	// Of a struct.
	fields  []fieldNode    // in the order in which they are encoded; then those that never are
	coded   int            // how many of fields are encoded
	byName  map[string]int // which of fields has a name, or an alias
	asArray bool
	placed  bool // its fields have places, and no names: see Compact
	omits   bool // some may be left out
	loose   bool // see encoder.looseFields

	ours bool // the library would encode it otherwise
}

// scalar reports whether a value of n is encoded without an encoder, and decoded without a
// decoder. Nothing of that can fail but by the value being another one.
func (n *node) scalar() bool {
	return n.kind >= reflect.Bool && n.kind <= reflect.Float64 || n.kind == reflect.String || n.kind == kindBytes
}

// A fieldNode is a field of a struct that is compiled.
type fieldNode struct {
	node *node
	key  []byte // the name, as it is encoded
	lead []byte // what is before it: key, with the head of the map before the first one; without names only the head of the array
	field
	empty emptyFunc // of a field that may be left out
	bare  bool      // a scalar that lies at off in the struct itself
}

// omitted reports whether omitempty leaves f out of the struct at p.
func (f *fieldNode) omitted(in addr) bool {
	p := f.at(in)
	return p == nil || f.empty != nil && f.empty(p)
}

// Further kinds of nodes.
const (
	kindLibrary   = reflect.UnsafePointer + 1 + iota // the library, or the type itself, does it
	kindBytes                                        // slices of uint8
	kindByteArray                                    // arrays of uint8
	kindEmpty                                        // structs without fields, which are encoded as an empty map
	kindTime
	kindText // types that encode themselves as text
	kindPart // pointers to what Parts carry
)

// A compiler makes the nodes of the types that are reachable from one.
type compiler struct {
	*format
	codec *msgpackCodec
	nodes map[reflect.Type]*node
}

// node returns the node of t. Where a type contains itself it is not complete yet.
func (c *compiler) node(t reflect.Type) *node {
	if n := c.nodes[t]; n != nil {
		return n
	}
	n := &node{kind: t.Kind(), typ: t, size: t.Size()}
	c.nodes[t] = n
	if !c.compile(n, t) || !c.agrees(n, t) {
		*n = node{kind: kindLibrary, typ: t, size: t.Size()}
	}
	return n
}

// compile fills n, or reports false for what is left to the library.
func (c *compiler) compile(n *node, t reflect.Type) bool {
	switch {
	case c.isPart(t):
		n.kind, n.ours = kindPart, true
		return true
	case c.isKnown(t):
		n.kind = kindTime
		return true
	case c.isText(t):
		n.kind = kindText
		return true
	case c.isCustom(t, c.encodes) || c.isCustom(t, c.decodes):
		return false
	}
	switch k := t.Kind(); k {
	case reflect.Slice, reflect.Array:
		isBytes := t.Elem().Kind() == reflect.Uint8
		switch {
		case k == reflect.Array:
			n.length = t.Len()
			if n.kind = kindByteArray; !isBytes {
				n.kind, n.elem = k, c.node(t.Elem())
				n.ours = n.elem.ours
			}
		case isBytes:
			n.kind = kindBytes
		default:
			n.elem = c.node(t.Elem())
		}
	case reflect.Map:
		n.key, n.elem = c.node(t.Key()), c.node(t.Elem())
		if t.Key() == reflect.TypeFor[string]() && t.Elem().PkgPath() == "" && n.elem.kind == t.Elem().Kind() {
			n.plain = n.elem.kind
		}
	case reflect.Pointer:
		n.elem = c.node(t.Elem())
	case reflect.Struct:
		return c.structure(n, t)
	case reflect.Interface:
		return t.NumMethod() == 0
	default:
		return k >= reflect.Bool && k <= reflect.Float64 && k != reflect.Uintptr || k == reflect.String
	}
	return true
}

func (c *compiler) structure(n *node, t reflect.Type) bool {
	l, ok := c.layoutOf(t)
	if !ok {
		return false
	}
	for _, f := range l.whole { // the library inlines only what has no functions registered
		if c.node(structOf(f.typ)).kind == kindLibrary {
			return false
		}
	}
	if len(l.fields) == 0 && !l.asArray {
		n.kind = kindEmpty
	}
	n.placed = c.names != nil
	n.coded, n.asArray, n.omits, n.ours = len(l.fields), l.asArray || n.placed, l.omits && !l.asArray, l.shadows
	n.loose = l.omits || l.asArray && !n.placed
	n.byName = make(map[string]int)
	for i, f := range append(l.fields, l.whole...) {
		fn := fieldNode{node: c.node(f.typ), key: append(appendStringHead(nil, len(f.name)), f.name...), field: f}
		switch fn.lead = fn.key; {
		case n.placed && i == 0:
			fn.lead = appendArrayHead(nil, n.coded)
		case n.placed:
			fn.lead = nil
		case i == 0:
			fn.lead = append(appendMapHead(nil, n.coded), fn.key...)
		}
		fn.bare = fn.node.scalar() && len(f.hops) == 0 && !f.sealed
		if f.omitEmpty {
			if fn.empty, ok = c.emptyOf(f.typ); !ok {
				return false
			}
		}
		if i < n.coded {
			n.loose = n.loose || len(f.hops) > 0
			n.ours = n.ours || fn.node.ours
		}
		n.byName[f.name] = i
		for _, a := range f.aliases {
			n.byName[a] = i
		}
		n.fields = append(n.fields, fn)
	}
	return true
}

// isText reports whether the library calls MarshalText on a t, and UnmarshalText on a
// pointer to one.
func (m *format) isText(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return !nilable(t.Kind()) && implements(t, m.encodes[3:]) && !implements(t, m.encodes[:3]) &&
		implements(p, m.decodes[3:]) && !implements(p, m.decodes[:3]) && !implements(t, m.decodes)
}

// isCustom reports whether t, or what it points to, has methods of the interfaces.
func (m *format) isCustom(t reflect.Type, ifaces []reflect.Type) bool {
	elem := structOf(t)
	return !m.isKnown(elem) && (custom(t, ifaces) || custom(elem, ifaces))
}

func nilable(k reflect.Kind) bool {
	switch k {
	case reflect.Chan, reflect.Func, reflect.Interface, reflect.Map, reflect.Pointer, reflect.Slice:
		return true
	}
	return false
}

const mostCompared = 1 << 20 // bytes of a value that agrees looks at

// agrees compares the encodings of a zero value: a program may have registered functions
// for t with the library, which says so nowhere else. Methods of t are called for it.
func (c *compiler) agrees(n *node, t reflect.Type) bool {
	if c.names != nil { // the bytes are others; what the codec with names has found out holds here, too
		p := c.names.plans.of(t)
		return p.err != nil || p.node.kind != kindLibrary
	}
	if t.PkgPath() == "" && t.Kind() != reflect.Struct || n.ours {
		return true // it has no name to be registered by, or the library has other bytes for it
	}
	if t.Size() > mostCompared {
		return false // not worth the try
	}
	v := reflect.New(t)
	try := func(n *node) (b []byte, err error) {
		defer recovered(&err, ErrUnsupported)
		e := encoder{codec: c.codec, most: mostCompared, depth: c.codec.lim.Depth}
		return e.value(nil, n, addrIn(v)), nil
	}
	lib, libErr := try(&node{kind: kindLibrary, typ: t})
	got, err := try(n)
	return (libErr == nil) == (err == nil) && (libErr != nil || bytes.Equal(lib, got))
}
