package protobuf

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

type object = map[string]any

// JSONSchema implements [codec.JSONForm]. A message that contains itself, and the well-known types of google.protobuf, are open at
// that place: {}.
func (c *Codec) JSONSchema(t reflect.Type, asked bool) json.RawMessage {
	if c.shapeOf(t) == nil {
		return nil
	}
	text, err := json.Marshal(schemaOf(messageOf(t).Descriptor(), asked, nil))
	if err != nil {
		panic(err) // it is made of maps and strings
	}
	return text
}

// schemaOf returns the schema of a message that is within those above it.
func schemaOf(d protoreflect.MessageDescriptor, asked bool, above []protoreflect.FullName) object {
	name := d.FullName()
	if slices.Contains(above, name) || strings.HasPrefix(string(name), wellKnown) {
		return object{"description": string(name)}
	}
	above = append(above[:len(above):len(above)], name)
	props := object{}
	for i := range d.Fields().Len() {
		fd := d.Fields().Get(i)
		props[fd.JSONName()] = fieldSchema(fd, asked, above)
	}
	return object{"type": "object", "description": string(name), "properties": props}
}

func fieldSchema(fd protoreflect.FieldDescriptor, asked bool, above []protoreflect.FullName) object {
	switch {
	case fd.IsMap():
		return object{"type": "object", "additionalProperties": valueSchema(fd.MapValue(), asked, above)}
	case fd.IsList():
		return object{"type": "array", "items": valueSchema(fd, asked, above)}
	}
	return valueSchema(fd, asked, above)
}

func valueSchema(fd protoreflect.FieldDescriptor, asked bool, above []protoreflect.FullName) object {
	switch fd.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return schemaOf(fd.Message(), asked, above)
	case protoreflect.EnumKind:
		return enumSchema(fd.Enum())
	case protoreflect.BoolKind:
		return object{"type": "boolean"}
	case protoreflect.StringKind:
		return object{"type": "string"}
	case protoreflect.BytesKind:
		return object{"type": "string", "contentEncoding": "base64"}
	case protoreflect.FloatKind, protoreflect.DoubleKind: // "NaN" and the like are strings
		return object{"type": []string{"number", "string"}}
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind:
		if !asked {
			return object{"type": "string"} // JavaScript has no such integers
		}
		return object{"type": []string{"integer", "string"}}
	}
	if asked {
		return object{"type": []string{"integer", "string"}}
	}
	return object{"type": "integer"}
}

// enumSchema returns the schema of an enum: a name, or the number of one. One that the program does not know is a number.
func enumSchema(d protoreflect.EnumDescriptor) object {
	if d.FullName() == wellKnown+"NullValue" {
		return object{}
	}
	var names []any
	for i := range d.Values().Len() {
		names = append(names, string(d.Values().Get(i).Name()))
	}
	return object{"anyOf": []object{{"enum": names}, {"type": "integer"}}}
}
