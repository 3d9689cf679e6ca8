package codec

import (
	"bytes"
	"encoding"
	"encoding/binary"
	"errors"
	"math/bits"
	"reflect"
	"time"

	"github.com/tandem-go/tandem/internal/longcopy"
)

// A decoder decodes one body. It lives on the stack, so it is never given to a function
// that is called indirectly. It fails by a panic: with a failure, or with one of Go's own
// where the body is cut short. Decode recovers both, and looks for the reason.
//
// It trusts no length. Whatever containers claim to hold, all of them together may not hold
// more than the field values says, which is at most one value a byte, and their depth is
// bounded. So a decoder allocates no more than some honest body of that length would have
// it allocate; see msgpackCodec.within for how that is bounded.
type decoder struct {
	codec  *msgpackCodec
	b      []byte // the body, without room behind its end
	depth  int    // how many more containers there may be around a value
	values int    // how many more values containers may hold
	parts  int    // bytes that parts may have allocated
}

// run decodes the whole body as a value of node n to p, and leaves there what the library
// would.
func (d *decoder) run(n *node, p addr) (err error) {
	defer recovered(&err, ErrMalformed)
	if end := d.value(n, 0, p); end != len(d.b) {
		fail(ErrMalformed, "%d bytes after the value", len(d.b)-end)
	}
	return nil
}

// value decodes the value that begins at index i, and returns the index behind it.
func (d *decoder) value(n *node, i int, p addr) int {
	switch n.kind {
	case reflect.Struct, kindEmpty:
		return d.fields(n, i, p)
	case reflect.Slice, reflect.Array:
		return d.list(n, i, p)
	case reflect.Map:
		return d.mapping(n, i, p)
	case reflect.Interface:
		return d.inside(n, i, p)
	case reflect.Pointer:
		to := at[addr](p)
		if d.b[i] == 0xc0 {
			*to = nil
			return i + 1
		}
		if *to == nil {
			*to = addrIn(reflect.New(n.elem.typ))
		}
		return d.value(n.elem, i, *to)
	case kindByteArray:
		s, next := d.text(i)
		if len(s) > n.length {
			fail(ErrMalformed, "%d bytes for an array of %d", len(s), n.length)
		}
		copy(bytesAt(p, n.length), s)
		return next
	case kindTime:
		return d.time(n, i, at[time.Time](p))
	case kindText:
		return d.unmarshalText(n, i, p)
	case kindPart:
		return d.part(n, i, p)
	case kindLibrary:
		return d.library(n.typ, i, p)
	}
	next := decodeScalar(n.kind, d.b, i, p)
	if next <= 0 {
		d.noScalar(n.kind, i, next)
	}
	return next
}

func (d *decoder) unmarshalText(n *node, i int, p addr) int {
	text, next := d.text(i)
	if text == nil {
		valueAt(n.typ, p).SetZero()
		return next
	}
	own := append(make([]byte, 0, len(text)), text...) // which the method may keep
	if err := pointerTo(n.typ, p).Interface().(encoding.TextUnmarshaler).UnmarshalText(own); err != nil {
		fail(ErrMalformed, "%w", err)
	}
	return next
}

// library leaves a value of type t to the library. What is decoded after it relies on it,
// or on the type's own method, to have read one value and no more.
func (d *decoder) library(t reflect.Type, i int, p addr) int {
	next, held, err := d.codec.library.decode(d.b, i, valueAt(t, p), d.left())
	return d.pass(next, held, err)
}

// time reads nil as the zero time, and leaves forms in which only others send times to the
// library. A time is sent as an instant, without its zone: what comes is in UTC, wherever
// it is decoded, so that its day, and the key that it is in a map, are the same on every node.
func (d *decoder) time(n *node, i int, to *time.Time) int {
	if d.b[i] == 0xc0 {
		*to = time.Time{}
		return i + 1
	}
	t, next := readTime(d.b, i)
	if next == 0 {
		next = d.library(n.typ, i, addrOf(to))
		t = to.UTC()
	}
	*to = t
	return next
}

