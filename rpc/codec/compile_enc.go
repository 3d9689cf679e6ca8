package codec

import (
	"encoding"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"time"
	"unsafe"
)

// An encodeFunc appends the encoding of the value at p to b. It works on a slice of its
// own and not through e.out, which is up to date only while the library is called.
type encodeFunc func(e *encoder, b []byte, p unsafe.Pointer) ([]byte, error)

// An encodeNode encodes the values of one type. Its bytes are those of the library.
type encodeNode struct {
	kind   fastKind // if not slow, what a struct's fields are encoded by in place of fn
	fn     encodeFunc
	done   bool // compiled
	lib    bool // the library encodes it
	pure   bool // the library encodes nothing in it either
	ours   bool // the library would encode it otherwise
	struc  bool // the encoding is a map with a pair per field
	fields int

	quick func(b []byte, p unsafe.Pointer) []byte // fn of a struct of fast kinds; nil for all else

	depth, elements int64 // the most that an encoding may hold
}

// A fastKind is a kind of value that is common enough to need no call of a function.
type fastKind uint8

const (
	slow fastKind = iota
	fastBool
	fastInt
	fastInt64
	fastString
	fastBytes
	fastNumber // by fn, which needs neither encoder nor decoder
)

const unbounded = math.MaxInt32

// An encodeCompiler makes the encoders of the types that are reachable from one.
type encodeCompiler struct {
	*format
	plans *plans
	nodes map[reflect.Type]*encodeNode
}

// node returns the encoder of t. Where a type contains itself the node is not complete
// yet; it then claims to be unbounded.
func (c *encodeCompiler) node(t reflect.Type) *encodeNode {
	if n := c.nodes[t]; n != nil {
		return n
	}
	n := &encodeNode{pure: true, depth: unbounded, elements: unbounded}
	c.nodes[t] = n
	if !c.compile(n, t) || !c.agrees(n, t) {
		*n = encodeNode{fn: libraryEncodes(t), lib: true, depth: unbounded, elements: unbounded}
	}
	n.done = true
	return n
}

// compile fills n. It reports false for what is left to the library: errors, and types
// that encode themselves otherwise than as text.
func (c *encodeCompiler) compile(n *encodeNode, t reflect.Type) bool {
	switch {
	case c.isKnown(t):
		n.set(slow, encodeTime)
		return true
	case c.isText(t):
		n.set(slow, encodeText(t))
		return true
	case c.isCustom(t, c.encodes):
		return false
	}
	switch k := t.Kind(); k {
	case reflect.Bool:
		n.set(fastBool, nil)
	case reflect.Int:
		n.set(fastInt, nil)
	case reflect.Int64:
		n.set(fastInt64, nil)
	case reflect.String:
		n.set(fastString, nil)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32,
		reflect.Uint64, reflect.Float32, reflect.Float64:
		n.set(fastNumber, numberEncoders[k])
	case reflect.Slice, reflect.Array:
		return c.list(n, t)
	case reflect.Map:
		return c.mapping(n, t)
	case reflect.Interface:
		if t == reflect.TypeFor[error]() {
			return false
		}
		n.fn = c.plans.encodeInterface(t)
	case reflect.Pointer:
		elem := c.node(t.Elem())
		n.depth, n.elements = 0, 0
		n.contain(elem, 0, 1)
		n.fn = func(e *encoder, b []byte, p unsafe.Pointer) ([]byte, error) {
			if p = *(*unsafe.Pointer)(p); p == nil {
				return append(b, 0xc0), nil
			}
			return elem.encode(e, b, p)
		}
	case reflect.Struct:
		return c.structure(n, t)
	default:
		return false
	}
	return true
}

