package actor

import (
	"reflect"
	"strings"
	"testing"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
)

// Who has a message in encoded form alone can use all verbs, from any node, and gets the replies in the same codec.
func TestEncodedMessages(t *testing.T) {
	withGuests(t, func(t *testing.T, g guests) {
		g.setAccess(t, relays)
		json := func(typ, body string) Encoded { return Encoded{Type: typ, Codec: codec.IDJSON, Body: []byte(body)} }
		for _, s := range []*System{g.a, g.b, g.c} {
			door := s.Ref("door@b")
			if r, err := json("test.door.Open", `{}`).Call(t.Context(), door, rpc.Key("k"), rpc.OnBehalfOf("web:ann")); err != nil || string(r.Body) != `"open"` || r.Codec != codec.IDJSON {
				t.Errorf("%s: %q, %v", s.Name(), r, err)
			}
			if err := json(g.a.types.get(reflect.TypeFor[knock]()).name, `{}`).Tell(t.Context(), door); err != nil {
				t.Errorf("%s: %v", s.Name(), err)
			}
			token, err := json("test.door.Open", `{}`).Submit(t.Context(), door)
			if err != nil {
				t.Fatal(s.Name(), err)
			}
			if again, err := Redeem[Encoded](s, token.String()); err != nil {
				t.Error(err)
			} else if r, err := again.Await(t.Context()); err != nil || string(r.Body) != `"open"` {
				t.Errorf("%s: %q, %v", s.Name(), r, err)
			}
			n := 0
			for item, err := range json(g.a.types.get(reflect.TypeFor[ticks]()).name, `{}`).Stream(t.Context(), door) {
				if err != nil || string(item.Body) != string(rune('0'+n)) {
					t.Errorf("%s: item %d is %q, %v", s.Name(), n, item.Body, err)
				}
				if n++; err != nil || n == 3 {
					break
				}
			}
			for what, m := range map[string]struct {
				m    Encoded
				code rpc.Code
			}{
				"not of the type":     {json("test.door.Open", `[1]`), rpc.Undecodable},
				"of no type":          {json("", `{}`), rpc.Invalid},
				"in no codec":         {Encoded{Type: "test.door.Open", Body: []byte(`{}`)}, rpc.Invalid},
				"in an unknown codec": {Encoded{Type: "test.door.Open", Codec: 99, Body: []byte(`{}`)}, rpc.Undecodable},
				"of an unknown type":  {json("test.door.Nothing", `{}`), rpc.Unhandled},
				"too deep":            {json("test.door.Open", strings.Repeat(`{"a":`, 100)+strings.Repeat(`}`, 100)), rpc.TooLarge},
			} {
				if _, err := m.m.Call(t.Context(), door); rpc.CodeOf(err) != m.code || rpc.Ran(err) != rpc.NotRun {
					t.Errorf("%s: a message %s: %v", s.Name(), what, err)
				}
			}
		}
	})
}
