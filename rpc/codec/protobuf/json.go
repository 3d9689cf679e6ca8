package protobuf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/tandem-go/tandem/rpc/codec"
)

var _ codec.JSONForm = (*Codec)(nil)

// HasJSON implements [codec.JSONForm]: messages have the ProtoJSON form.
func (c *Codec) HasJSON(t reflect.Type) bool { return c.shapeOf(t) != nil }

// AppendJSON implements [codec.JSONForm]. Fields that have their default are left out, and 64-bit integers are strings.
func (c *Codec) AppendJSON(dst []byte, v any) ([]byte, error) {
	s := c.shapeOf(reflect.TypeOf(v))
	if s == nil || reflect.ValueOf(v).IsNil() {
		return dst, fmt.Errorf("%w: a nil message, or none: %T", codec.ErrUnsupported, v)
	}
	m := v.(proto.Message)
	if len(s.loops) > 0 { // the library would follow a message that contains itself for ever
		left := c.lim.Body / 2
		if !s.bounded(m.ProtoReflect(), c.lim.Depth, &left) {
			return dst, fmt.Errorf("%w: messages nest too deep, or there are too many", codec.ErrLimit)
		}
	}
	text, err := protojson.MarshalOptions{Resolver: noExtensions}.Marshal(m)
	if err != nil {
		return dst, fmt.Errorf("%w: %w", codec.ErrUnsupported, err)
	}
	out := bytes.NewBuffer(dst)
	if err := json.Compact(out, text); err != nil { // the library adds spaces at random
		return dst, fmt.Errorf("%w: %w", codec.ErrUnsupported, err)
	}
	if _, err := c.measureJSON(out.Bytes()[len(dst):], s); err != nil {
		return dst, err
	}
	return out.Bytes(), nil
}

// DecodeJSON implements [codec.JSONForm]. Unknown fields are skipped. A google.protobuf.Any is refused, since nobody knows what
// is in it.
func (c *Codec) DecodeJSON(body []byte, v any) error {
	t := reflect.TypeOf(v)
	s := c.shapeOf(t)
	into := s == nil // a pointer to a message is given
	if into {
		if t == nil || t.Kind() != reflect.Pointer || reflect.ValueOf(v).IsNil() {
			return fmt.Errorf("%w: cannot decode into %T", codec.ErrUnsupported, v)
		}
		s = c.shapeOf(t.Elem())
	}
	if s == nil || !into && reflect.ValueOf(v).IsNil() {
		return fmt.Errorf("%w: cannot decode into %T", codec.ErrUnsupported, v)
	}
	if _, err := c.measureJSON(body, s); err != nil {
		return err
	}
	m := reflect.ValueOf(v)
	if into {
		m = reflect.New(s.typ.Elem())
	}
	o := protojson.UnmarshalOptions{DiscardUnknown: true, Resolver: noExtensions, RecursionLimit: c.lim.Depth}
	if err := o.Unmarshal(body, m.Interface().(proto.Message)); err != nil {
		return fmt.Errorf("%w: %w", codec.ErrMalformed, err)
	}
	if into {
		reflect.ValueOf(v).Elem().Set(m)
	}
	return nil
}

// prices are what the parts of a JSON text may take in memory, in bytes, from above: those of the dearest message, and of the
// dearest field, that are reachable from one shape.
type prices struct {
	object int // of a message, where an object begins
	value  int // of each member of an object or an array
	byte   int // of each byte
}

// wellKnown are the messages with a form of their own that is no object, and so take a message for each value.
const wellKnown = "google.protobuf."

// nameSize is what the library takes for the name of a field, or for a number, while it reads it.
const nameSize = 64

// pricesOf returns the prices of bodies of shape s.
func (c *Codec) pricesOf(s *shape) prices {
	if p, ok := c.prices.Load(s); ok {
		return p.(prices)
	}
	p := prices{byte: 4} // a text with escapes grows while it is read
	own := false
	for _, of := range s.reachable(nil) {
		p.object = max(p.object, of.size+of.maps)
		for _, f := range of.fields {
			p.value = max(p.value, f.each+boxed+nameSize)
		}
		if strings.HasPrefix(string(of.name), wellKnown) {
			own = true
		}
		if of.name == wellKnown+"FieldMask" { // a path for every other byte of a text
			p.byte = max(p.byte, growth*16)
		}
	}
	if own {
		p.value += p.object
	}
	got, _ := c.prices.LoadOrStore(s, p)
	return got.(prices)
}

// reachable appends s, and all shapes that are reachable from it, to seen.
func (s *shape) reachable(seen []*shape) []*shape {
	if slices.Contains(seen, s) {
		return seen
	}
	seen = append(seen, s)
	for _, f := range s.fields {
		if f.of != nil {
			seen = f.of.reachable(seen)
		}
	}
	return seen
}

// measureJSON refuses a body that is too long, nests too deep, or may take more memory than the limits allow, and estimates from
// above how many bytes decoding it allocates. It does not validate: of a text that is not valid, no more is decoded than what it
// has counted.
func (c *Codec) measureJSON(b []byte, s *shape) (cost int, err error) {
	if len(b) > c.lim.Body {
		return 0, fmt.Errorf("%w: body of %d bytes, limit %d", codec.ErrLimit, len(b), c.lim.Body)
	}
	p, elements, depth := c.pricesOf(s), 0, 0
	cost = p.object + p.byte*len(b)
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			continue
		case '{':
			cost += p.object
			depth++
		case '[':
			depth++
		case ']', '}':
			depth--
			continue
		case ',':
		default:
			continue
		}
		elements++
		cost += p.value
		switch {
		case depth > 2*c.lim.Depth+1: // a list, or a map, is between two messages
			return cost, fmt.Errorf("%w: it nests too deep", codec.ErrLimit)
		case elements > c.lim.Elements:
			return cost, fmt.Errorf("%w: more than %d elements", codec.ErrLimit, c.lim.Elements)
		}
	}
	if most := c.lim.Memory(len(b)); cost > most {
		return cost, fmt.Errorf("%w: decoding it may take %d bytes, limit %d", codec.ErrLimit, cost, most)
	}
	return cost, nil
}
