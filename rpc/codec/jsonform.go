package codec

import (
	"encoding/json"
	"fmt"
	"reflect"
)

// JSONForm is implemented by a codec whose types have a form in JSON that encoding/json does not know, as protobuf messages
// have. Those who do not have the codec send and get such values in JSON. Its methods may be called concurrently.
type JSONForm interface {
	// HasJSON reports whether values of type t have such a form. It must always say the same of a type.
	HasJSON(t reflect.Type) bool

	// AppendJSON and DecodeJSON promise what the methods Append and Decode of a Codec do, for values of these types and pointers to them.
	AppendJSON(dst []byte, v any) ([]byte, error)
	DecodeJSON(body []byte, v any) error

	// JSONSchema returns the JSON Schema (draft 2020-12) of the form of type t; if asked, of what DecodeJSON takes, else of what
	// AppendJSON makes.
	JSONSchema(t reflect.Type, asked bool) json.RawMessage
}

// JSONWith is JSON for values that may have a form of their own: of those types the first one of forms that has it makes and
// reads the body. Values of other types that hold such values are left to encoding/json.
func JSONWith(l Limits, forms ...JSONForm) Codec {
	c := JSON(l).(*jsonCodec)
	c.forms = forms
	return c
}

// formOf returns what makes and reads the values of a type, or nil for encoding/json.
func (c *jsonCodec) formOf(t reflect.Type) JSONForm {
	for _, f := range c.forms {
		if t != nil && f.HasJSON(t) {
			return f
		}
	}
	return nil
}

// appendForm appends the body of a value that has a form of its own.
func (c *jsonCodec) appendForm(f JSONForm, dst []byte, v any) (out []byte, err error) {
	defer func() {
		if err == nil {
			err = c.lim.checkBody(len(out) - len(dst))
		}
		if err != nil {
			out = dst
		}
	}()
	defer recovered(&err, ErrUnsupported)
	return f.AppendJSON(dst, v)
}

// decodeForm decodes a body into what v points to, which has a form of its own.
func decodeForm(f JSONForm, body []byte, v any) (err error) {
	defer recovered(&err, ErrMalformed)
	if err := f.DecodeJSON(body, v); err != nil {
		return fmt.Errorf("json: %w", err)
	}
	return nil
}

// JSONSchema returns the schema of the form that values of type t have in the JSON codec of the set, or nil if encoding/json makes
// it. See [JSONForm].
func (s *Set) JSONSchema(t reflect.Type, asked bool) json.RawMessage {
	c, ok := s.byID[IDJSON].(*jsonCodec)
	if !ok || t == nil {
		return nil
	}
	if f := c.formOf(t); f != nil {
		return f.JSONSchema(t, asked)
	}
	return nil
}
