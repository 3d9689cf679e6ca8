package protobuf

import (
	"reflect"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// A shape is what the codec knows of a type of messages. It does not change once it is made.
type shape struct {
	typ    reflect.Type // a pointer to the generated struct
	name   protoreflect.FullName
	size   int // bytes that a message takes, without what its fields refer to
	maps   int // bytes that its maps take when they get their first entries
	lists  int // how many of its lists may come packed
	single int // how many of its fields are a message
	fields map[protowire.Number]*field
	loops  []protoreflect.FieldDescriptor // those of its fields whose messages may nest without end
}

// A field is one of a message, or the key or the value of a map's entry.
type field struct {
	wire     protowire.Type // of a value
	packed   int            // of a list whose values may come packed: the size of a value; else 0
	list     int            // of such a list: which of those of its message it is
	each     int            // bytes that each value takes, besides its text, and its message
	elements int            // how many elements each value counts as
	of       *shape         // of a message, or of a map's entry; else nil
	single   int            // of a field that is a message: which of those of its message it is
	entry    bool           // of is that of a map's entry, which is no level of its own
	desc     protoreflect.FieldDescriptor
}

// What the Go runtime allocates, from above.
const (
	slack    = 16 // what the size classes may add to one allocation
	growth   = 7  // what a slice takes until it has its size, which it gets a quarter at a time, and up to a quarter more
	boxed    = 32 // the struct that holds a member of a oneof, or a value that may be absent
	mapSlots = 8  // what a map has when it has one entry
	mapHead  = 64
	entryOff = 48 // an entry of a map, besides growth times its size
)

// shapeOf returns the shape of messages of type t, or nil if they are none that are carried.
func (c *Codec) shapeOf(t reflect.Type) *shape {
	if t == nil || t.Kind() != reflect.Pointer {
		return nil
	}
	if s, ok := c.shapes.Load(t); ok {
		return s.(*shape)
	}
	var s *shape
	if m := messageOf(t); m != nil {
		s = shapesOf(m)
	}
	got, _ := c.shapes.LoadOrStore(t, s)
	return got.(*shape)
}

// messageOf returns an empty message of type t, or nil if t is not that of a generated message: it
// may also be that of a struct that embeds one, and so has its methods.
func messageOf(t reflect.Type) (m protoreflect.Message) {
	if !t.Implements(reflect.TypeFor[proto.Message]()) {
		return nil
	}
	defer func() {
		if recover() != nil { // the message that is embedded is nil, or it has no type before it is made
			m = nil
		}
	}()
	m = reflect.New(t.Elem()).Interface().(proto.Message).ProtoReflect()
	if reflect.TypeOf(m.Interface()) != t || m.Descriptor() == nil {
		return nil
	}
	return m
}

// shapes are those of the messages that are reachable from one, which may contain itself.
type shapes map[protoreflect.FullName]*shape

// shapesOf returns the shape of m, complete with all that it refers to.
func shapesOf(m protoreflect.Message) *shape {
	all := shapes{}
	root := all.of(m)
	for _, s := range all {
		for _, f := range s.fields {
			if f.of != nil && f.of.meets(nil) {
				s.loops = append(s.loops, f.desc)
			}
		}
	}
	return root
}

// of returns the shape of m, without loops.
func (all shapes) of(m protoreflect.Message) *shape {
	d := m.Descriptor()
	if s := all[d.FullName()]; s != nil {
		return s
	}
	t := reflect.TypeOf(m.Interface())
	s := &shape{typ: t, name: d.FullName(), size: int(t.Elem().Size())*9/8 + slack, fields: map[protowire.Number]*field{}}
	all[d.FullName()] = s
	for i := range d.Fields().Len() {
		fd := d.Fields().Get(i)
		f := fieldOf(fd)
		s.fields[fd.Number()] = f
		switch {
		case fd.IsMap():
			s.maps += all.entry(f, fd, m)
		case fd.IsList():
			f.elements = 1
			f.each += growth * sizeOf(fd)
			if f.wire != protowire.BytesType && f.wire != protowire.StartGroupType {
				f.packed, f.list = sizeOf(fd), s.lists
				s.lists++
			}
			if fd.Message() != nil {
				f.of = all.of(m.NewField(fd).List().NewElement().Message())
			}
		default:
			if fd.ContainingOneof() != nil || fd.HasPresence() && fd.Message() == nil {
				f.each += boxed
			}
			if fd.Message() != nil {
				f.of, f.single = all.of(m.NewField(fd).Message()), s.single
				s.single++
			}
		}
	}
	return s
}

// meets reports whether s, or a shape that is reachable from it, contains one of those above it, or itself.
func (s *shape) meets(above []*shape) bool {
	if slices.Contains(above, s) {
		return true
	}
	above = append(above, s)
	for _, f := range s.fields {
		if f.of != nil && f.of.meets(above) {
			return true
		}
	}
	return false
}

// entry makes f that of a map. It returns how many bytes the map takes when it gets its first entry.
func (all shapes) entry(f *field, fd protoreflect.FieldDescriptor, m protoreflect.Message) int {
	key, value := fieldOf(fd.MapKey()), fieldOf(fd.MapValue())
	if fd.MapValue().Message() != nil {
		value.of = all.of(m.NewField(fd).Map().NewValue().Message())
	}
	slot := sizeOf(fd.MapKey()) + sizeOf(fd.MapValue())
	f.of, f.entry, f.elements = &shape{name: fd.Message().FullName(), single: 1, fields: map[protowire.Number]*field{1: key, 2: value}}, true, 2
	f.each = growth*slot + entryOff
	if value.of != nil {
		f.each += value.of.size // an entry without a value has an empty one
	}
	return mapHead + mapSlots*slot
}

// fieldOf returns what is the same for single values and those in lists and maps.
func fieldOf(fd protoreflect.FieldDescriptor) *field {
	f := &field{wire: wireOf(fd.Kind()), desc: fd}
	if fd.Kind() == protoreflect.StringKind || fd.Kind() == protoreflect.BytesKind {
		f.each = slack
	}
	return f
}

// wireOf is the wire type of a kind.
func wireOf(k protoreflect.Kind) protowire.Type {
	switch k {
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
		return protowire.Fixed32Type
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
		return protowire.Fixed64Type
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		return protowire.BytesType
	case protoreflect.GroupKind:
		return protowire.StartGroupType
	}
	return protowire.VarintType
}

// sizeOf is the size of a value of a field as it lies in a slice or a map, from above.
func sizeOf(fd protoreflect.FieldDescriptor) int {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return 16
	case protoreflect.BytesKind:
		return 24
	case protoreflect.BoolKind:
		return 1
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Uint32Kind, protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind, protoreflect.EnumKind:
		return 4
	}
	return 8
}
