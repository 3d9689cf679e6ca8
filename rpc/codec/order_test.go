package codec_test

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/tandem-go/tandem/rpc/codec"
)

type orderKey struct {
	A int
	B string
}

type odd struct {
	//lint:ignore U1000 the library reads it
	_msgpack struct{} `msgpack:",omitempty"`
	M        map[string]int
	N        any `msgpack:"n,alias:m"`
}

// orders returns a value with maps everywhere, made anew, and filled in another order, for
// each turn.
func orders(turn int) any {
	ints := func() map[string]int {
		m := make(map[string]int)
		for i := range 20 {
			i = (i*7 + turn) % 20
			m[string(rune('a'+i))] = i
		}
		return m
	}
	times := make(map[time.Time]string)
	for i := range 10 {
		times[time.Unix(int64((i+turn)%10), 0).UTC()] = "t"
	}
	nans := make(map[float64]int)
	for i := range 5 {
		nans[math.NaN()] = (i + turn) % 5
	}
	return struct {
		Ints   map[string]int
		Any    map[string]any
		ByInt  map[int]map[string]string
		ByAny  map[any]any
		Times  map[time.Time]string
		NaN    map[float64]int
		Struct map[orderKey]bool
		Iface  any
		Self   map[string]tuple
		Odd    odd
		Bools  map[string]bool
	}{
		ints(), map[string]any{"x": ints(), "y": []any{ints()}, "z": map[string]any{"a": 1, "b": 2, "c": map[string]any{"d": 1, "e": 2}}},
		map[int]map[string]string{1: {"a": "b", "c": "d"}, 300: {"e": "f"}, -1: {"g": "h", "i": "j", "k": "l"}},
		map[any]any{"a": 1, 2: "b", true: ints(), 1.5: nil}, times, nans,
		map[orderKey]bool{{1, "a"}: true, {2, "b"}: false, {3, "c"}: true},
		&struct{ M map[string]int }{ints()}, map[string]tuple{"a": {1, 2}, "b": {3, 4}, "c": {5, 6}},
		odd{M: ints(), N: ints()}, map[string]bool{"a": true, "b": false, "c": true},
	}
}

// TestEqualMessagesHaveEqualBodies encodes the same maps again and again.
func TestEqualMessagesHaveEqualBodies(t *testing.T) {
	c := codec.Msgpack(codec.Limits{})
	first, err := c.Append(nil, orders(0))
	if err != nil {
		t.Fatal(err)
	}
	for turn := range 50 {
		body, err := c.Append([]byte("before"), orders(turn))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(body[len("before"):], first) {
			t.Fatalf("turn %d gave another body", turn)
		}
	}
	j := codec.JSON(codec.Limits{})
	first, _ = j.Append(nil, map[string]any{"a": map[int]int{1: 2, 3: 4}, "b": map[string]bool{"x": true, "y": false}})
	for range 50 {
		body, err := j.Append(nil, map[string]any{"b": map[string]bool{"y": false, "x": true}, "a": map[int]int{3: 4, 1: 2}})
		if err != nil || !bytes.Equal(body, first) {
			t.Fatalf("JSON gave another body: %s, %v", body, err)
		}
	}
}

// TestMapInAnInterfaceHasStringKeys: a map that could not be decoded is refused by its sender.
func TestMapInAnInterfaceHasStringKeys(t *testing.T) {
	c := codec.Msgpack(codec.Limits{})
	for _, v := range []any{
		map[string]any{"a": map[int]int{1: 2}}, []any{map[any]any{1: 2}}, struct{ A any }{struct{ M map[bool]int }{map[bool]int{true: 1}}},
	} {
		if body, err := c.Append(nil, v); err == nil {
			t.Errorf("%T was encoded as %x", v, body)
		}
	}
	type name string
	v := map[string]any{"a": map[name]int{"x": 1}, "b": map[any]any{"y": "z"}, "c": map[int]int(nil)}
	got := roundTrip(t, c, v).(map[string]any)
	if len(got) != 3 || len(got["a"].(map[string]any)) != 1 || len(got["b"].(map[string]any)) != 1 {
		t.Errorf("got %v", got)
	}
}
