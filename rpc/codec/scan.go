package codec

import (
	"encoding/binary"
	"fmt"
)

// A shape is what a scan learns of a body, without allocating for its content.
type shape struct {
	items   int // values in arrays
	pairs   int // entries of maps
	maps    int // maps that have entries
	size    int // bytes of the body
	payload int // bytes of strings and binaries
}

// values returns how many values containers hold.
func (s *shape) values() int { return s.items + 2*s.pairs }

// A head is what the first byte of a msgpack value says.
type head struct {
	class class
	width uint8 // how many bytes of length follow, which replace n
	n     uint8 // bytes of a payload, or values of a container
}

type class uint8

const (
	invalid   class = iota
	scalar          // nil, a bool, or a number whose bytes are n
	payload         // a string or a binary
	extension       // its type comes before its payload
	array
	mapping
)

func headOf(c byte) head {
	switch {
	case c < 0x80 || c >= 0xe0:
		return head{class: scalar}
	case c < 0x90:
		return head{class: mapping, n: c & 0x0f}
	case c < 0xa0:
		return head{class: array, n: c & 0x0f}
	case c < 0xc0:
		return head{class: payload, n: c & 0x1f}
	}
	return heads[c-0xc0]
}

// headAt reads the head at b[i]. It returns the length that it states, and the index behind
// it and behind the type of an extension. It is not ok if b ends before.
func headAt(b []byte, i int) (c class, n, next int, ok bool) {
	if i >= len(b) {
		return 0, 0, 0, false
	}
	h := headOf(b[i])
	n, next = int(h.n), i+1
	if h.width > 0 {
		if n, ok = length(b[next:], int(h.width)); !ok {
			return 0, 0, 0, false
		}
		next += int(h.width)
	}
	if h.class == extension {
		next++
	}
	return h.class, n, next, true
}

// heads is read only.
var heads = [32]head{
	{scalar, 0, 0}, {}, {scalar, 0, 0}, {scalar, 0, 0}, // nil, -, false, true
	{payload, 1, 0}, {payload, 2, 0}, {payload, 4, 0}, // bin
	{extension, 1, 0}, {extension, 2, 0}, {extension, 4, 0},
	{scalar, 0, 4}, {scalar, 0, 8}, // float
	{scalar, 0, 1}, {scalar, 0, 2}, {scalar, 0, 4}, {scalar, 0, 8}, // uint
	{scalar, 0, 1}, {scalar, 0, 2}, {scalar, 0, 4}, {scalar, 0, 8}, // int
	{extension, 0, 1}, {extension, 0, 2}, {extension, 0, 4}, {extension, 0, 8}, {extension, 0, 16},
	{payload, 1, 0}, {payload, 2, 0}, {payload, 4, 0}, // str
	{array, 2, 0}, {array, 4, 0}, {mapping, 2, 0}, {mapping, 4, 0},
}

// scan walks over the msgpack value that begins at index i, without recursion, and adds to s
// what it holds. It returns the index behind the value if that is well-formed and within the
// depth and the elements of lim: so every length in it is at most what is left of b.
func scan(b []byte, i int, lim Limits, s *shape) (next int, err error) {
	return scanPart(b, i, lim, false, s)
}

// scanWhole is scan for a b that is to be one value, and no more.
func scanWhole(b []byte, lim Limits, s *shape) error {
	next, err := scan(b, 0, lim, s)
	if err == nil && next != len(b) {
		return fmt.Errorf("%w: %d bytes after the value", ErrMalformed, len(b)-next)
	}
	s.size = len(b)
	return err
}

// scanPart is scan. If prefix is set, b may end early: only what was seen is checked.
func scanPart(b []byte, i int, lim Limits, prefix bool, s *shape) (next int, err error) {
	var (
		small    [defaultDepth]int // values still due in the containers around this one
		stack    = small[:0]
		left     = 1 // values still due in this container
		elements int
	)
	for {
		for left == 0 {
			if len(stack) == 0 {
				return i, nil
			}
			left = stack[len(stack)-1]
			stack = stack[:len(stack)-1]
		}
		left--
		class, n, at, ok := headAt(b, i)
		if !ok {
			return 0, truncated(i)
		}
		values := n
		switch class {
		case invalid:
			return 0, fmt.Errorf("%w: byte %#x at %d", ErrMalformed, b[i], i)
		case extension:
			if n == 0 {
				return 0, fmt.Errorf("%w: empty extension at %d", ErrMalformed, i) // see reader
			}
			fallthrough
		case payload:
			s.payload += n
			fallthrough
		case scalar:
			if n > len(b)-at {
				return 0, truncated(min(at, len(b)))
			}
			i = at + n
			continue
		case mapping:
			values *= 2
			s.pairs += n
			s.maps += min(n, 1)
		case array:
			s.items += n
		}
		i = at
		if (values < n || values > len(b)-i) && !prefix {
			return 0, truncated(i)
		}
		if values < n || values > lim.Elements-elements {
			return 0, fmt.Errorf("%w: more than %d elements", ErrLimit, lim.Elements)
		}
		if len(stack) >= lim.Depth {
			return 0, fmt.Errorf("%w: deeper than %d", ErrLimit, lim.Depth)
		}
		elements += values
		stack = append(stack, left)
		left = values
	}
}

func truncated(at int) error { return fmt.Errorf("%w: truncated at %d", ErrMalformed, at) }

// length reads a big-endian length of 1, 2 or 4 bytes. It is not ok if b is too short,
// or if the length is beyond what an int holds.
func length(b []byte, width int) (n int, ok bool) {
	if len(b) < width {
		return 0, false
	}
	switch width {
	case 1:
		n = int(b[0])
	case 2:
		n = int(binary.BigEndian.Uint16(b))
	default:
		n = int(binary.BigEndian.Uint32(b))
	}
	return n, n >= 0
}
