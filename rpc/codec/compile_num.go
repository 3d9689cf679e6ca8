package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"time"
	"unsafe"
)

// The decoders of numbers, and of values whose type the body says. A number that its
// target cannot hold is an error, and never cut to what fits.

var errDoesNotFit = errors.New("the number does not fit")

// tooWide is the index behind a number that what was wanted cannot hold.
const tooWide = -1

// noNumber is the error of a reader of numbers, which returned next.
func noNumber(b []byte, at, next int, want string) (int, error) {
	if next == tooWide {
		return at, fmt.Errorf("at %d, where %s was wanted: %w", at, want, errDoesNotFit)
	}
	return unexpected(b, at, want)
}

// readInt reads an integer, or nil for zero. It returns tooWide as next for one that an
// int64 cannot hold, and 0 for anything else.
func readInt(b []byte, at int) (n int64, next int) {
	c := b[at]
	if c < 0x80 || c >= 0xe0 {
		return int64(int8(c)), at + 1
	}
	at++
	switch c {
	case 0xc0:
		return 0, at
	case 0xcc:
		return int64(b[at]), at + 1
	case 0xd0:
		return int64(int8(b[at])), at + 1
	case 0xcd:
		return int64(binary.BigEndian.Uint16(b[at:])), at + 2
	case 0xd1:
		return int64(int16(binary.BigEndian.Uint16(b[at:]))), at + 2
	case 0xce:
		return int64(binary.BigEndian.Uint32(b[at:])), at + 4
	case 0xd2:
		return int64(int32(binary.BigEndian.Uint32(b[at:]))), at + 4
	case 0xd3:
		return int64(binary.BigEndian.Uint64(b[at:])), at + 8
	case 0xcf:
		if n = int64(binary.BigEndian.Uint64(b[at:])); n < 0 {
			return 0, tooWide
		}
		return n, at + 8
	}
	return 0, 0
}

// readUint is readInt for an uint64, which holds nothing below zero.
func readUint(b []byte, at int) (n uint64, next int) {
	if b[at] == 0xcf {
		return binary.BigEndian.Uint64(b[at+1:]), at + 9
	}
	i, next := readInt(b, at)
	if i < 0 {
		return 0, tooWide
	}
	return uint64(i), next
}

type numberDecoder func(b []byte, at int, p unsafe.Pointer) (int, error)

// numberDecoders is read only.
var numberDecoders = [...]numberDecoder{
	reflect.Int8: decodeInt[int8], reflect.Int16: decodeInt[int16], reflect.Int32: decodeInt[int32],
	reflect.Uint: decodeUint[uint], reflect.Uint8: decodeUint[uint8], reflect.Uint16: decodeUint[uint16],
	reflect.Uint32: decodeUint[uint32], reflect.Uint64: decodeUint[uint64],
	reflect.Float32: decodeFloat32, reflect.Float64: decodeFloat64,
}

func decodeInt[T int8 | int16 | int32](b []byte, at int, p unsafe.Pointer) (int, error) {
	n, next := readInt(b, at)
	if next > 0 && int64(T(n)) != n {
		next = tooWide
	}
	if next <= 0 {
		return noNumber(b, at, next, fmt.Sprintf("an %T", T(0)))
	}
	*(*T)(p) = T(n)
	return next, nil
}

func decodeUint[T uint | uint8 | uint16 | uint32 | uint64](b []byte, at int, p unsafe.Pointer) (int, error) {
	n, next := readUint(b, at)
	if next > 0 && uint64(T(n)) != n {
		next = tooWide
	}
	if next <= 0 {
		return noNumber(b, at, next, fmt.Sprintf("a %T", T(0)))
	}
	*(*T)(p) = T(n)
	return next, nil
}

func decodeFloat32(b []byte, at int, p unsafe.Pointer) (int, error) {
	if b[at] == 0xca {
		*(*uint32)(p) = binary.BigEndian.Uint32(b[at+1:])
		return at + 5, nil
	}
	f, next := readWhole(b, at)
	if next > 0 && float64(float32(f)) != f {
		next = tooWide
	}
	if next <= 0 {
		return noNumber(b, at, next, "a float32")
	}
	*(*float32)(p) = float32(f)
	return next, nil
}