func (d *decoder) list(n *node, i int, p addr) int {
	count, next := d.enterArray(i)
	if n.kind == reflect.Array {
		if count > n.length {
			fail(ErrMalformed, "%d elements for a %s", count, n.typ)
		}
	} else if count >= 0 {
		p = resize(n.typ, p, count)
	} else if n.elem.typ != reflect.TypeFor[string]() { // of which the library leaves what is there
		valueAt(n.typ, p).SetZero()
	}
	if count < 0 {
		return next
	}
	for j := range count {
		next = d.value(n.elem, next, add(p, uintptr(j)*n.elem.size))
	}
	d.leave()
	return next
}

func (d *decoder) fields(n *node, i int, p addr) int {
	if c := d.b[i]; n.placed || c >= 0x90 && c < 0xa0 || c == 0xdc || c == 0xdd {
		return d.array(n, i, p)
	}
	count, next := d.enterMap(i)
	if count < 0 {
		valueAt(n.typ, p).SetZero()
		return next
	}
	expected := 0 // the sender has most likely the same fields in the same order
	for range count {
		if expected < len(n.fields) && bytes.HasPrefix(d.b[next:], n.fields[expected].key) {
			next += len(n.fields[expected].key)
		} else {
			var key []byte
			key, next = d.text(next)
			at, known := n.byName[string(key)]
			if !known {
				next = d.skip(next)
				continue
			}
			expected = at
		}
		f := &n.fields[expected]
		expected++
		if f.bare {
			if end := decodeScalar(f.node.kind, d.b, next, add(p, f.off)); end > 0 {
				next = end
				continue
			}
		}
		next = d.field(f, next, p)
	}
	d.leave()
	return next
}

// array decodes a struct that was sent as an array of its fields.
func (d *decoder) array(n *node, i int, p addr) int {
	if n.placed && n.kind == kindEmpty {
		if d.b[i] != 0x80 && d.b[i] != 0xc0 {
			d.unexpected(i, "a struct without fields")
		}
		return i + 1
	}
	count, next := d.enterArray(i)
	switch {
	case count < 0 && n.placed:
		valueAt(n.typ, p).SetZero()
		return next
	case count == 0 && !n.placed:
		valueAt(n.typ, p).SetZero()
	case count != n.coded:
		fail(ErrMalformed, "%d values for the %d fields of a %s", count, n.coded, n.typ)
	}
	for j := range count {
		f := &n.fields[j]
		if f.bare {
			if end := decodeScalar(f.node.kind, d.b, next, add(p, f.off)); end > 0 {
				next = end
				continue
			}
		}
		next = d.field(f, next, p)
	}
	d.leave()
	return next
}

func (d *decoder) field(f *fieldNode, i int, p addr) int {
	if len(f.hops) > 0 {
		p = f.makeAt(p)
	} else {
		p = add(p, f.off)
	}
	if f.sealed { // reflect may not write to it, and so not empty it either
		if n, next := readArrayHead(d.b, i); next != 0 && n <= 0 {
			d.unexpected(i, "the content of an embedded struct")
		}
	}
	return d.value(f.node, i, p)
}

// enterArray begins an array, which leave ends, or returns -1 for nil, which it does not.
func (d *decoder) enterArray(i int) (count, next int) {
	count, next = readArrayHead(d.b, i)
	if next == 0 {
		d.unexpected(i, "an array")
	}
	d.enter(count, count)
	return count, next
}

// enterMap is enterArray for a map.
func (d *decoder) enterMap(i int) (count, next int) {
	count, next = readMapHead(d.b, i)
	if next == 0 {
		d.unexpected(i, "a map")
	}
	d.enter(count, 2*count)
	return count, next
}

func (d *decoder) enter(count, values int) {
	if count < 0 {
		return
	}
	d.depth--
	d.values -= values
	if d.depth < 0 || d.values < 0 || values < count {
		d.beyond()
	}
}

func (d *decoder) beyond() { fail(ErrMalformed, "more than there may be") } // scan says of what

func (d *decoder) leave() { d.depth++ }

// text reads a string or a binary, or nil for nil.
func (d *decoder) text(i int) (text []byte, next int) {
	text, next = readBytes(d.b, i)
	if next == 0 {
		d.unexpected(i, "a string or a binary")
	}
	return text, next
}

