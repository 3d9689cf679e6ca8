package strictjson_test

import (
	"encoding/json"
	"errors"
	"io"
	"testing"

	"github.com/tandem-go/tandem/internal/strictjson"
)

func TestObject(t *testing.T) {
	for _, row := range []struct {
		data, field string
		want        error // nil: any error
	}{
		{`{"a":1,"a":2}`, "a", strictjson.ErrTwice},
		{`{"A":1}`, "A", strictjson.ErrUnknown},
		{`{"b":1}`, "b", strictjson.ErrUnknown},
		{`{"a":null}`, "a", strictjson.ErrNull},
		{`{"a":1}{}`, "", strictjson.ErrMore},
		{`{"a":1} x`, "", strictjson.ErrMore},
		{`[]`, "", strictjson.ErrObject},
		{`7`, "", strictjson.ErrObject},
		{`null`, "", strictjson.ErrObject},
		{``, "", io.ErrUnexpectedEOF},
		{`{"a":1`, "", nil},
		{`{"a":`, "a", nil},
		{`{"a":1.5}`, "a", nil},
		{`{"a":"1"}`, "a", nil},
		{`{7:1}`, "", nil},
		{`{"l":[1,null]}`, "l", nil},
		{`{"l":{"x":["a"],"x":[]}}`, "l", strictjson.ErrTwice},
	} {
		a := 0
		err := strictjson.Object([]byte(row.data), map[string]any{"a": &a, "l": func(v json.RawMessage) error {
			_, err := strictjson.Lists(v)
			return err
		}})
		var e *strictjson.Error
		if !errors.As(err, &e) || e.Name != row.field || row.want != nil && !errors.Is(err, row.want) {
			t.Errorf("%s: %v", row.data, err)
		}
	}
	a := 0
	if err := strictjson.Object([]byte(` {"a" : 7 } `), map[string]any{"a": &a}); err != nil || a != 7 {
		t.Error(a, err)
	}
}

func TestArray(t *testing.T) {
	own := errors.New("own")
	for _, row := range []struct {
		data string
		want error
	}{{`[1,null]`, strictjson.ErrNull}, {`{}`, strictjson.ErrArray}, {`[1] [2]`, strictjson.ErrMore}, {`[1,2,3]`, own}, {``, io.ErrUnexpectedEOF}, {`[1,2]`, nil}} {
		n := 0
		err := strictjson.Array([]byte(row.data), func(i int, v json.RawMessage) error {
			if n++; i == 2 {
				return own
			}
			return nil
		})
		if !errors.Is(err, row.want) {
			t.Errorf("%s: %v", row.data, err)
		}
	}
	if err := strictjson.Array([]byte(`[1`), func(int, json.RawMessage) error { return nil }); err == nil {
		t.Error("an array that does not end")
	}
}
