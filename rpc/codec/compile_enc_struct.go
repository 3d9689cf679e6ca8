package codec

import (
	"bytes"
	"math/bits"
	"reflect"
	"time"
	"unsafe"
)

// An encodeField is a field of a struct, with its key already encoded.
type encodeField struct {
	field
	*encodeNode
	key   []byte
	empty emptyFunc // nil unless the field may be left out
}

// An emptyFunc reports whether omitempty leaves the value at p out.
type emptyFunc func(p unsafe.Pointer) bool

func (c *encodeCompiler) structure(n *encodeNode, t reflect.Type) bool {
	l, ok := c.layoutOf(t)
	if !ok {
		return false
	}
	fields := make([]encodeField, len(l.fields))
	simple := !l.omits
	n.depth, n.elements, n.ours = 1, 0, l.shadows
	for i, f := range l.fields {
		node := c.node(f.typ)
		fields[i] = encodeField{field: f, encodeNode: node}
		if !l.asArray {
			fields[i].key = append(appendStringHead(nil, len(f.name)), f.name...)
		}
		if f.omitEmpty {
			if fields[i].empty, ok = c.emptyOf(f.typ); !ok {
				return false
			}
		}
		simple = simple && len(f.hops) == 0
		n.contain(node, 2, 1)
	}
	for _, f := range l.whole { // the library inlines only what has no functions registered
		if c.node(structOf(f.typ)).lib {
			return false
		}
	}
	n.fields, n.struc = len(fields), !l.asArray
	head := appendMapHead(nil, len(fields))
	if l.asArray {
		head = appendArrayHead(nil, len(fields))
	}
	switch {
	case simple:
		n.fn = encodeSimple(head, fields)
		n.quick = encodeQuick(fields)
	case l.omits && !l.asArray:
		n.fn = encodeOmitting(fields)
	default:
		n.fn = encodeAll(head, fields)
	}
	return true
}

// encodeSimple encodes structs whose fields are all there, at fixed places.
func encodeSimple(head []byte, fields []encodeField) encodeFunc {
	if len(fields) > 0 { // the head and the first key are appended at once
		fields[0].key = append(head, fields[0].key...)
		head = nil
	}
	return func(e *encoder, b []byte, p unsafe.Pointer) (_ []byte, err error) {
		if head != nil {
			b = append(b, head...)
		}
		if err = e.enter(b); err != nil {
			return b, err
		}
		for i := range fields {
			f := &fields[i]
			b = append(b, f.key...)
			if b, err = f.encode(e, b, unsafe.Add(p, f.off)); err != nil {
				return b, err
			}
		}
		e.leave()
		return b, e.look(b)
	}
}

// encodeQuick encodes structs whose fields are all there and of fast kinds: nothing of it
// can fail, and it needs no encoder. No such struct is direct. fields have been given to
// encodeSimple.
func encodeQuick(fields []encodeField) func(b []byte, p unsafe.Pointer) []byte {
	for _, f := range fields {
		if f.kind == slow {
			return nil
		}
	}
	return func(b []byte, p unsafe.Pointer) []byte {
		for i := range fields {
			f := &fields[i]
			b = append(b, f.key...)
			b, _ = f.encode(nil, b, unsafe.Add(p, f.off))
		}
		return b
	}
}

// encodeAll encodes fields that may lie behind embedded pointers. They are nil where
// such a pointer is.
func encodeAll(head []byte, fields []encodeField) encodeFunc {
	return func(e *encoder, b []byte, p unsafe.Pointer) (_ []byte, err error) {
		b = append(b, head...)
		if err = e.enter(b); err != nil {
			return b, err
		}
		for i := range fields {
			f := &fields[i]
			b = append(b, f.key...)
			at := f.at(p)
			if at == nil {
				b = append(b, 0xc0)
			} else if b, err = f.encode(e, b, at); err != nil {
				return b, err
			}
		}
		e.leave()
		return b, e.look(b)
	}
}

// maxOmitting is how many fields encodeOmitting remembers in one number.
const maxOmitting = 64

// encodeOmitting encodes the fields that are not omitted. It asks each field once: what
// the answer depends on may change.
func encodeOmitting(fields []encodeField) encodeFunc {
	if len(fields) > maxOmitting {
		return encodeOmittingMany(fields)
	}
	return func(e *encoder, b []byte, p unsafe.Pointer) (_ []byte, err error) {
		var there uint64
		for i := range fields {
			if !fields[i].omitted(p) {
				there |= 1 << i
			}
		}
		b = appendMapHead(b, bits.OnesCount64(there))
		if err = e.enter(b); err != nil {
			return b, err
		}
		for ; there != 0; there &= there - 1 {
			f := &fields[bits.TrailingZeros64(there)]
			b = append(b, f.key...)
			if b, err = f.encode(e, b, f.at(p)); err != nil {
				return b, err
			}
		}
		e.leave()
		return b, e.look(b)
	}
}

