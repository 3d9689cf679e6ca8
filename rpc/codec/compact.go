package codec

import "reflect"

// A CompactCodec is msgpack without the names of fields: see [Compact].
type CompactCodec interface {
	Codec

	// Schema describes all that a body of type t depends on, as a canonical text; see [Schema].
	Schema(t reflect.Type) (string, error)
}

// Compact returns the codec of id 4: msgpack in which a struct is an array of its fields, in their
// order and without their names, also within others. A field that omitempty would leave out is nil. What an
// interface holds is as in Msgpack, with names.
//
// A body can be decoded only by a type of the same [Schema], and nothing in it says which one that is:
// a body of another schema may be read as something that was not meant. So nobody may send one
// but to those that are known to have that schema, and nothing that is kept may be encoded so.
//
// It refuses with ErrUnsupported what Msgpack refuses, and types that have no schema. It keeps to
// the same limits.
func Compact(l Limits) CompactCodec {
	l = l.WithDefaults()
	names := newMsgpack(l, msgpackFormat())
	places := msgpackFormat()
	places.names = names
	return &compactCodec{places: newMsgpack(l, places), names: names}
}

type compactCodec struct{ places, names *msgpackCodec }

func (c *compactCodec) ID() uint8    { return IDCompact }
func (c *compactCodec) Name() string { return "compact" }

// Check returns why values of type t cannot be carried, or nil.
func (c *compactCodec) Check(t reflect.Type) error {
	if err := c.names.Check(t); err != nil {
		return err
	}
	_, err := c.Schema(t)
	return err
}

func (c *compactCodec) Append(dst []byte, v any) ([]byte, error) { return c.places.Append(dst, v) }
func (c *compactCodec) Decode(body []byte, v any) error          { return c.places.Decode(body, v) }

// Schema implements CompactCodec.
func (c *compactCodec) Schema(t reflect.Type) (string, error) { return c.names.schema(t) }

// naming returns the codec of what interfaces hold.
func (c *msgpackCodec) naming() *msgpackCodec {
	if names := c.plans.format.names; names != nil {
		return names
	}
	return c
}