func decodeFloat64(b []byte, at int, p unsafe.Pointer) (int, error) {
	switch b[at] {
	case 0xcb:
		*(*uint64)(p) = binary.BigEndian.Uint64(b[at+1:])
		return at + 9, nil
	case 0xca:
		*(*float64)(p) = float64(math.Float32frombits(binary.BigEndian.Uint32(b[at+1:])))
		return at + 5, nil
	}
	f, next := readWhole(b, at)
	if next <= 0 {
		return noNumber(b, at, next, "a float64")
	}
	*(*float64)(p) = f
	return next, nil
}

// readWhole reads an integer as the float that is equal to it. There is none for most
// beyond 2⁵³.
func readWhole(b []byte, at int) (f float64, next int) {
	if b[at] == 0xcf {
		n := binary.BigEndian.Uint64(b[at+1:])
		if f = float64(n); f >= 1<<64 || uint64(f) != n {
			return 0, tooWide
		}
		return f, at + 9
	}
	n, next := readInt(b, at)
	if f = float64(n); f >= 1<<63 || int64(f) != n {
		return 0, tooWide
	}
	return f, next
}

// decodeGeneric decodes into an interface without methods. What one that is not nil holds is
// left to lib.
func decodeGeneric(lib decodeFunc) decodeFunc {
	return func(d *decoder, at int, p unsafe.Pointer) (int, error) {
		to := (*any)(p)
		if *to != nil {
			return lib(d, at, p)
		}
		v, next, err := d.generic(at, lib)
		if err == nil {
			*to = v
		}
		return next, err
	}
}

// generic decodes a value of the type that its encoding says: numbers as they were sent,
// and else string, bool, []byte, time.Time, []any and map[string]any. Extensions other
// than times are left to lib.
func (d *decoder) generic(at int, lib decodeFunc) (v any, next int, err error) {
	b := d.in.b
	switch c := b[at]; {
	case c < 0x80 || c >= 0xe0:
		return int8(c), at + 1, nil
	case c < 0x90 || c == 0xde || c == 0xdf:
		m, next, err := d.genericMap(at, lib)
		return m, next, err
	case c < 0xa0 || c == 0xdc || c == 0xdd:
		n, next := readArray(b, at)
		list := make([]any, n)
		for i := range list {
			if list[i], next, err = d.generic(next, lib); err != nil {
				return nil, next, err
			}
		}
		return list, next, nil
	case c < 0xc0 || c >= 0xd9 && c <= 0xdb:
		s, next := readBytes(b, at)
		return string(s), next, nil
	case c >= 0xc4 && c <= 0xc6:
		s, next := readBytes(b, at)
		return append(make([]byte, 0, len(s)), s...), next, nil
	case isTime(b[at:]):
		var t time.Time
		next, err = decodeTime(nil)(d, at, unsafe.Pointer(&t))
		return t, next, err
	}
	i := at + 1
	switch b[at] {
	case 0xc0:
		return nil, i, nil
	case 0xc2, 0xc3:
		return b[at] == 0xc3, i, nil
	case 0xca:
		return math.Float32frombits(binary.BigEndian.Uint32(b[i:])), i + 4, nil
	case 0xcb:
		return math.Float64frombits(binary.BigEndian.Uint64(b[i:])), i + 8, nil
	case 0xcc:
		return b[i], i + 1, nil
	case 0xcd:
		return binary.BigEndian.Uint16(b[i:]), i + 2, nil
	case 0xce:
		return binary.BigEndian.Uint32(b[i:]), i + 4, nil
	case 0xcf:
		return binary.BigEndian.Uint64(b[i:]), i + 8, nil
	case 0xd0:
		return int8(b[i]), i + 1, nil
	case 0xd1:
		return int16(binary.BigEndian.Uint16(b[i:])), i + 2, nil
	case 0xd2:
		return int32(binary.BigEndian.Uint32(b[i:])), i + 4, nil
	case 0xd3:
		return int64(binary.BigEndian.Uint64(b[i:])), i + 8, nil
	}
	next, err = lib(d, at, unsafe.Pointer(&v))
	return v, next, err
}

func (d *decoder) genericMap(at int, lib decodeFunc) (m map[string]any, next int, err error) {
	n, next := readMap(d.in.b, at)
	m = make(map[string]any, n)
	for range n {
		key, after := readBytes(d.in.b, next)
		if after == 0 {
			_, err := unexpected(d.in.b, next, "a key that is a string")
			return nil, next, err
		}
		var held any
		if held, next, err = d.generic(after, lib); err != nil {
			return nil, next, err
		}
		m[string(key)] = held
	}
	return m, next, nil
}
