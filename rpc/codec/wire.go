package codec

import (
	"encoding/binary"
	"math"
	"time"
)

// The values of msgpack: each append function appends one, and each read function reads the
// one that begins at b[at]. A read function returns the index behind the value, and 0 for
// it if there is a value of another kind. Where a number, a string or a binary is cut short it
// returns 0, too; other values end in a panic of Go's own checks, for which b must have no
// room behind its end; see decoder.

func appendInt(b []byte, n int64) []byte {
	if n >= 0 {
		return appendUint(b, uint64(n))
	}
	return appendNegative(b, n)
}

func appendNegative(b []byte, n int64) []byte {
	switch {
	case n >= -32:
		return append(b, byte(n))
	case n >= math.MinInt8:
		return append(b, 0xd0, byte(n))
	case n >= math.MinInt16:
		return append16(b, 0xd1, uint16(n))
	case n >= math.MinInt32:
		return append32(b, 0xd2, uint32(n))
	default:
		return append64(b, 0xd3, uint64(n))
	}
}

func appendUint(b []byte, n uint64) []byte {
	if n < 0x80 {
		return append(b, byte(n))
	}
	return appendLarge(b, n)
}

func appendLarge(b []byte, n uint64) []byte {
	switch {
	case n <= math.MaxUint8:
		return append(b, 0xcc, byte(n))
	case n <= math.MaxUint16:
		return append16(b, 0xcd, uint16(n))
	case n <= math.MaxUint32:
		return append32(b, 0xce, uint32(n))
	default:
		return append64(b, 0xcf, n)
	}
}

func append16(b []byte, head byte, n uint16) []byte {
	return append(b, head, byte(n>>8), byte(n))
}

