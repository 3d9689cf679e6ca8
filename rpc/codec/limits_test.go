package codec_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/rpc/codec"
)

// allocated returns the bytes that fn allocates.
func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

const (
	bound = 16 << 20
	slack = 2 << 20
)

type kilobyte struct{ A [1024]byte }

type tree map[string]tree

type list struct {
	Big  kilobyte
	Next *list
}

type withTime struct {
	At time.Time
	M  map[string]any
}

func rep(s string, n int) string { return strings.Repeat(s, n) }

// TestHostileMsgpack decodes the attacks that are known on the library underneath.
func TestHostileMsgpack(t *testing.T) {
	c := codec.Msgpack(codec.Limits{})
	for _, x := range []struct {
		name, body string
		into       func() any
		want       error // nil if it may succeed
	}{
		{"array header", "\xdd\x01\x31\x2d\x00", func() any { return new([]int64) }, codec.ErrMalformed},
		{"map header", "\xdf\x01\x31\x2d\x00", func() any { return new(map[string]int) }, codec.ErrMalformed},
		{"bin header", "\xc6\x40\x00\x00\x00", func() any { return new([]byte) }, codec.ErrMalformed},
		{"str header in a struct", "\x81\xa1A\xdb\x40\x00\x00\x00", func() any { return new(struct{ A string }) }, codec.ErrMalformed},
		{"ext header", "\xc9\x40\x00\x00\x00\xff", func() any { return new(any) }, codec.ErrMalformed},
		{"nesting", rep("\x91", 1_900_000), func() any { return new(any) }, codec.ErrLimit},
		{"nesting of maps", rep("\x81\xa0", 900_000), func() any { return new(any) }, codec.ErrLimit},
		{"same key twice", "\x82\xa1A\x01\xa1A\x02", func() any { return new(struct{ A any }) }, codec.ErrMalformed},
		{"unhashable key", "\x81\x90\x01", func() any { return new(map[any]any) }, codec.ErrMalformed},
		{"nils into large elements", "\xdd\x00\x00\xff\xff" + rep("\xc0", 65535), func() any { return new([]kilobyte) }, codec.ErrLimit},
		{"maps into large elements", "\xdd\x00\x00\xff\xff" + rep("\x80", 65535), func() any { return new([]*kilobyte) }, codec.ErrLimit},
		{"large map values", "\xde\x7f\xff" + rep("\x00\xc0", 32767), func() any { return new(map[int64]kilobyte) }, codec.ErrLimit},
		{"structs in arrays that hold pointers", "\xdd\x00\x00\x4e\x20" + rep("\x91\xc4\x00", 20000), func() any { return new([]struct{ P *[1024]byte }) }, codec.ErrLimit},
		{"small maps of large values", "\xdc\x51\x00" + rep("\x81\x00\xc0", 0x5100), func() any { return new([]map[int64][64]int64) }, codec.ErrLimit},
		{"small maps", "\xdc\x55\x00" + rep("\x81\xa0\xc0", 0x5500), func() any { return new(any) }, nil},
		{"small maps in a struct", "\x81\xa1M\x81\xa1a\xdc\x55\x00" + rep("\x81\xa0\x80", 0x5500), func() any { return new(withTime) }, nil},
		{"chains of maps", "\xdc\x04\x00" + rep(rep("\x81\xa0", 31)+"\xc0", 1024), func() any { return new(any) }, nil},
		{"chains of typed maps", "\xdc\x03\x00" + rep(rep("\x81\xa0", 31)+"\xc0", 768), func() any { return new([]tree) }, nil},
		{"empty arrays", "\xdd\x00\x01\x00\x00" + rep("\x90", 65536), func() any { return new(any) }, nil},
		{"strings", "\xdd\x00\x01\x00\x00" + rep("\xb1"+rep("s", 17), 65536), func() any { return new(any) }, nil},
		{"field set and unset", "\xde\x7f\xff" + rep("\xa4Next\x80\xa4Next\xc0", 16383) + "\xa4Next\x80", func() any { return new(list) }, codec.ErrLimit},
		{"ext for a map", "\xc7\x05\x01\xdf\x00\x20\x00\x00", func() any { return new(map[string]any) }, codec.ErrMalformed},
		{"ext for a map in a struct", "\x81\xa1M\xc7\x05\x01\xdf\x00\x20\x00\x00", func() any { return new(withTime) }, codec.ErrMalformed},
		{"time for a map", "\xd6\xff\xdf\xff\xff\xff\xff", func() any { return new(map[string]string) }, codec.ErrMalformed},
		{"fixext for a map", "\x81\xa1M\xd6\xff\xdf\xff\xff\xff", func() any { return new(withTime) }, codec.ErrMalformed},
		{"empty ext before a map", "\x92\xc7\x00\x01\x80", func() any { return new([]map[string]int) }, codec.ErrMalformed},
		{"extensions", "\xdd\x00\x3f\xff\xff" + rep("\xd4\x01\x00", 0x3fffff), func() any { return new(any) }, codec.ErrLimit},
		{"extensions in an unknown field", "\x81\xa1?\xdd\x00\x3f\xff\xff" + rep("\xd4\x01\x00", 0x3fffff), func() any { return new(small) }, codec.ErrLimit},
		{"large string beside an unknown field", "\x82\xa4Name\xdb\x00\x70\x00\x00" + rep("s", 0x700000) + "\xa1?\x01", func() any { return new(small) }, nil},
		{"int for a non-empty interface", "\x81\xa1A\x01", func() any { return new(struct{ A interface{ Foo() } }) }, codec.ErrUnsupported},
	} {
		t.Run(x.name, func(t *testing.T) {
			_ = c.Decode([]byte{0x80}, x.into()) // what is cached per type
			var err error
			n := allocated(func() { err = c.Decode([]byte(x.body), x.into()) })
			if !errors.Is(err, x.want) || x.want == nil && err != nil {
				t.Errorf("got %v, want %v", err, x.want)
			}
			if n > bound+slack {
				t.Errorf("allocated %d KiB", n>>10)
			}
		})
	}
}

