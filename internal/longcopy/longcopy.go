// Package longcopy copies many bytes without stopping the rest of the process.
//
// The Go runtime can preempt a goroutine at the start of a function or, by a signal, in Go
// code, but not in the copy that append and copy make. A copy of 20 MB into new memory takes
// 20 to 50 ms on a small machine, and a garbage collection that starts meanwhile makes every
// other goroutine wait for its end. So long data is copied in pieces, one for each call. The
// functions may be used concurrently, as append may.
package longcopy

import (
	"strings"
	"unsafe"
)

// Piece is how many bytes are copied at once.
const Piece = 256 << 10

// Append is append(b, v...).
func Append[T []byte | string](b []byte, v T) []byte {
	if len(v) <= Piece {
		return append(b, v...)
	}
	return appendLong(b, v)
}

func appendLong[T []byte | string](b []byte, v T) []byte {
	if cap(b)-len(b) < len(v) {
		b = withRoom(b, len(v))
	}
	for len(v) > Piece {
		b = appendPiece(b, v[:Piece])
		v = v[Piece:]
	}
	return append(b, v...)
}

// appendPiece is append(b, v...) in a call, at whose start the runtime can preempt.
//
//go:noinline
func appendPiece[T []byte | string](b []byte, v T) []byte { return append(b, v...) }

// Clone returns a copy of v, which is not nil.
func Clone(v []byte) []byte {
	if len(v) <= Piece {
		return append(make([]byte, 0, len(v)), v...)
	}
	return appendLong(nil, v)
}

// Into returns a copy of v, which is not nil, in the memory of into if that is large enough.
func Into(into, v []byte) []byte {
	if into == nil || len(v) > cap(into) {
		return Clone(v)
	}
	return Append(into[:0], v)
}

// String is string(v).
func String(v []byte) string {
	if len(v) <= Piece {
		return string(v)
	}
	return longString(v)
}

func longString(v []byte) string {
	own := Clone(v)
	return unsafe.String(unsafe.SliceData(own), len(own))
}

// withRoom returns a copy of b which has room for n more bytes, and for some that may follow.
func withRoom(b []byte, n int) []byte {
	return Append(Make(len(b)+n+max(len(b)/4, 4<<10)), b)
}

// Make returns a slice of length 0 with room for at least n bytes. Unlike those of make, they
// have not been set to zero: this takes no time, and touches no memory.
func Make(n int) []byte {
	var b strings.Builder
	b.Grow(max(n, 1))
	b.WriteByte(0) // a string of no bytes would have no address
	return unsafe.Slice(unsafe.StringData(b.String()), b.Cap())[:0]
}
