package codec_test

import (
	"reflect"
	"testing"

	"github.com/tandem-go/tandem/rpc/codec"
)

type (
	onePointer struct{ P *int }
	nothing    struct{}
	twoWords   struct{ A, B int }
)

// TestValue has values of all shapes that an interface holds in its own way decoded.
func TestValue(t *testing.T) {
	seven := 7
	check(t, 7)
	check(t, int8(-7))
	check(t, "seven")
	check(t, "")
	check(t, []byte{7})
	check(t, []int{7, 8})
	check(t, map[string]int{"a": 7})
	check(t, &seven)
	check(t, onePointer{&seven})
	check(t, [1]*int{&seven})
	check(t, nothing{})
	check(t, twoWords{7, 8})
	check(t, [2]int{7, 8})
}

func check[T any](t *testing.T, v T) {
	t.Helper()
	c := codec.Msgpack(codec.Limits{})
	body, err := c.Append(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	decode := codec.Value[T]()
	first, err := decode(c, body)
	if err != nil {
		t.Fatal(err)
	}
	second, err := decode(c, body)
	if got, ok := first.(T); err != nil || !ok || !reflect.DeepEqual(got, v) || !reflect.DeepEqual(second, any(v)) {
		t.Errorf("%T %v came back as %T %v and %v, err %v", v, v, first, first, second, err)
	}
	if _, err := decode(c, []byte{0xc1}); err == nil {
		t.Errorf("%T: a body that is none was decoded", v)
	}
}
