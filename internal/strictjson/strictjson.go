// Package strictjson decodes what people write as JSON, field by field, so that an error says where it is. It is
// stricter than encoding/json: names are compared exactly, no name may stand in an object twice or be unknown,
// null is no value, and nothing follows the end. The depth and the size are for the caller to bound; what it
// takes is proportional to the size.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Error says what is wrong with an object or an array, and at which name or index in it.
type Error struct {
	Name string // of the field; empty: it is about the whole object
	Err  error
}

// Error says where it is, and what is wrong.
func (e *Error) Error() string {
	if e.Name == "" {
		return e.Err.Error()
	}
	return fmt.Sprintf("%q: %v", e.Name, e.Err)
}

// Unwrap returns what is wrong.
func (e *Error) Unwrap() error { return e.Err }

// The errors.
var (
	ErrTwice   = errors.New("the name stands there twice")
	ErrUnknown = errors.New("there is no such field")
	ErrNull    = errors.New("null is no value: leave the field out")
	ErrMore    = errors.New("something follows the end")
	ErrObject  = errors.New("want an object: {...}")
	ErrArray   = errors.New("want an array: [...]")
)

// Each calls do with each name and value of an object, in their order. It ends with the first error, which
// is an *Error.
func Each(data []byte, do func(name string, value json.RawMessage) error) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := open(dec, '{', ErrObject); err != nil {
		return &Error{Err: err}
	}
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return &Error{Err: err}
		}
		name, _ := token.(string) // names are strings, or Token has failed
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return &Error{name, err}
		}
		if seen[name] {
			return &Error{name, ErrTwice}
		}
		seen[name] = true
		if err := notNull(value); err != nil {
			return &Error{name, err}
		}
		if err := do(name, value); err != nil {
			return &Error{name, err}
		}
	}
	return end(dec)
}

// Object decodes an object into the variables that fields points to, by their names. A field may also be a
// func(json.RawMessage) error. The error is an *Error.
func Object(data []byte, fields map[string]any) error {
	return Each(data, func(name string, value json.RawMessage) error {
		switch to := fields[name].(type) {
		case nil:
			return ErrUnknown
		case func(json.RawMessage) error:
			return to(value)
		default:
			return json.Unmarshal(value, to)
		}
	})
}

// Array calls do with each element of an array. The error of do is returned as it is; others are an *Error.
func Array(data []byte, do func(i int, value json.RawMessage) error) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := open(dec, '[', ErrArray); err != nil {
		return &Error{Err: err}
	}
	for i := 0; dec.More(); i++ {
		var value json.RawMessage
		err := dec.Decode(&value)
		if err == nil {
			err = notNull(value)
		}
		if err != nil {
			return &Error{fmt.Sprint(i), err}
		}
		if err := do(i, value); err != nil {
			return err
		}
	}
	return end(dec)
}

// Lists decodes an object of arrays of strings.
func Lists(data []byte) (map[string][]string, error) {
	all := map[string][]string{}
	err := Each(data, func(name string, value json.RawMessage) error {
		list := []string{}
		err := json.Unmarshal(value, &list)
		all[name] = list
		return err
	})
	return all, err
}

// Duration decodes a duration as people write it: "250ms".
func Duration(data []byte) (time.Duration, error) {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return 0, err
	}
	return time.ParseDuration(text)
}

// Filled returns lists without a list that is nil, whose JSON would be null.
func Filled(lists map[string][]string) map[string][]string {
	all := make(map[string][]string, len(lists))
	for name, list := range lists {
		all[name] = append([]string{}, list...)
	}
	return all
}

func open(dec *json.Decoder, want json.Delim, otherwise error) error {
	token, err := dec.Token()
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	if token != want {
		return otherwise
	}
	return nil
}

func end(dec *json.Decoder) error {
	if _, err := dec.Token(); err != nil { // the closing delimiter
		return &Error{Err: err}
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return &Error{Err: ErrMore}
	}
	return nil
}

func notNull(value json.RawMessage) error {
	if string(value) == "null" {
		return ErrNull
	}
	return nil
}
