package codec

import (
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"time"
	"unsafe"
)

// A decodeFunc decodes the value that begins at index at of d.in.b into p, and returns
// the index behind it. It may rely on what scan has established: each value, and each
// length in it, ends within the body.
type decodeFunc func(d *decoder, at int, p unsafe.Pointer) (int, error)

// A decodeNode decodes into values of one type, and leaves in them what the library would.
type decodeNode struct {
	kind  fastKind // if not slow, what stands in place of fn
	fn    decodeFunc
	num   func(b []byte, at int, p unsafe.Pointer) (int, error) // fn of a fastNumber
	lib   bool                                                  // the library decodes it
	struc bool                                                  // an empty map changes nothing
	leaf  bool                                                  // holds no other value, and neither the library nor a user's method has a part in it

	flat *structDecoder // not nil for a struct of leaves
}

// A decodeCompiler makes the decoders of the types that are reachable from one. A type
// that enc leaves to the library is left to it here, too.
type decodeCompiler struct {
	*format
	enc   *encodeCompiler
	nodes map[reflect.Type]*decodeNode
}

func (c *decodeCompiler) node(t reflect.Type) *decodeNode {
	if n := c.nodes[t]; n != nil {
		return n
	}
	n := new(decodeNode)
	c.nodes[t] = n
	if c.enc.node(t).lib || !c.compile(n, t) {
		*n = decodeNode{fn: libraryDecodes(t), lib: true}
	}
	return n
}

// compile fills n, or reports false for what is left to the library.
func (c *decodeCompiler) compile(n *decodeNode, t reflect.Type) bool {
	switch {
	case c.isKnown(t):
		n.fn = decodeTime(libraryDecodes(t))
		return true
	case c.takesText(t):
		n.fn = decodeText(t)
		return true
	case c.isCustom(t, c.decodes):
		return false
	}
	isBytes := (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) && t.Elem().Kind() == reflect.Uint8
	n.leaf = t.Kind() < reflect.Array || t.Kind() == reflect.String || isBytes
	switch t.Kind() {
	case reflect.Bool:
		n.kind = fastBool
	case reflect.Int:
		n.kind = fastInt
	case reflect.Int64:
		n.kind = fastInt64
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32,
		reflect.Uint64, reflect.Float32, reflect.Float64:
		n.kind, n.num = fastNumber, numberDecoders[t.Kind()]
	case reflect.String:
		n.kind = fastString
	case reflect.Slice:
		if n.kind = fastBytes; !isBytes {
			n.kind, n.fn = slow, decodeSlice(t, c.node(t.Elem()))
		}
	case reflect.Array:
		if n.fn = decodeByteArray(t.Len()); !isBytes {
			n.fn = decodeArray(t, c.node(t.Elem()))
		}
	case reflect.Map:
		n.fn = c.mapping(t)
	case reflect.Interface:
		if t.NumMethod() > 0 {
			return false
		}
		n.fn = decodeGeneric(libraryDecodes(t))
	case reflect.Pointer:
		n.fn = decodePointer(t.Elem(), c.node(t.Elem()))
	case reflect.Struct:
		return c.structure(n, t)
	default:
		return false
	}
	return true
}

// takesText reports whether the library calls UnmarshalText on a pointer to a t.
func (m *format) takesText(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return implements(p, m.decodes[3:]) && !implements(p, m.decodes[:3]) && !implements(t, m.decodes) && !nilable(t.Kind())
}

func (n *decodeNode) decode(d *decoder, at int, p unsafe.Pointer) (int, error) {
	if n.kind == slow {
		return n.fn(d, at, p)
	}
	return n.fast(d.in.b, at, p)
}

// fast decodes a value of a fast kind.
func (n *decodeNode) fast(b []byte, at int, p unsafe.Pointer) (int, error) {
	switch n.kind {
	case fastNumber:
		return n.num(b, at, p)
	case fastBool:
		c := b[at]
		if c != 0xc0 && c != 0xc2 && c != 0xc3 {
			return unexpected(b, at, "a bool")
		}
		*(*bool)(p) = c == 0xc3
		return at + 1, nil
	case fastInt, fastInt64:
		v, next := readInt(b, at)
		if next <= 0 {
			return noNumber(b, at, next, "an integer")
		}
		if n.kind == fastInt64 {
			*(*int64)(p) = v
			return next, nil
		}
		if *(*int)(p) = int(v); int64(int(v)) != v {
			return noNumber(b, at, tooWide, "an int")
		}
		return next, nil
	}
	s, next := readBytes(b, at)
	if next == 0 {
		return unexpected(b, at, "a string or binary")
	}
	if n.kind == fastString {
		*(*string)(p) = string(s)
	} else {
		to := (*[]byte)(p)
		if s == nil {
			*to = nil
		} else {
			if *to == nil || cap(*to) < len(s) {
				*to = make([]byte, len(s))
			}
			*to = (*to)[:len(s)]
			copy(*to, s)
		}
	}
	return next, nil
}

func unexpected(b []byte, at int, want string) (int, error) {
	return at, fmt.Errorf("byte %#x at %d where %s was wanted", b[at], at, want)
}

var errOutOfStep = errors.New("a type that decodes itself did not read exactly one value")

