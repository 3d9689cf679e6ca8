package gateway

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/google/jsonschema-go/jsonschema"
)

// AskedSchema returns the JSON Schema of the message, as Schema does, or as the codec that makes the message's form says.
func (e *Endpoint) AskedSchema() (json.RawMessage, error) {
	if e.Message.Asked != nil {
		return e.Message.Asked, nil
	}
	return Schema(e.Message.Type, true)
}

// AnsweredSchema returns the same of what answers the message; nil: nothing does. See Reply.
func (e *Endpoint) AnsweredSchema() (json.RawMessage, error) {
	t := e.Reply()
	if e.Message.Answered != nil || t == nil {
		return e.Message.Answered, nil
	}
	return Schema(t, false)
}

// Schema returns the JSON Schema (draft 2020-12) of a type in the form that the JSON codec gives it, or of a message if asked.
// A message may leave out fields, and may have others, which are skipped. A type whose form its own methods make, or that
// contains itself, is open at that place: {}.
func Schema(t reflect.Type, asked bool) (json.RawMessage, error) {
	known := map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[[]byte](): {Type: "string", ContentEncoding: "base64"},
	}
	ownForms(t, known, map[reflect.Type]bool{})
	s, err := jsonschema.ForType(t, &jsonschema.ForOptions{TypeSchemas: known, IgnoreInvalidTypes: true})
	if err != nil {
		return nil, fmt.Errorf("gateway: the schema of %v: %w", t, err)
	}
	loosen(s, asked)
	return json.Marshal(s)
}

// ownForms adds to known the types within t whose form the type itself does not show.
func ownForms(t reflect.Type, known map[reflect.Type]*jsonschema.Schema, above map[reflect.Type]bool) {
	if known[t] != nil {
		return
	}
	p := reflect.PointerTo(t)
	switch {
	case above[t]:
		known[t] = &jsonschema.Schema{Description: "contains itself"}
		return
	case t.PkgPath() == "time" && t.Name() == "Time":
		return // it has a known form
	case t.Kind() != reflect.Pointer && p.Implements(reflect.TypeFor[json.Marshaler]()):
		known[t] = &jsonschema.Schema{}
		return
	case t.Kind() != reflect.Pointer && p.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		known[t] = &jsonschema.Schema{Type: "string"}
		return
	}
	if t.Name() != "" {
		above[t] = true
		defer delete(above, t)
	}
	switch t.Kind() {
	case reflect.Slice, reflect.Map:
		if above[t.Elem()] {
			known[t] = &jsonschema.Schema{Description: "contains " + t.Elem().String()}
			return
		}
		ownForms(t.Elem(), known, above)
	case reflect.Pointer, reflect.Array:
		ownForms(t.Elem(), known, above)
	case reflect.Struct:
		for f := range t.Fields() {
			if f.IsExported() || f.Anonymous {
				ownForms(f.Type, known, above)
			}
		}
	}
}

// loosen makes a schema one of what the codec takes, if asked: any field may be missing. Unknown ones are skipped.
func loosen(s *jsonschema.Schema, asked bool) {
	if s == nil {
		return
	}
	if s.Type == "object" && s.Properties != nil {
		s.AdditionalProperties = nil
		if asked {
			s.Required = nil
		}
	}
	for _, f := range s.Properties {
		loosen(f, asked)
	}
	loosen(s.Items, asked)
	if s.Properties == nil {
		loosen(s.AdditionalProperties, asked)
	}
}
