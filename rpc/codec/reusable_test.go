package codec_test

import (
	"reflect"
	"runtime"
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
	checkReusable(t, v)
	if _, err := decode(c, []byte{0xc1}); err == nil {
		t.Errorf("%T: a body that is none was decoded", v)
	}
}

// checkReusable has values come and go in a Reusable; the first is of another type than what holds it.
func checkReusable[T any](t *testing.T, v T) {
	t.Helper()
	b := codec.NewReusable[T]()
	var none T
	for range 3 {
		if got, ok := b.Value().(T); !ok || !reflect.DeepEqual(got, none) {
			t.Fatalf("an empty Reusable of %v shows %v", b.Type(), b.Value())
		}
		b.V = v
		if got, ok := b.Value().(T); !ok || !reflect.DeepEqual(got, v) {
			t.Fatalf("a Reusable shows %#v, want %#v", b.Value(), v)
		}
		if got := b.Take(); !reflect.DeepEqual(got, v) || !reflect.DeepEqual(b.V, none) {
			t.Fatalf("a Reusable gives %#v and keeps %#v", got, b.V)
		}
		b.V = v
		own := b.TakeValue()
		b.V = none
		if !reflect.DeepEqual(own, any(v)) || b.Type() != reflect.TypeFor[T]() {
			t.Fatalf("a Reusable of %v gives %#v", b.Type(), own)
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		b.V = v
		if b.Value() == nil {
			t.Fatal("nothing")
		}
		b.Take()
	}); n != 0 {
		t.Errorf("a %T in a Reusable costs %v allocations", v, n)
	}
}

// TestReusableOfInterface has values of several types in a Reusable for an interface.
func TestReusableOfInterface(t *testing.T) {
	b := codec.NewReusable[any]()
	for _, v := range []any{nil, 7, "seven", &twoWords{7, 8}} {
		if b.V = v; b.Value() != v || b.Take() != v || b.V != nil {
			t.Errorf("%v in a Reusable", v)
		}
	}
}

// TestReusableKeepsAlive: what a Reusable shows is its own memory, which stays alive.
func TestReusableKeepsAlive(t *testing.T) {
	var shown [100]any
	for i := range shown {
		b := codec.NewReusable[twoWords]()
		b.V = twoWords{i, i}
		shown[i] = b.Value()
	}
	runtime.GC()
	for range shown {
		_ = codec.NewReusable[twoWords]()
	}
	for i, v := range shown {
		if v != any(twoWords{i, i}) {
			t.Fatalf("%v is shown where %d was put", v, i)
		}
	}
}
