package codec

import (
	"encoding/binary"
	"fmt"
)

// A shape is what a scan learns of a body, without allocating for its content.
type shape struct {
	items   int   // values in arrays
	pairs   int   // entries of maps
	maps    int   // maps that have entries
	size    int   // bytes of the body
	payload int   // bytes of strings and binaries
	exts    []ext // msgpack extensions, in the order of the body
}

// An ext is where the payload of a msgpack extension lies in a body.
type ext struct{ start, end int }

func (s *shape) reset() { *s = shape{exts: s.exts[:0]} }

// Classes of msgpack's first bytes between 0xc0 and 0xdf. A fixed one holds how many
// bytes follow it.
const (
	classBytes   = 0x10 // the low bits say how many bytes of length follow
	classExt     = 0x20
	classFixExt  = 0x30 // the low bits are the binary logarithm of the payload's length
	classArray   = 0x40
	classMap     = 0x50
	classInvalid = 0x60
	classMask    = 0xf0
)

// classes is read only.
var classes = [32]uint8{
	0, classInvalid, 0, 0, // nil, -, false, true
	classBytes | 1, classBytes | 2, classBytes | 4, // bin
	classExt | 1, classExt | 2, classExt | 4, // ext
	4, 8, // float
	1, 2, 4, 8, // uint
	1, 2, 4, 8, // int
	classFixExt, classFixExt | 1, classFixExt | 2, classFixExt | 3, classFixExt | 4, // fixext
	classBytes | 1, classBytes | 2, classBytes | 4, // str
	classArray | 2, classArray | 4,
	classMap | 2, classMap | 4,
}

// scan walks over one msgpack value without recursion and fills s, which the caller has
// reset. It returns nil if and only if b is exactly one well-formed value within the
// limits: so every length that a decoder will read is at most what is left of b.
//
// If prefix is set, b may end early: only what was seen is checked.
func scan(b []byte, lim Limits, prefix bool, s *shape) error {
	var (
		small    [defaultDepth]int32 // values still due in the containers around this one
		stack    = small[:]
		depth    int
		left     int32 = 1 // values still due in this container
		elements int
		i        int
	)
	if lim.Depth > len(stack) {
		stack = make([]int32, lim.Depth)
	}
	stack = stack[:lim.Depth]
	s.size = len(b)
	for {
		for left == 0 {
			if depth == 0 {
				if i != len(b) {
					return fmt.Errorf("%w: %d bytes after the value", ErrMalformed, len(b)-i)
				}
				return nil
			}
			depth--
			left = stack[depth]
		}
		left--
		if i >= len(b) {
			return truncated(i)
		}
		c := b[i]
		i++

		var n int // values in a container
		class := uint8(0)
		switch {
		case c < 0x80 || c >= 0xe0: // small integers
			continue
		case c < 0x90:
			n, class = int(c&0x0f), classMap
		case c < 0xa0:
			n, class = int(c&0x0f), classArray
		case c < 0xc0:
			n := int(c & 0x1f)
			if n > len(b)-i {
				return truncated(i)
			}
			s.payload += n
			i += n
			continue
		default:
			class = classes[c-0xc0]
			width := int(class &^ classMask)
			class &= classMask
			if class == 0 {
				i += width
				if i > len(b) {
					return truncated(len(b))
				}
				continue
			}
			if class == classInvalid {
				return fmt.Errorf("%w: byte %#x at %d", ErrMalformed, c, i-1)
			}
			if class == classFixExt {
				n, class = 1<<width, classExt
			} else {
				var ok bool
				if n, ok = length(b[i:], width); !ok {
					return truncated(i)
				}
				i += width
			}
			if class <= classExt {
				if class == classExt {
					// One byte of type. An empty payload is refused: see reader.
					if n == 0 {
						return fmt.Errorf("%w: empty extension at %d", ErrMalformed, i)
					}
					i++
				}
				if n > len(b)-i {
					return truncated(min(i, len(b)))
				}
				if class == classExt {
					s.exts = append(s.exts, ext{i, i + n})
				}
				s.payload += n
				i += n
				continue
			}
		}

		values := n
		if class == classMap {
			values *= 2
		}
		if (values < n || values > len(b)-i) && !prefix {
			return truncated(i)
		}
		if values < n || values > lim.Elements-elements {
			return fmt.Errorf("%w: more than %d elements", ErrLimit, lim.Elements)
		}
		if depth >= len(stack) {
			return fmt.Errorf("%w: deeper than %d", ErrLimit, lim.Depth)
		}
		elements += values
		if class == classMap {
			s.pairs += n
			s.maps += min(n, 1)
		} else {
			s.items += n
		}
		stack[depth] = left
		depth++
		left = int32(values)
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