// libraryDecodes leaves a t to the library. What is decoded after it relies on it, or on
// the type's own method, to have read one value and no more.
func libraryDecodes(t reflect.Type) decodeFunc {
	return func(d *decoder, at int, p unsafe.Pointer) (int, error) {
		if !d.ready {
			d.dec.Reset(&d.in)
			d.dec.DisableAllocLimit(true) // scan has checked every length
			d.ready = true
		}
		d.in.at = at
		if err := d.dec.DecodeValue(valueAt(t, p)); err != nil {
			return at, err
		}
		if next := skip(d.in.b, at); next != d.in.at {
			return at, errOutOfStep
		}
		return d.in.at, nil
	}
}

// readBytes returns the payload of a string or a binary, or nil for nil. It returns 0 as
// next for anything else.
func readBytes(b []byte, at int) (p []byte, next int) {
	c := b[at]
	at++
	n := 0
	switch {
	case c >= 0xa0 && c < 0xc0:
		n = int(c & 0x1f)
	case c == 0xd9 || c == 0xc4:
		n = int(b[at])
		at++
	case c == 0xda || c == 0xc5:
		n = int(binary.BigEndian.Uint16(b[at:]))
		at += 2
	case c == 0xdb || c == 0xc6:
		n = int(binary.BigEndian.Uint32(b[at:]))
		at += 4
	case c == 0xc0:
		return nil, at
	default:
		return nil, 0
	}
	return b[at : at+n], at + n
}

// readHead reads the head of an array (fix 0x90, wide 0xdc) or of a map (fix 0x80, wide
// 0xde). It returns -1 for nil, and 0 as next for anything else.
func readHead(b []byte, at int, fix, wide byte) (n, next int) {
	c := b[at]
	at++
	switch {
	case c&0xf0 == fix:
		return int(c & 0x0f), at
	case c == 0xc0:
		return -1, at
	case c == wide:
		n, next = int(binary.BigEndian.Uint16(b[at:])), at+2
	case c == wide+1:
		n, next = int(binary.BigEndian.Uint32(b[at:])), at+4
	default:
		return 0, 0
	}
	if n > len(b)-next {
		return 0, 0 // scan does not let it happen
	}
	return n, next
}

func readArray(b []byte, at int) (n, next int) { return readHead(b, at, 0x90, 0xdc) }
func readMap(b []byte, at int) (n, next int)   { return readHead(b, at, 0x80, 0xde) }

// skip returns the index behind the value at index at, which scan has passed.
func skip(b []byte, at int) int {
	for left := 1; left > 0; left-- {
		c := b[at]
		at++
		switch {
		case c < 0x80 || c >= 0xe0:
			continue
		case c < 0x90:
			left += 2 * int(c&0x0f)
			continue
		case c < 0xa0:
			left += int(c & 0x0f)
			continue
		case c < 0xc0:
			at += int(c & 0x1f)
			continue
		}
		class := classes[c-0xc0]
		width := int(class &^ classMask)
		n := 0
		if class&classMask != 0 && class&classMask != classFixExt {
			n, _ = length(b[at:], width)
		}
		switch class & classMask {
		case classFixExt:
			at += 1 + 1<<width
		case classExt:
			at += width + 1 + n
		case classArray:
			at += width
			left += n
		case classMap:
			at += width
			left += 2 * n
		default: // a number, or a string or binary
			at += width + n
		}
	}
	return at
}

// decodeTime reads the three forms in which times are sent, and leaves the rest to lib. A
// time is sent as an instant, without its zone: what comes is in UTC, wherever it is
// decoded, so that its day, and the key that it is in a map, are the same on every node.
func decodeTime(lib decodeFunc) decodeFunc {
	return func(d *decoder, at int, p unsafe.Pointer) (int, error) {
		b := d.in.b[at:]
		if b[0] == 0xc0 {
			*(*time.Time)(p) = time.Time{}
			return at + 1, nil
		}
		if !isTime(b) {
			next, err := lib(d, at, p)
			*(*time.Time)(p) = (*time.Time)(p).UTC()
			return next, err
		}
		var sec, nsec int64
		n := 0
		switch b[0] {
		case 0xd6:
			n, sec = 6, int64(binary.BigEndian.Uint32(b[2:]))
		case 0xd7:
			v := binary.BigEndian.Uint64(b[2:])
			n, sec, nsec = 10, int64(v&(1<<34-1)), int64(v>>34)
		default:
			n, sec, nsec = 15, int64(binary.BigEndian.Uint64(b[7:])), int64(binary.BigEndian.Uint32(b[3:]))
		}
		*(*time.Time)(p) = time.Unix(sec, nsec).UTC()
		return at + n, nil
	}
}

// isTime reports whether a time in one of its usual forms begins b.
func isTime(b []byte) bool {
	switch b[0] {
	case 0xd6:
		return len(b) >= 6 && b[1] == 0xff
	case 0xd7:
		return len(b) >= 10 && b[1] == 0xff
	case 0xc7:
		return len(b) >= 15 && b[1] == 12 && b[2] == 0xff
	}
	return false
}

func decodeText(t reflect.Type) decodeFunc {
	return func(d *decoder, at int, p unsafe.Pointer) (int, error) {
		text, next := readBytes(d.in.b, at)
		switch {
		case next == 0:
			return unexpected(d.in.b, at, "a text")
		case text == nil:
			valueAt(t, p).SetZero()
			return next, nil
		}
		own := append(make([]byte, 0, len(text)), text...) // which the method may keep
		return next, reflect.NewAt(t, p).Interface().(encoding.TextUnmarshaler).UnmarshalText(own)
	}
}
