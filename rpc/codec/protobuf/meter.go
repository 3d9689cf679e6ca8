package protobuf

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/tandem-go/tandem/rpc/codec"
)

// bounded reports whether m, of shape s, nests no more than depth levels deep where types contain
// themselves, and there are no more than left messages that do.
func (s *shape) bounded(m protoreflect.Message, depth int, left *int) bool {
	if *left--; depth <= 0 || *left < 0 {
		return false
	}
	for _, fd := range s.loops {
		if !m.Has(fd) {
			continue
		}
		ok, of, v := true, s.fields[fd.Number()].of, m.Get(fd)
		switch {
		case fd.IsMap():
			of = of.fields[2].of
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				ok = of.bounded(v.Message(), depth-1, left)
				return ok
			})
		case fd.IsList():
			for i := 0; ok && i < v.List().Len(); i++ {
				ok = of.bounded(v.List().Get(i).Message(), depth-1, left)
			}
		default:
			ok = of.bounded(v.Message(), depth-1, left)
		}
		if !ok {
			return false
		}
	}
	return true
}

// A meter walks a body before it is decoded. It adds up what decoding allocates, and refuses
// what goes beyond the limits, is cut short, or is that of another message type. What it lets through
// may still be malformed, but takes no more memory than it has counted.
type meter struct {
	cost     int
	most     int // of cost
	elements int // how many more of them there may be
}

// message walks the message b of shape s. depth is how many levels there may be from here on. b is
// merged into a message of which earlier bytes of the body are.
func (m *meter) message(b []byte, s *shape, depth, earlier int) error {
	if depth <= 0 {
		return fmt.Errorf("%w: messages nest too deep", codec.ErrLimit)
	}
	m.cost += s.size
	return m.values(b, s, depth, earlier)
}

// values walks what is in a message, or in a map's entry, of shape s.
func (m *meter) values(b []byte, s *shape, depth, earlier int) error {
	maps, unknown := s.maps, 2
	if earlier > 0 {
		unknown = growth
	}
	var fewLists, fewSingle [8]int
	lists, single := some(fewLists[:], s.lists), some(fewSingle[:], s.single)
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return cutShort(n)
		}
		value, k := content(num, typ, b[n:])
		if k < 0 {
			return cutShort(k)
		}
		b = b[n+k:]
		switch f := s.fields[num]; {
		case f == nil: // it is kept as it is, behind the others
			m.cost += unknown*(n+k) + slack
			unknown = growth
		case typ == f.wire || typ == protowire.BytesType && f.packed > 0:
			if f.packed > 0 {
				m.numbers(f, typ, value, &lists[f.list], earlier)
				break
			}
			m.elements -= f.elements
			m.cost += f.each
			var err error
			switch {
			case f.entry:
				m.cost += maps
				maps = 0
				err = m.values(value, f.of, depth, 0)
			case f.of == nil:
				m.cost += len(value) // of a text
			case f.elements > 0:
				err = m.message(value, f.of, depth-1, 0)
			default: // if it comes again, it is merged with the one before
				err = m.message(value, f.of, depth-1, earlier+single[f.single])
				single[f.single] += len(value)
			}
			if err != nil {
				return err
			}
		default:
			return fmt.Errorf("%w: field %d of %s is of another wire type, so the sender means another message", codec.ErrMalformed, num, s.name)
		}
		if m.cost > m.most {
			return fmt.Errorf("%w: decoding may take more than %d bytes", codec.ErrLimit, m.most)
		}
		if m.elements < 0 {
			return fmt.Errorf("%w: too many elements", codec.ErrLimit)
		}
	}
	return nil
}

// some returns n counters, in few if it has room.
func some(few []int, n int) []int {
	if n > len(few) {
		return make([]int, n)
	}
	return few
}

// numbers counts what comes of a list of numbers: one, or several that are packed. For those the
// library makes a new list, which has just the room that it needs: so many short ones would take a
// time and a memory that grow with the square of their number. length is how long the list is, and
// negative if it has no room for another number; earlier is how much longer it may be.
func (m *meter) numbers(f *field, typ protowire.Type, b []byte, length *int, earlier int) {
	is, full := max(*length, -*length), *length < 0 || *length == 0 && earlier > 0
	if typ == protowire.BytesType {
		count := packed(f.wire, b)
		m.elements -= count
		size := f.packed * (is + count + earlier)
		m.cost += size + size/8 + boxed
		*length = -(is + count)
		return
	}
	if full { // it grows by as much again
		m.cost += 2 * f.packed * (is + earlier)
	}
	m.elements--
	m.cost += f.each
	*length = is + 1
}

// content returns what is in a value, of bytes and groups, and the length of the whole value,
// which is negative if it is malformed.
func content(num protowire.Number, typ protowire.Type, b []byte) (value []byte, n int) {
	switch typ {
	case protowire.BytesType:
		return protowire.ConsumeBytes(b)
	case protowire.StartGroupType:
		return protowire.ConsumeGroup(num, b)
	}
	return nil, protowire.ConsumeFieldValue(num, typ, b)
}

// packed is how many values of a wire type there are in b at most.
func packed(wire protowire.Type, b []byte) (count int) {
	switch wire {
	case protowire.Fixed32Type:
		return len(b) / 4
	case protowire.Fixed64Type:
		return len(b) / 8
	}
	for _, c := range b {
		if c < 0x80 {
			count++
		}
	}
	return count
}

func cutShort(n int) error {
	return fmt.Errorf("%w: %w", codec.ErrMalformed, protowire.ParseError(n))
}
