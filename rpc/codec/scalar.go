package codec

import (
	"encoding/binary"
	"math"
)

// Bare scalars are common as replies. These two functions carry them without
// reflection, in the bytes that msgpack.Marshal would give.

// appendScalar appends v if it is a bare scalar.
func appendScalar(dst []byte, v any) (_ []byte, ok bool) {
	switch v := v.(type) {
	case nil:
		dst = append(dst, 0xc0)
	case struct{}:
		dst = append(dst, 0x80)
	case bool:
		if v {
			dst = append(dst, 0xc3)
		} else {
			dst = append(dst, 0xc2)
		}
	case int:
		dst = appendInt(dst, int64(v))
	case uint:
		dst = appendUint(dst, uint64(v))
	case int32:
		dst = binary.BigEndian.AppendUint32(append(dst, 0xd2), uint32(v))
	case uint32:
		dst = binary.BigEndian.AppendUint32(append(dst, 0xce), v)
	case int64:
		dst = binary.BigEndian.AppendUint64(append(dst, 0xd3), uint64(v))
	case uint64:
		dst = binary.BigEndian.AppendUint64(append(dst, 0xcf), v)
	case float64:
		dst = binary.BigEndian.AppendUint64(append(dst, 0xcb), math.Float64bits(v))
	case string:
		if uint64(len(v)) > math.MaxUint32 {
			return dst, false
		}
		dst = append(appendStringHead(dst, len(v)), v...)
	case []byte:
		if uint64(len(v)) > math.MaxUint32 {
			return dst, false
		}
		if v == nil {
			return append(dst, 0xc0), true
		}
		dst = append(appendBinHead(dst, len(v)), v...)
	default:
		return dst, false
	}
	return dst, true
}

func appendInt(dst []byte, n int64) []byte {
	switch {
	case n >= 0:
		return appendUint(dst, uint64(n))
	case n >= -32:
		return append(dst, byte(n))
	case n >= math.MinInt8:
		return append(dst, 0xd0, byte(n))
	case n >= math.MinInt16:
		return binary.BigEndian.AppendUint16(append(dst, 0xd1), uint16(n))
	case n >= math.MinInt32:
		return binary.BigEndian.AppendUint32(append(dst, 0xd2), uint32(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, 0xd3), uint64(n))
	}
}

func appendUint(dst []byte, n uint64) []byte {
	switch {
	case n < 0x80:
		return append(dst, byte(n))
	case n <= math.MaxUint8:
		return append(dst, 0xcc, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, 0xcd), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, 0xce), uint32(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, 0xcf), n)
	}
}

func appendStringHead(dst []byte, n int) []byte {
	switch {
	case n < 32:
		return append(dst, 0xa0|byte(n))
	case n <= math.MaxUint8:
		return append(dst, 0xd9, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, 0xda), uint16(n))
	default:
		return binary.BigEndian.AppendUint32(append(dst, 0xdb), uint32(n))
	}
}

func appendBinHead(dst []byte, n int) []byte {
	switch {
	case n <= math.MaxUint8:
		return append(dst, 0xc4, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, 0xc5), uint16(n))
	default:
		return binary.BigEndian.AppendUint32(append(dst, 0xc6), uint32(n))
	}
}

// decodeScalar decodes body if v points to a bare scalar and body is the usual encoding
// of one. Where it returns false nothing was written, and the general way decides.
func decodeScalar(body []byte, v any) bool {
	switch v := v.(type) {
	case *bool:
		if v == nil || len(body) != 1 || body[0]&^1 != 0xc2 {
			return false
		}
		*v = body[0] == 0xc3
	case *int:
		n, ok := scalarInt(body)
		if v == nil || !ok || int64(int(n)) != n {
			return false
		}
		*v = int(n)
	case *int32:
		n, ok := scalarInt(body)
		if v == nil || !ok || int64(int32(n)) != n {
			return false
		}
		*v = int32(n)
	case *int64:
		n, ok := scalarInt(body)
		if v == nil || !ok {
			return false
		}
		*v = n
	case *uint:
		n, ok := scalarUint(body)
		if v == nil || !ok || uint64(uint(n)) != n {
			return false
		}
		*v = uint(n)
	case *uint32:
		n, ok := scalarUint(body)
		if v == nil || !ok || uint64(uint32(n)) != n {
			return false
		}
		*v = uint32(n)
	case *uint64:
		n, ok := scalarUint(body)
		if v == nil || !ok {
			return false
		}
		*v = n
	case *float64:
		if v == nil || len(body) != 9 || body[0] != 0xcb {
			return false
		}
		*v = math.Float64frombits(binary.BigEndian.Uint64(body[1:]))
	case *string:
		p, ok := scalarBytes(body)
		if v == nil || !ok {
			return false
		}
		*v = string(p)
	case *[]byte:
		p, ok := scalarBytes(body)
		if v == nil || !ok {
			return false
		}
		if *v == nil {
			*v = make([]byte, 0, len(p))
		}
		*v = append((*v)[:0], p...)
	default:
		return false
	}
	return true
}

// scalarInt reads a body that is one integer.
func scalarInt(b []byte) (n int64, ok bool) {
	if len(b) == 0 {
		return 0, false
	}
	switch c := b[0]; {
	case len(b) == 1 && (c < 0x80 || c >= 0xe0):
		return int64(int8(c)), true
	case len(b) == 2 && c == 0xcc:
		return int64(b[1]), true
	case len(b) == 2 && c == 0xd0:
		return int64(int8(b[1])), true
	case len(b) == 3 && c == 0xcd:
		return int64(binary.BigEndian.Uint16(b[1:])), true
	case len(b) == 3 && c == 0xd1:
		return int64(int16(binary.BigEndian.Uint16(b[1:]))), true
	case len(b) == 5 && c == 0xce:
		return int64(binary.BigEndian.Uint32(b[1:])), true
	case len(b) == 5 && c == 0xd2:
		return int64(int32(binary.BigEndian.Uint32(b[1:]))), true
	case len(b) == 9 && (c == 0xcf || c == 0xd3):
		n = int64(binary.BigEndian.Uint64(b[1:]))
		return n, c == 0xd3 || n >= 0
	}
	return 0, false
}

// scalarUint is scalarInt for what an uint64 holds.
func scalarUint(b []byte) (n uint64, ok bool) {
	if len(b) == 9 && b[0] == 0xcf {
		return binary.BigEndian.Uint64(b[1:]), true
	}
	i, ok := scalarInt(b)
	return uint64(i), ok && i >= 0
}

// scalarBytes returns the payload of a body that is one string or binary.
func scalarBytes(b []byte) (p []byte, ok bool) {
	if len(b) == 0 {
		return nil, false
	}
	c, width := b[0], 0
	switch {
	case c >= 0xa0 && c < 0xc0:
		p = b[1:]
		return p, len(p) == int(c&0x1f)
	case c == 0xd9 || c == 0xc4:
		width = 1
	case c == 0xda || c == 0xc5:
		width = 2
	case c == 0xdb || c == 0xc6:
		width = 4
	default:
		return nil, false
	}
	n, ok := length(b[1:], width)
	if !ok || len(b)-1-width != n {
		return nil, false
	}
	return b[1+width:], true
}