func append32(b []byte, head byte, n uint32) []byte {
	return append(b, head, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

func append64(b []byte, head byte, n uint64) []byte {
	return append(b, head, byte(n>>56), byte(n>>48), byte(n>>40), byte(n>>32), byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

func appendStringHead(b []byte, n int) []byte {
	switch {
	case n < 32:
		return append(b, 0xa0|byte(n))
	case n <= math.MaxUint8:
		return append(b, 0xd9, byte(n))
	}
	return appendLength(b, 0xda, n)
}

func appendBinHead(b []byte, n int) []byte {
	if n <= math.MaxUint8 {
		return append(b, 0xc4, byte(n))
	}
	return appendLength(b, 0xc5, n)
}

func appendArrayHead(b []byte, n int) []byte {
	if n < 16 {
		return append(b, 0x90|byte(n))
	}
	return appendLength(b, 0xdc, n)
}

func appendMapHead(b []byte, n int) []byte {
	if n < 16 {
		return append(b, 0x80|byte(n))
	}
	return appendLength(b, 0xde, n)
}

// appendLength appends head and a length of two bytes, or the head after it and one of four.
func appendLength(b []byte, head byte, n int) []byte {
	if n <= math.MaxUint16 {
		return append16(b, head, uint16(n))
	}
	return append32(b, head+1, uint32(n))
}

// appendTime appends extension -1: 4, 8 or 12 bytes, whichever suffice.
func appendTime(b []byte, t time.Time) []byte {
	secs, nanos := uint64(t.Unix()), uint64(t.Nanosecond())
	switch {
	case secs>>32 == 0 && nanos == 0:
		return append32(append(b, 0xd6), 0xff, uint32(secs))
	case secs>>34 == 0:
		return append64(append(b, 0xd7), 0xff, nanos<<34|secs)
	default:
		b = append32(append(b, 0xc7, 12), 0xff, uint32(nanos))
		return binary.BigEndian.AppendUint64(b, secs)
	}
}

// tooWide is the index behind a number that the type that was asked for cannot hold.
const tooWide = -1

// readInt reads an integer, or nil for zero. With tooWide its n has the bits of an uint64.
func readInt(b []byte, at int) (n int64, next int) {
	c := b[at]
	if c < 0x80 || c >= 0xe0 {
		return int64(int8(c)), at + 1
	}
	at++
	switch left := len(b) - at; {
	case c == 0xd3 && left >= 8:
		return int64(binary.BigEndian.Uint64(b[at:])), at + 8
	case c == 0xc0:
		return 0, at
	case c == 0xcc && left >= 1:
		return int64(b[at]), at + 1
	case c == 0xd0 && left >= 1:
		return int64(int8(b[at])), at + 1
	case c == 0xcd && left >= 2:
		return int64(binary.BigEndian.Uint16(b[at:])), at + 2
	case c == 0xd1 && left >= 2:
		return int64(int16(binary.BigEndian.Uint16(b[at:]))), at + 2
	case c == 0xce && left >= 4:
		return int64(binary.BigEndian.Uint32(b[at:])), at + 4
	case c == 0xd2 && left >= 4:
		return int64(int32(binary.BigEndian.Uint32(b[at:]))), at + 4
	case c == 0xcf && left >= 8:
		if n = int64(binary.BigEndian.Uint64(b[at:])); n < 0 {
			return n, tooWide
		}
		return n, at + 8
	}
	return 0, 0
}

// readFloat reads a floating point number, or an integer that is equal to one. Most integers
// beyond 2⁵³ are not.
func readFloat(b []byte, at int) (f float64, next int) {
	switch c, left := b[at], len(b)-at; {
	case c == 0xcb && left >= 9:
		return math.Float64frombits(binary.BigEndian.Uint64(b[at+1:])), at + 9
	case c == 0xca && left >= 5:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(b[at+1:]))), at + 5
	case c == 0xcf && left >= 9:
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

// readBytes reads the payload of a string or a binary, or nil for nil.
func readBytes(b []byte, at int) (p []byte, next int) {
	c := b[at]
	at++
	n := 0
	switch left := len(b) - at; {
	case c >= 0xa0 && c < 0xc0:
		n = int(c & 0x1f)
	case (c == 0xd9 || c == 0xc4) && left >= 1:
		n = int(b[at])
		at++
	case (c == 0xda || c == 0xc5) && left >= 2:
		n = int(binary.BigEndian.Uint16(b[at:]))
		at += 2
	case (c == 0xdb || c == 0xc6) && left >= 4:
		n = int(binary.BigEndian.Uint32(b[at:]))
		at += 4
	case c == 0xc0:
		return nil, at
	default:
		return nil, 0
	}
	if uint(n) > uint(len(b)-at) { // an int may have 32 bits
		return nil, 0
	}
	return b[at : at+n], at + n
}

// isText reports whether a string or a binary begins with c.
func isText(c byte) bool {
	return c >= 0xa0 && c < 0xc0 || c >= 0xd9 && c <= 0xdb || c >= 0xc4 && c <= 0xc6
}

func readArrayHead(b []byte, at int) (n, next int) { return readHead(b, at, 0x90, 0xdc) }
func readMapHead(b []byte, at int) (n, next int)   { return readHead(b, at, 0x80, 0xde) }

// readHead reads the head of an array or of a map, whose first bytes are fix and, for more
// than fifteen, wide. The n of nil is -1.
func readHead(b []byte, at int, fix, wide byte) (n, next int) {
	c := b[at]
	at++
	switch {
	case c&0xf0 == fix:
		return int(c & 0x0f), at
	case c == 0xc0:
		return -1, at
	case c == wide:
		return int(binary.BigEndian.Uint16(b[at:])), at + 2
	case c == wide+1:
		if n = int(binary.BigEndian.Uint32(b[at:])); n >= 0 { // an int may have 32 bits
			return n, at + 4
		}
	}
	return 0, 0
}

// readTime reads a time in one of the three forms of appendTime.
func readTime(b []byte, at int) (t time.Time, next int) {
	b = b[at:]
	var sec, nsec int64
	switch {
	case b[0] == 0xd6 && b[1] == 0xff:
		next, sec = at+6, int64(binary.BigEndian.Uint32(b[2:]))
	case b[0] == 0xd7 && b[1] == 0xff:
		v := binary.BigEndian.Uint64(b[2:])
		next, sec, nsec = at+10, int64(v&(1<<34-1)), int64(v>>34)
	case b[0] == 0xc7 && b[1] == 12 && b[2] == 0xff:
		next, sec, nsec = at+15, int64(binary.BigEndian.Uint64(b[7:])), int64(binary.BigEndian.Uint32(b[3:]))
	default:
		return t, 0
	}
	return time.Unix(sec, nsec).UTC(), next
}
