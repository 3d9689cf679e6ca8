package codec_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/tandem-go/tandem/rpc/codec"
)

// celsius has a form of its own, as a generated type has: a text with its unit.
type celsius struct{ degrees int }

type units struct{}

func (units) HasJSON(t reflect.Type) bool { return t == reflect.TypeFor[celsius]() }

func (units) AppendJSON(dst []byte, v any) ([]byte, error) {
	switch d := v.(celsius).degrees; {
	case d < -273:
		panic("colder than nothing")
	case d > 5000:
		return append(dst, "half"...), fmt.Errorf("%w: too hot", codec.ErrUnsupported)
	default:
		return fmt.Appendf(dst, `"%d C"`, d), nil
	}
}

func (units) DecodeJSON(body []byte, v any) error {
	to := v.(*celsius)
	if _, err := fmt.Sscanf(string(body), `"%d C"`, &to.degrees); err != nil {
		return fmt.Errorf("%w: %w", codec.ErrMalformed, err)
	}
	if to.degrees < -273 {
		panic("colder than nothing")
	}
	return nil
}

func (units) JSONSchema(_ reflect.Type, asked bool) json.RawMessage {
	return fmt.Appendf(nil, `{"type":"string","readOnly":%t}`, !asked)
}

// A type that has a form of its own is sent and got in it, and others as without it.
func TestJSONWith(t *testing.T) {
	c := codec.JSONWith(codec.Limits{Body: 8}, units{})
	body, err := c.Append([]byte("x"), celsius{20})
	if string(body) != `x"20 C"` || err != nil {
		t.Errorf("%s, %v", body, err)
	}
	var got celsius
	if err := c.Decode([]byte(`"21 C"`), &got); got.degrees != 21 || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if body, err = c.Append(nil, 7); string(body) != "7" || err != nil || c.ID() != codec.IDJSON {
		t.Errorf("another type: %s, %v", body, err)
	}
	if check := c.(interface{ Check(reflect.Type) error }); check.Check(reflect.TypeFor[celsius]()) != nil {
		t.Error("what can be carried is not what Check says")
	}
	for value, want := range map[int]error{12345: codec.ErrUnsupported, -300: codec.ErrUnsupported, 4999: nil} {
		if body, err := c.Append([]byte("x"), celsius{value}); !errors.Is(err, want) || err != nil && string(body) != "x" {
			t.Errorf("%d: %s, %v", value, body, err)
		}
	}
	for text, want := range map[string]error{`"9999 C"`: nil, `"99999 C"`: codec.ErrLimit, `20`: codec.ErrMalformed, `"-300 C"`: codec.ErrMalformed, ``: codec.ErrMalformed} {
		if err := c.Decode([]byte(text), &got); !errors.Is(err, want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if body, err := codec.JSONWith(codec.Limits{Body: 5}, units{}).Append([]byte("x"), celsius{20}); !errors.Is(err, codec.ErrLimit) || string(body) != "x" {
		t.Errorf("a body that is too large: %s, %v", body, err)
	}
	set, err := codec.NewSet(c)
	if err != nil {
		t.Fatal(err)
	}
	if s := set.JSONSchema(reflect.TypeFor[celsius](), true); string(s) != `{"type":"string","readOnly":false}` {
		t.Errorf("%s", s)
	}
	if s := set.JSONSchema(reflect.TypeFor[int](), true); s != nil || set.JSONSchema(nil, true) != nil {
		t.Errorf("of another type: %s", s)
	}
}
