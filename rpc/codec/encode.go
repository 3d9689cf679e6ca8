package codec

import (
	"encoding"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/tandem-go/tandem/internal/longcopy"
)

// An encoder appends one value. It lives on the stack, so it is never given to a function
// that is called indirectly. It fails by a panic with a failure, which Append recovers.
type encoder struct {
	codec *msgpackCodec
	most  int // length of the slice beyond which the body is too long
	depth int // how many more containers there may be around a value
	held  int // of interfaces around it
	spare *spare
	parts int // bytes that decoding the parts may allocate
}

// A spare is memory that encoders use again.
type spare struct {
	entries []entry // of the maps around what is being encoded
	sorted  []byte
	word    addr // what an interface holds in itself
}

var spares = sync.Pool{New: func() any { return new(spare) }}

// keepBody is the longest body after which memory that it needed is kept.
const keepBody = 64 << 10

// run appends v, of plan p, to b.
func (e *encoder) run(b []byte, v any, p *plan) (out []byte, err error) {
	defer recovered(&err, ErrUnsupported)
	if p.inPlace {
		out = e.value(b, p.node, wordOf(v))
	} else {
		out = e.moved(b, v, p)
	}
	if s := e.spare; s != nil && len(out)-len(b) <= keepBody {
		s.word = nil
		spares.Put(s)
	}
	return out, nil
}

// moved appends what the interface v holds, of plan p, which is not in place: its type is
// direct, or it is one of plan.addr, and there is no address at which it may be encoded.
func (e *encoder) moved(b []byte, v any, p *plan) []byte {
	n, word := p.node, wordOf(v)
	switch {
	case n.kind == reflect.Pointer && !p.addr:
		if word == nil {
			return append(b, 0xc0)
		}
		return e.value(b, n.elem, word)
	case n.kind == reflect.Map && !p.addr && e.held == 0:
		s := e.memory()
		s.word = word
		return e.value(b, n, addrOf(&s.word))
	}
	c := reflect.New(p.typ)
	c.Elem().Set(reflect.ValueOf(v))
	return e.value(b, n, addrIn(c))
}

func (e *encoder) memory() *spare {
	if e.spare == nil {
		e.spare = spares.Get().(*spare)
		e.spare.entries = e.spare.entries[:0]
	}
	return e.spare
}

// value appends the value of node n at p.
func (e *encoder) value(b []byte, n *node, p addr) []byte {
	switch n.kind {
	case reflect.Struct:
		if n.loose {
			return e.looseFields(b, n, p)
		}
		return e.fields(b, n, p)
	case reflect.Slice:
		first, length := sliceAt(p)
		if first == nil {
			return append(b, 0xc0)
		}
		return e.list(b, n.elem, first, length)
	case reflect.Array:
		return e.list(b, n.elem, p, n.length)
	case reflect.Map:
		return e.mapping(b, n, p)
	case reflect.Pointer:
		to := *at[addr](p)
		if to == nil {
			return append(b, 0xc0)
		}
		return e.value(b, n.elem, to)
	case reflect.Interface:
		return e.inside(b, *at[any](p))
	case kindByteArray:
		return append(appendBinHead(b, n.length), bytesAt(p, n.length)...)
	case kindTime:
		return appendTime(b, *at[time.Time](p))
	case kindText:
		text, err := pointerTo(n.typ, p).Interface().(encoding.TextMarshaler).MarshalText()
		if err != nil {
			fail(ErrUnsupported, "%w", err)
		}
		if text == nil {
			return append(b, 0xc0)
		}
		return append(appendBinHead(b, len(text)), text...)
	case kindPart:
		return e.part(b, n, p)
	case kindLibrary:
		return e.codec.library.append(b, valueAt(n.typ, p), e.most, e.depth)
	case kindEmpty: // a container as well
		e.enter(b)
		e.leave()
	}
	return appendScalar(b, n.kind, p)
}