// TestExtensionsStayUsable decodes a time whose bytes look like the header of a map,
// beside maps.
func TestExtensionsStayUsable(t *testing.T) {
	c := codec.Msgpack(codec.Limits{})
	for _, sec := range []int64{0, 0x80000000, 0xdfffffff, 0xdeffffff, 1 << 33, 1 << 40} {
		want := withTime{time.Unix(sec, 0x20000000), map[string]any{"t": time.Unix(sec, 1), "u": "v"}}
		body, err := c.Append(nil, want)
		if err != nil {
			t.Fatal(err)
		}
		var got withTime
		if err := c.Decode(body, &got); err != nil {
			t.Fatal(err)
		}
		if at, ok := got.M["t"].(time.Time); !got.At.Equal(want.At) || !ok || !at.Equal(time.Unix(sec, 1)) {
			t.Errorf("%d: got %v", sec, got)
		}
	}
}

func TestHostileJSON(t *testing.T) {
	c := codec.JSON(codec.Limits{})
	for _, x := range []struct {
		name, body string
		into       func() any
		want       error
	}{
		{"nesting", rep("[", 1_900_000), func() any { return new(any) }, codec.ErrLimit},
		{"nesting of objects", rep(`{"":`, 900_000), func() any { return new(any) }, codec.ErrLimit},
		{"nulls into large elements", "[" + rep("null,", 65535) + "null]", func() any { return new([]kilobyte) }, codec.ErrLimit},
		{"numbers for large pointers", "[" + rep("0,", 65535) + "0]", func() any { return new([]*kilobyte) }, codec.ErrLimit},
		{"small objects", "[" + rep(`{"":0},`, 21000) + "0]", func() any { return new(any) }, nil},
		{"numbers", "[" + rep("0,", 65535) + "0]", func() any { return new(any) }, nil},
		{"escapes", `"` + rep(`\u0041`, 1<<19) + `"`, func() any { return new(string) }, nil},
		{"trailing value", "1 2", func() any { return new(int) }, codec.ErrMalformed},
		{"trailing bracket", "[]]", func() any { return new(any) }, codec.ErrMalformed},
		{"comma", ",", func() any { return new(any) }, codec.ErrMalformed},
		{"open string", `["`, func() any { return new(any) }, codec.ErrMalformed},
		{"nothing", "", func() any { return new(any) }, codec.ErrMalformed},
		{"brackets in a string", `"` + rep("[", 100) + `\"` + rep("{", 100) + `"`, func() any { return new(string) }, nil},
		{"wrong type", `{"ID":"x"}`, func() any { return new(small) }, codec.ErrMalformed},
		{"unknown field", `{"Nobody":[1,{"a":"b"}],"ID":3}`, func() any { return new(small) }, nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			_ = c.Decode([]byte("{}"), x.into())
			var err error
			n := allocated(func() { err = c.Decode([]byte(x.body), x.into()) })
			if !errors.Is(err, x.want) || x.want == nil && err != nil {
				t.Errorf("got %v, want %v", err, x.want)
			}
			if n > bound+slack {
				t.Errorf("allocated %d KiB", n>>10)
			}
		})
	}
}