// isText reports whether the library calls MarshalText on a t, and not on a pointer.
func (m *format) isText(t reflect.Type) bool {
	return implements(t, m.encodes[3:]) && !implements(t, m.encodes[:3]) && !nilable(t.Kind())
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

// set makes n the encoder of something that holds no other values.
func (n *encodeNode) set(k fastKind, fn encodeFunc) {
	n.kind, n.fn, n.depth, n.elements = k, fn, 0, 0
}

// contain adds to n that it holds up to count times elem, and own elements of its own.
func (n *encodeNode) contain(elem *encodeNode, own, count int64) {
	n.pure = n.pure && elem.leavesNothing()
	n.ours = n.ours || elem.ours
	n.depth = min(max(n.depth, elem.depth+1), unbounded)
	n.elements = min(n.elements+own+min(count, unbounded)*elem.elements, unbounded)
}

// leavesNothing reports whether the library has no part in n, as far as is known yet.
func (n *encodeNode) leavesNothing() bool { return n.done && n.pure && !n.lib }

func (n *encodeNode) encode(e *encoder, b []byte, p unsafe.Pointer) ([]byte, error) {
	switch n.kind {
	case fastBool:
		return append(b, 0xc2|*(*byte)(p)), nil
	case fastInt:
		return appendInt(b, int64(*(*int)(p))), nil
	case fastInt64:
		return binary.BigEndian.AppendUint64(append(b, 0xd3), *(*uint64)(p)), nil
	case fastString:
		s := *(*string)(p)
		return append(appendStringHead(b, len(s)), s...), nil
	case fastBytes:
		s := *(*[]byte)(p)
		if s == nil {
			return append(b, 0xc0), nil
		}
		return append(appendBinHead(b, len(s)), s...), nil
	}
	return n.fn(e, b, p)
}

// libraryEncodes leaves a t to the library. It writes to the same slice.
func libraryEncodes(t reflect.Type) encodeFunc {
	return func(e *encoder, b []byte, p unsafe.Pointer) ([]byte, error) {
		e.out.b = b
		if !e.reset {
			e.restart()
		}
		err := e.enc.EncodeValue(valueAt(t, p))
		return e.out.b, err
	}
}

// encodeInterface encodes what an interface of type t holds.
func (ps *plans) encodeInterface(t reflect.Type) encodeFunc {
	empty := t.NumMethod() == 0
	return func(e *encoder, b []byte, p unsafe.Pointer) (_ []byte, err error) {
		var v any
		if empty {
			v = *(*any)(p)
		} else if held := valueAt(t, p); !held.IsNil() {
			v = held.Elem().Interface()
		}
		if out, ok := appendScalar(b, v); ok {
			return out, nil
		}
		if e.generic++; e.generic > maxGeneric { // which hold each other
			e.out.err = fmt.Errorf("%w: deeper than %d interfaces", ErrLimit, maxGeneric)
			return b, e.out.err
		}
		plan := ps.ofValue(v)
		if plan.err != nil {
			return b, plan.err
		}
		at := new(holder)
		place := at.locate(v, plan.typ, plan.direct)
		if plan.addr {
			place = reflect.ValueOf(plan.addressable(v)).UnsafePointer()
		}
		if plan.enc != nil {
			b, err = plan.enc.encode(e, b, place)
		} else {
			b, err = libraryEncodes(plan.typ)(e, b, place)
		}
		runtime.KeepAlive(at)
		runtime.KeepAlive(v)
		e.generic--
		return b, err
	}
}

// maxGeneric is how many interfaces may hold one another.
const maxGeneric = 1000

// enter begins a container whose head is already in b. It checks the depth, so that a
// value that contains itself ends in ErrLimit, and not in an overflow of the stack.
func (e *encoder) enter(b []byte) error {
	if e.depth++; e.depth > e.out.lim.Depth {
		e.out.err = fmt.Errorf("%w: deeper than %d", ErrLimit, e.out.lim.Depth)
		return e.out.err
	}
	return e.look(b)
}

// leave ends a container that was entered. It need not be called after an error.
func (e *encoder) leave() { e.depth-- }

// look checks the limits if b has doubled since that was last done: see sink.
func (e *encoder) look(b []byte) error {
	if len(b) <= e.out.next {
		return nil
	}
	e.out.b = b
	return e.out.look()
}

func (c *encodeCompiler) list(n *encodeNode, t reflect.Type) bool {
	et, size := t.Elem(), t.Elem().Size()
	isBytes := et.Kind() == reflect.Uint8
	if isBytes && t.Kind() == reflect.Slice {
		n.set(fastBytes, nil)
		return true
	}
	if isBytes {
		length := t.Len()
		n.set(slow, func(_ *encoder, b []byte, p unsafe.Pointer) ([]byte, error) {
			return append(appendBinHead(b, length), unsafe.Slice((*byte)(p), length)...), nil
		})
		return true
	}
	elem := c.node(et)
	items := func(e *encoder, b []byte, p unsafe.Pointer, length int) (_ []byte, err error) {
		b = appendArrayHead(b, length)
		if err = e.enter(b); err != nil {
			return b, err
		}
		for i := range length {
			if b, err = elem.encode(e, b, unsafe.Add(p, uintptr(i)*size)); err != nil {
				return b, err
			}
			if err = e.look(b); err != nil {
				return b, err
			}
		}
		e.leave()
		return b, nil
	}
	if t.Kind() == reflect.Array {
		length := t.Len()
		n.depth, n.elements = 1, 0
		n.contain(elem, int64(length), int64(length))
		n.fn = func(e *encoder, b []byte, p unsafe.Pointer) ([]byte, error) { return items(e, b, p, length) }
		return true
	}
	n.pure = elem.leavesNothing()
	n.fn = func(e *encoder, b []byte, p unsafe.Pointer) ([]byte, error) {
		first, length := sliceAt(p)
		if first == nil {
			return append(b, 0xc0), nil
		}
		return items(e, b, first, length)
	}
	return true
}

func appendArrayHead(b []byte, n int) []byte {
	switch {
	case n < 16:
		return append(b, 0x90|byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, 0xdc), uint16(n))
	default:
		return binary.BigEndian.AppendUint32(append(b, 0xdd), uint32(n))
	}
}