// skip returns the index behind the value at index i.
func (d *decoder) skip(i int) int {
	var s shape
	next, err := scan(d.b, i, d.left(), &s)
	return d.pass(next, s.values(), err)
}

// left returns the limits of a value that others read, and pass takes what it held into
// account.
func (d *decoder) left() Limits { return Limits{Depth: d.depth, Elements: d.values} }

func (d *decoder) pass(next, held int, err error) int {
	if err != nil {
		fail(ErrMalformed, "%w", err)
	}
	d.values -= held
	return next
}

func (d *decoder) unexpected(i int, want string) {
	fail(ErrMalformed, "byte %#x at %d where %s was wanted", d.b[i], i, want)
}

// Scalars. A number that its target cannot hold is an error, and never cut to what fits.

var errDoesNotFit = errors.New("the number does not fit")

// noScalar fails as decodeScalar did, which returned next.
func (d *decoder) noScalar(k reflect.Kind, i, next int) {
	switch {
	case next == tooWide:
		fail(ErrMalformed, "at %d: %w into %s", i, errDoesNotFit, k)
	case k == reflect.Bool:
		d.unexpected(i, "a bool")
	case k <= reflect.Float64:
		d.unexpected(i, "a number")
	}
	d.unexpected(i, "a string or a binary")
}

// decodeScalar decodes what begins at b[i] to the value at p, of a kind of node.scalar or an
// empty struct. It returns the index behind it; or 0 if there is something else, or if b ends
// within it, or tooWide.
func decodeScalar(k reflect.Kind, b []byte, i int, p addr) (next int) {
	switch k {
	case reflect.Bool:
		c := b[i]
		if c != 0xc0 && c != 0xc2 && c != 0xc3 {
			return 0
		}
		*at[bool](p) = c == 0xc3
		return i + 1
	case reflect.String:
		s, next := readBytes(b, i)
		if next > 0 {
			*at[string](p) = longcopy.String(s)
		}
		return next
	case kindBytes:
		s, next := readBytes(b, i)
		switch to := at[[]byte](p); {
		case next == 0:
		case s == nil:
			*to = nil
		default:
			*to = longcopy.Into(*to, s)
		}
		return next
	case kindEmpty:
		if b[i] != 0x80 {
			return 0
		}
		return i + 1
	case reflect.Float32:
		return decodeFloat32(b, i, p)
	case reflect.Float64:
		f, next := readFloat(b, i)
		*at[float64](p) = f
		return next
	}
	n, next := readInt(b, i) // of the integers that remain
	if next == tooWide && (k == reflect.Uint64 || k == reflect.Uint && bits.UintSize == 64) {
		*at[uint64](p) = uint64(n)
		return i + 9
	}
	if next <= 0 {
		return next
	}
	fits := false
	switch k {
	case reflect.Int:
		fits = store[int](n, p)
	case reflect.Int8:
		fits = store[int8](n, p)
	case reflect.Int16:
		fits = store[int16](n, p)
	case reflect.Int32:
		fits = store[int32](n, p)
	case reflect.Int64:
		fits = store[int64](n, p)
	case reflect.Uint:
		fits = n >= 0 && store[uint](n, p)
	case reflect.Uint8:
		fits = store[uint8](n, p)
	case reflect.Uint16:
		fits = store[uint16](n, p)
	case reflect.Uint32:
		fits = store[uint32](n, p)
	case reflect.Uint64:
		fits = n >= 0 && store[uint64](n, p)
	}
	if !fits {
		return tooWide
	}
	return next
}

// store stores n as a T at p, and reports whether it fits.
func store[T int | int8 | int16 | int32 | int64 | uint | uint8 | uint16 | uint32 | uint64](n int64, p addr) bool {
	*at[T](p) = T(n)
	return int64(T(n)) == n
}

func decodeFloat32(b []byte, i int, p addr) (next int) {
	f, next := readFloat(b, i)
	switch c := b[i]; {
	case next <= 0:
		return next
	case c == 0xcb: // the sender has a float64
		return 0
	case c == 0xca: // not by way of a float64, which would change some that are no numbers
		*at[uint32](p) = binary.BigEndian.Uint32(b[i+1:])
	case float64(float32(f)) != f:
		return tooWide
	default:
		*at[float32](p) = float32(f)
	}
	return next
}