// nest returns n slices, one in the other.
func nest(n int) any {
	v := any([]any{})
	for range n - 1 {
		v = []any{v}
	}
	return v
}

// TestLimits encodes and decodes at each limit and one beyond. Both sides must agree.
func TestLimits(t *testing.T) {
	lim := codec.Limits{Depth: 40, Elements: 100, Bytes: 20000}
	makers := []func(codec.Limits) codec.Codec{codec.Msgpack, codec.JSON}
	for _, x := range []struct {
		name   string
		value  func(over int) any
		margin int // bytes that JSON needs beside the content
	}{
		{"depth", func(over int) any { return nest(40 + over) }, 0},
		{"items", func(over int) any { return make([]bool, 100+over) }, 0},
		{"pairs", func(over int) any {
			m := make(map[string]bool)
			for i := range 50 + over {
				m[rep("k", i)] = true
			}
			return m
		}, 0},
		{"fields", func(over int) any {
			var fields []reflect.StructField
			for i := range 50 + over {
				fields = append(fields, reflect.StructField{Name: fmt.Sprint("F", i), Type: reflect.TypeFor[bool]()})
			}
			return reflect.Zero(reflect.StructOf(fields)).Interface()
		}, 0},
		{"items in two slices", func(over int) any { return [][]bool{make([]bool, 49), make([]bool, 49+over)} }, 0},
		{"bytes", func(over int) any { return rep("s", 20000-3+over) }, 1},
		{"bytes in a struct", func(over int) any { return struct{ S string }{rep("s", 20000-6+over)} }, -2},
	} {
		for _, mk := range makers {
			c, free := mk(lim), mk(codec.Limits{Depth: 100})
			t.Run(c.Name()+" "+x.name, func(t *testing.T) {
				for over := range 2 {
					if c.ID() == codec.IDJSON {
						over += x.margin
					}
					beyond := over > 0
					if c.ID() == codec.IDJSON {
						beyond = over > x.margin
					}
					v := x.value(over)
					dst := []byte("dst")
					got, err := c.Append(dst, v)
					if beyond && (!errors.Is(err, codec.ErrLimit) || string(got) != "dst") || !beyond && err != nil {
						t.Errorf("Append, beyond %v: %v", beyond, err)
					}
					body, err := free.Append(nil, v)
					if err != nil {
						t.Fatal(err)
					}
					var into any
					if err := c.Decode(body, &into); beyond && !errors.Is(err, codec.ErrLimit) || !beyond && err != nil {
						t.Errorf("Decode of %d bytes, beyond %v: %v", len(body), beyond, err)
					}
				}
			})
		}
	}
}