// encodeOmittingMany is encodeOmitting of more fields.
func encodeOmittingMany(fields []encodeField) encodeFunc {
	return func(e *encoder, b []byte, p unsafe.Pointer) (_ []byte, err error) {
		there := make([]*encodeField, 0, len(fields))
		for i := range fields {
			if !fields[i].omitted(p) {
				there = append(there, &fields[i])
			}
		}
		b = appendMapHead(b, len(there))
		if err = e.enter(b); err != nil {
			return b, err
		}
		for _, f := range there {
			b = append(b, f.key...)
			if b, err = f.encode(e, b, f.at(p)); err != nil {
				return b, err
			}
		}
		e.leave()
		return b, e.look(b)
	}
}

func (f *encodeField) omitted(p unsafe.Pointer) bool {
	at := f.at(p)
	return at == nil || f.empty != nil && f.empty(at)
}

type zeroer interface{ IsZero() bool }

// emptyOf returns what the library's omitempty asks of a t. It is not ok for interfaces,
// which are asked for what they hold, and for structs that are not compiled.
func (c *encodeCompiler) emptyOf(t reflect.Type) (empty emptyFunc, ok bool) {
	k := t.Kind()
	switch {
	case k == reflect.Interface:
		return c.emptyInterface(t), true
	case c.isKnown(t):
		return func(p unsafe.Pointer) bool { return (*time.Time)(p).IsZero() }, true
	case t.Implements(reflect.TypeFor[zeroer]()):
		if !nilable(k) {
			return func(p unsafe.Pointer) bool { return reflect.NewAt(t, p).Interface().(zeroer).IsZero() }, true
		}
		return func(p unsafe.Pointer) bool {
			v := valueAt(t, p)
			return v.IsNil() || v.Interface().(zeroer).IsZero()
		}, true
	}
	switch k {
	case reflect.String, reflect.Slice, reflect.Array, reflect.Map:
		return func(p unsafe.Pointer) bool { return valueAt(t, p).Len() == 0 }, true
	case reflect.Float32, reflect.Float64: // minus nothing is nothing, too
		return func(p unsafe.Pointer) bool { return valueAt(t, p).Float() == 0 }, true
	case reflect.Struct:
		return c.emptyStruct(t)
	}
	return func(p unsafe.Pointer) bool { return valueAt(t, p).IsZero() }, true
}

// emptyInterface asks for what the interface holds.
func (c *encodeCompiler) emptyInterface(t reflect.Type) emptyFunc {
	return func(p unsafe.Pointer) bool {
		v := valueAt(t, p)
		if v.IsNil() {
			return true
		}
		held := reflect.New(v.Elem().Type())
		held.Elem().Set(v.Elem())
		empty, ok := c.emptyOf(held.Elem().Type())
		return ok && empty(held.UnsafePointer())
	}
}

// emptyStruct asks whether all fields are omitted.
func (c *encodeCompiler) emptyStruct(t reflect.Type) (empty emptyFunc, ok bool) {
	l, ok := c.layoutOf(t)
	if !ok {
		return nil, false
	}
	fields := make([]encodeField, len(l.fields))
	for i, f := range l.fields {
		fields[i].field = f
		if f.omitEmpty {
			if fields[i].empty, ok = c.emptyOf(f.typ); !ok {
				return nil, false
			}
		}
	}
	return func(p unsafe.Pointer) bool {
		for i := range fields {
			if !l.omits || !fields[i].omitted(p) {
				return false
			}
		}
		return true
	}, true
}

const mostCompared = 1 << 20 // bytes of a value that agrees looks at

// agrees compares the encodings of a zero value: a program may have registered functions
// for t with the library, which says so nowhere else. Methods of t are called for it.
func (c *encodeCompiler) agrees(n *encodeNode, t reflect.Type) bool {
	if t.PkgPath() == "" && t.Kind() != reflect.Struct || n.ours {
		return true // it has no name to be registered by, or the library has other bytes for it
	}
	if t.Size() > mostCompared {
		return false // not worth the try
	}
	v := reflect.New(t)
	lib, ours := newEncoder(c.plans.lim), newEncoder(c.plans.lim)
	libErr := guard(ErrUnsupported, func() error {
		lib.enc.Reset(&lib.out)
		return lib.enc.EncodeValue(v.Elem())
	})
	var got []byte
	ourErr := guard(ErrUnsupported, func() (err error) {
		got, err = n.encode(ours, nil, v.UnsafePointer())
		return err
	})
	return (libErr == nil) == (ourErr == nil) && (libErr != nil || bytes.Equal(lib.out.b, got))
}