func appendMapHead(b []byte, n int) []byte {
	switch {
	case n < 16:
		return append(b, 0x80|byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, 0xde), uint16(n))
	default:
		return binary.BigEndian.AppendUint32(append(b, 0xdf), uint32(n))
	}
}

// numberEncoders is read only. Of the numbers only int and uint are sent as short as
// they can be; the others keep their type.
var numberEncoders = [...]encodeFunc{
	reflect.Int8: func(_ *encoder, b []byte, p unsafe.Pointer) ([]byte, error) {
		return append(b, 0xd0, *(*byte)(p)), nil
	},
	reflect.Int16: func(_ *encoder, b []byte, p unsafe.Pointer) ([]byte, error) {
		return binary.BigEndian.AppendUint16(append(b, 0xd1), *(*uint16)(p)), nil
	},
	reflect.Int32: func(_ *encoder, b []byte, p unsafe.Pointer) ([]byte, error) {
		return binary.BigEndian.AppendUint32(append(b, 0xd2), *(*uint32)(p)), nil
	},
	reflect.Uint: func(_ *encoder, b []byte, p unsafe.Pointer) ([]byte, error) {
		return appendUint(b, uint64(*(*uint)(p))), nil
	},
	reflect.Uint8: func(_ *encoder, b []byte, p unsafe.Pointer) ([]byte, error) {
		return append(b, 0xcc, *(*byte)(p)), nil
	},
	reflect.Uint16: func(_ *encoder, b []byte, p unsafe.Pointer) ([]byte, error) {
		return binary.BigEndian.AppendUint16(append(b, 0xcd), *(*uint16)(p)), nil
	},
	reflect.Uint32: func(_ *encoder, b []byte, p unsafe.Pointer) ([]byte, error) {
		return binary.BigEndian.AppendUint32(append(b, 0xce), *(*uint32)(p)), nil
	},
	reflect.Uint64: func(_ *encoder, b []byte, p unsafe.Pointer) ([]byte, error) {
		return binary.BigEndian.AppendUint64(append(b, 0xcf), *(*uint64)(p)), nil
	},
	reflect.Float32: func(_ *encoder, b []byte, p unsafe.Pointer) ([]byte, error) {
		return binary.BigEndian.AppendUint32(append(b, 0xca), *(*uint32)(p)), nil
	},
	reflect.Float64: func(_ *encoder, b []byte, p unsafe.Pointer) ([]byte, error) {
		return binary.BigEndian.AppendUint64(append(b, 0xcb), *(*uint64)(p)), nil
	},
}

// encodeTime appends extension -1: 4, 8 or 12 bytes, whichever suffice.
func encodeTime(_ *encoder, b []byte, p unsafe.Pointer) ([]byte, error) {
	t := *(*time.Time)(p)
	secs, nanos := uint64(t.Unix()), uint64(t.Nanosecond())
	switch {
	case secs>>32 == 0 && nanos == 0:
		return binary.BigEndian.AppendUint32(append(b, 0xd6, 0xff), uint32(secs)), nil
	case secs>>34 == 0:
		return binary.BigEndian.AppendUint64(append(b, 0xd7, 0xff), nanos<<34|secs), nil
	default:
		b = binary.BigEndian.AppendUint32(append(b, 0xc7, 12, 0xff), uint32(nanos))
		return binary.BigEndian.AppendUint64(b, secs), nil
	}
}

func encodeText(t reflect.Type) encodeFunc {
	return func(_ *encoder, b []byte, p unsafe.Pointer) ([]byte, error) {
		text, err := reflect.NewAt(t, p).Interface().(encoding.TextMarshaler).MarshalText()
		if err != nil {
			return b, err
		}
		if text == nil {
			return append(b, 0xc0), nil
		}
		return append(appendBinHead(b, len(text)), text...), nil
	}
}