func TestDefaultLimits(t *testing.T) {
	c := codec.Msgpack(codec.Limits{})
	for _, x := range []struct {
		body []byte
		want error
	}{
		{append(bytes.Repeat([]byte{0x91}, 32), 0xc0), nil},
		{append(bytes.Repeat([]byte{0x91}, 33), 0xc0), codec.ErrLimit},
		{append([]byte{0xdd, 0, 1, 0, 0}, make([]byte, 65536)...), nil},
		{append([]byte{0xdd, 0, 4, 0, 0}, make([]byte, 1<<18)...), nil}, // as many as 16 MiB hold, and a sixteenth
		{append([]byte{0xdd, 0, 4, 0x1f, 0x08}, make([]byte, 270088)...), codec.ErrLimit},
		{append([]byte{0xc6, 4, 0, 0xff, 0xfb}, make([]byte, 64<<20+64<<10-5)...), nil},
		{append([]byte{0xc6, 4, 0, 0xff, 0xfc}, make([]byte, 64<<20+64<<10-4)...), codec.ErrLimit},
	} {
		var v any = new([]byte)
		if x.body[0] != 0xc6 {
			v = new(any)
		}
		if err := c.Decode(x.body, v); !errors.Is(err, x.want) || x.want == nil && err != nil {
			t.Errorf("%x…: %v, want %v", x.body[:5], err, x.want)
		}
	}
}

// TestElementsCountByTheirMemory: a body of numbers may be as long as bodies are, and one
// whose values take much more memory than they came in may not.
func TestElementsCountByTheirMemory(t *testing.T) {
	ints, floats := make([]int64, 6<<20), make([]float64, 1<<20)
	for i := range ints {
		ints[i], floats[i%len(floats)] = int64(i), 1/float64(i)
	}
	byName := make(map[string]int64)
	for i := range 100_000 {
		byName[fmt.Sprint(i)] = int64(i)
	}
	c := codec.Msgpack(codec.Limits{})
	for _, v := range []any{
		ints, floats, make([]int, 1_900_000), make([]byte, 60<<20), make([]bool, 1<<20), make([]struct{}, 1<<17), byName, make([]string, 500_000),
	} {
		body, err := c.Append(nil, v)
		if err != nil {
			t.Errorf("%T: %v", v, err)
			continue
		}
		into := reflect.New(reflect.TypeOf(v))
		n := allocated(func() { err = c.Decode(body, into.Interface()) })
		if err != nil || into.Elem().Len() != reflect.ValueOf(v).Len() {
			t.Errorf("%T: %d of %d came, %v", v, into.Elem().Len(), reflect.ValueOf(v).Len(), err)
		}
		if n > bound+slack+uint64(max(0, len(body)-1<<20)) {
			t.Errorf("%T: %d bytes took %d", v, len(body), n)
		}
	}
	for _, v := range []any{make([]int, 3<<20), make([]map[int]bool, 5<<20), make([]any, 300_000)} {
		if _, err := c.Append(nil, v); !errors.Is(err, codec.ErrLimit) {
			t.Errorf("%T of %d: %v", v, reflect.ValueOf(v).Len(), err)
		}
	}
	if _, err := codec.JSON(codec.Limits{}).Append(nil, ints[:200_000]); err != nil {
		t.Errorf("JSON: %v", err)
	}
}

// TestLargeRecords: the estimate must not refuse honest lists.
func TestLargeRecords(t *testing.T) {
	type record struct {
		A, B, C, D, E, F, G, H string
		I, J, K, L             int64
		Labels                 map[string]string
		Parts                  []small
		Next                   *small
	}
	list := make([]record, 1000)
	for i := range list {
		list[i] = record{A: "a", Labels: map[string]string{"k": "v"}, Parts: make([]small, 2), Next: new(small)}
	}
	for _, c := range []codec.Codec{codec.Msgpack(codec.Limits{}), codec.JSON(codec.Limits{})} {
		if got := roundTrip(t, c, list).([]record); len(got) != 1000 || got[999].A != "a" {
			t.Errorf("%s: %d records", c.Name(), len(got))
		}
	}
}

// TestCycles encodes values that contain themselves.
func TestCycles(t *testing.T) {
	type slice []slice
	s := make(slice, 1)
	s[0] = s
	m := map[string]any{}
	m["m"] = m
	type node struct{ Next *node }
	n := new(node)
	n.Next = n
	for _, v := range []any{s, m, n} {
		if _, err := codec.Msgpack(codec.Limits{}).Append(nil, v); !errors.Is(err, codec.ErrLimit) {
			t.Errorf("msgpack %T: %v", v, err)
		}
		if _, err := codec.JSON(codec.Limits{}).Append(nil, v); err == nil {
			t.Errorf("json %T: no error", v)
		}
	}
}
