package codec

import (
	"encoding/binary"
	"math"
	"reflect"

	"github.com/tandem-go/tandem/internal/longcopy"
)

// Values whose type the body says, because they are decoded into an interface.

// inside decodes to the interface at p. What one that is not nil holds is left to the library.
func (d *decoder) inside(n *node, i int, p addr) int {
	to := at[any](p)
	if *to != nil {
		return d.library(n.typ, i, p)
	}
	v, next := d.any(i)
	*to = v
	return next
}

// any decodes numbers as they were sent, and else a string, bool, []byte, time.Time, []any
// or map[string]any. Extensions other than times are left to the library.
func (d *decoder) any(i int) (v any, next int) {
	b := d.b
	switch c := b[i]; {
	case c < 0x80 || c >= 0xe0:
		return int8(c), i + 1
	case c < 0x90 || c == 0xde || c == 0xdf:
		return d.anyMap(i)
	case c < 0xa0 || c == 0xdc || c == 0xdd:
		count, next := d.enterArray(i)
		list := make([]any, count)
		for j := range list {
			list[j], next = d.any(next)
		}
		d.leave()
		return list, next
	case c >= 0xc4 && c <= 0xc6:
		s, next := d.text(i)
		return longcopy.Clone(s), next
	case isText(c):
		s, next := d.text(i)
		return longcopy.String(s), next
	}
	at := i + 1
	switch b[i] {
	case 0xc0:
		return nil, at
	case 0xc2, 0xc3:
		return b[i] == 0xc3, at
	case 0xca:
		return math.Float32frombits(binary.BigEndian.Uint32(b[at:])), at + 4
	case 0xcb:
		return math.Float64frombits(binary.BigEndian.Uint64(b[at:])), at + 8
	case 0xcc:
		return b[at], at + 1
	case 0xcd:
		return binary.BigEndian.Uint16(b[at:]), at + 2
	case 0xce:
		return binary.BigEndian.Uint32(b[at:]), at + 4
	case 0xcf:
		return binary.BigEndian.Uint64(b[at:]), at + 8
	case 0xd0:
		return int8(b[at]), at + 1
	case 0xd1:
		return int16(binary.BigEndian.Uint16(b[at:])), at + 2
	case 0xd2:
		return int32(binary.BigEndian.Uint32(b[at:])), at + 4
	case 0xd3:
		return int64(binary.BigEndian.Uint64(b[at:])), at + 8
	}
	if t, next := readTime(b, i); next != 0 {
		return t, next
	}
	return d.extension(i)
}

// extension leaves an extension to the library. It is apart because its v is on the heap.
func (d *decoder) extension(i int) (v any, next int) {
	next = d.library(reflect.TypeFor[any](), i, addrOf(&v))
	return v, next
}

// anyMap decodes a map whose keys are strings, or nil.
func (d *decoder) anyMap(i int) (m map[string]any, next int) {
	count, next := d.enterMap(i)
	if count < 0 {
		return nil, next
	}
	m = make(map[string]any, count)
	for range count {
		var key []byte
		key, next = d.text(next)
		m[string(key)], next = d.any(next)
	}
	d.leave()
	return m, next
}