// appendScalar appends the value at p, of a kind of node.scalar or an empty struct. Of the
// numbers only int and uint are sent as short as they can be; the others keep their type.
func appendScalar(b []byte, k reflect.Kind, p addr) []byte {
	if k == reflect.String {
		s := *at[string](p)
		return longcopy.Append(appendStringHead(b, len(s)), s)
	}
	switch k {
	case reflect.Bool:
		return append(b, 0xc2|*at[byte](p))
	case reflect.Int:
		return appendInt(b, int64(*at[int](p)))
	case reflect.Int8:
		return append(b, 0xd0, *at[byte](p))
	case reflect.Int16:
		return append16(b, 0xd1, *at[uint16](p))
	case reflect.Int32:
		return append32(b, 0xd2, *at[uint32](p))
	case reflect.Int64:
		return append64(b, 0xd3, *at[uint64](p))
	case reflect.Uint:
		return appendUint(b, uint64(*at[uint](p)))
	case reflect.Uint8:
		return append(b, 0xcc, *at[byte](p))
	case reflect.Uint16:
		return append16(b, 0xcd, *at[uint16](p))
	case reflect.Uint32:
		return append32(b, 0xce, *at[uint32](p))
	case reflect.Uint64:
		return append64(b, 0xcf, *at[uint64](p))
	case reflect.Float32:
		return append32(b, 0xca, *at[uint32](p))
	case reflect.Float64:
		return append64(b, 0xcb, *at[uint64](p))
	case kindEmpty:
		return append(b, 0x80)
	}
	s := *at[[]byte](p)
	if s == nil {
		return append(b, 0xc0)
	}
	return longcopy.Append(appendBinHead(b, len(s)), s)
}

// enter begins a container, which leave ends, and checks what is in b. Thanks to it a
// value that contains itself ends in ErrLimit, and not in an overflow of the stack.
func (e *encoder) enter(b []byte) {
	e.depth--
	if e.depth < 0 || len(b) > e.most {
		e.beyond()
	}
}

func (e *encoder) leave() { e.depth++ }

// look checks the length of what has been encoded.
func (e *encoder) look(b []byte) {
	if len(b) > e.most {
		e.beyond()
	}
}

func (e *encoder) beyond() {
	if e.depth < 0 {
		fail(ErrLimit, "deeper than %d", e.codec.lim.Depth)
	}
	fail(ErrLimit, "body of more than %d bytes", e.codec.lim.Body)
}

func (e *encoder) list(b []byte, elem *node, p addr, length int) []byte {
	b = appendArrayHead(b, length)
	e.enter(b)
	for i := range length {
		b = e.value(b, elem, add(p, uintptr(i)*elem.size))
		e.look(b)
	}
	e.leave()
	return b
}

// fields appends a struct whose fields are all there, at fixed places.
func (e *encoder) fields(b []byte, n *node, p addr) []byte {
	e.enter(b)
	fields := n.fields[:n.coded]
	for i := range fields {
		f := &fields[i]
		b = append(b, f.lead...)
		if f.bare {
			b = appendScalar(b, f.node.kind, add(p, f.off))
		} else {
			b = e.value(b, f.node, add(p, f.off))
		}
	}
	e.leave()
	return b
}

// looseFields appends a struct that is sent as an array, or of which some fields may be
// left out or lie behind embedded pointers. They are sent as nil where such a pointer is nil,
// unless the struct leaves something out.
func (e *encoder) looseFields(b []byte, n *node, p addr) []byte {
	head := len(b)
	if n.asArray {
		b = appendArrayHead(b, n.coded)
	} else {
		b = appendMapHead(b, n.coded)
	}
	e.enter(b)
	first, count := len(b), 0
	for i := range n.fields[:n.coded] {
		f := &n.fields[i]
		if n.omits && f.omitted(p) { // it is asked once: what the answer depends on may change
			if n.placed {
				b = append(b, 0xc0)
				count++
			}
			continue
		}
		count++
		if !n.asArray {
			b = append(b, f.key...)
		}
		if at := f.at(p); at != nil {
			b = e.value(b, f.node, at)
		} else {
			b = append(b, 0xc0)
		}
	}
	if count < n.coded {
		var own [5]byte
		exact := appendMapHead(own[:0], count)
		copy(b[head:], exact)
		b = append(b[:head+len(exact)], b[first:]...)
	}
	e.leave()
	return b
}

// maxHeld is how many interfaces may hold one another.
const maxHeld = 1000

// inside appends what an interface holds.
func (e *encoder) inside(b []byte, v any) []byte {
	if v == nil {
		return append(b, 0xc0)
	}
	if e.held++; e.held > maxHeld {
		fail(ErrLimit, "deeper than %d interfaces", maxHeld)
	}
	p := e.codec.naming().plans.ofValue(v)
	if p.err != nil {
		panic(failure{p.err})
	}
	if p.inPlace {
		b = e.value(b, p.node, wordOf(v))
	} else {
		b = e.moved(b, v, p)
	}
	e.held--
	return b
}

// failure is what encoders and decoders panic with.
type failure struct{ err error }

// fail ends what is being encoded or decoded with an error that wraps kind.
func fail(kind error, format string, args ...any) {
	panic(failure{fmt.Errorf("%w: "+format, append([]any{kind}, args...)...)})
}
