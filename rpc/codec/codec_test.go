package codec_test

import (
	"bytes"
	"errors"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/tandem-go/tandem/rpc/codec"
)

type small struct {
	ID     int64
	Amount int
	Name   string
	OK     bool
}

type nested struct {
	At     time.Time
	Tags   []string
	Counts map[string]int64
	Next   *nested
	Any    any
	Raw    []byte
	Key    [16]byte
	Addr   netip.Addr // encodes itself, by value
	Sum    big.Int    // encodes itself, by pointer
	Skip   chan int   `msgpack:"-" json:"-"`
}

type base struct{ ID int64 }

type Named struct{ Name string }

type embeds struct {
	base
	*Named
	Other string
}

type empty struct{}

// tuple encodes itself for msgpack.
type tuple struct{ a, b int64 }

func (t tuple) EncodeMsgpack(e *msgpack.Encoder) error { return e.EncodeMulti([]int64{t.a, t.b}) }
func (t *tuple) DecodeMsgpack(d *msgpack.Decoder) error {
	var p []int64
	if err := d.Decode(&p); err != nil {
		return err
	}
	if len(p) != 2 {
		return errors.New("not a pair")
	}
	t.a, t.b = p[0], p[1]
	return nil
}

func newNested() nested {
	n := nested{
		At: time.Unix(1700000000, 5).UTC(), Tags: []string{"a", "", "ü"},
		Counts: map[string]int64{"x": 1, "y": -1 << 60},
		Next:   &nested{At: time.Unix(0, 0).UTC(), Addr: netip.MustParseAddr("::1")},
		Any:    "text", Raw: []byte{0, 255}, Key: [16]byte{15: 9},
		Addr: netip.MustParseAddr("10.0.0.1"),
	}
	n.Sum.SetString("123456789012345678901234567890", 10)
	return n
}

// roundTrip encodes v and returns what decodes into a fresh value of its type.
func roundTrip(t *testing.T, c codec.Codec, v any) any {
	t.Helper()
	prefix := []byte("prefix")
	body, err := c.Append(prefix, v)
	if err != nil {
		t.Fatalf("Append(%#v): %v", v, err)
	}
	if !bytes.HasPrefix(body, prefix) {
		t.Fatalf("Append(%#v) lost what was there: %q", v, body)
	}
	body = body[len(prefix):]
	p := reflect.New(reflect.TypeOf(v))
	if err := c.Decode(body, p.Interface()); err != nil {
		t.Fatalf("Decode(%x) into %s: %v", body, p.Type(), err)
	}
	clear(body) // a value that aliased the body would show it
	return p.Elem().Interface()
}

// same compares values; a time by its instant, since the local zone is not sent.
func same(a, b any) bool {
	if x, ok := a.(time.Time); ok {
		return x.Equal(b.(time.Time))
	}
	if x, ok := a.(nested); ok {
		y := b.(nested)
		for p, q := &x, &y; p != nil && q != nil; p, q = p.Next, q.Next {
			p.At, q.At = p.At.UTC(), q.At.UTC()
		}
		return x.Sum.Cmp(&y.Sum) == 0 && reflect.DeepEqual(x, y)
	}
	return reflect.DeepEqual(a, b)
}

func TestRoundTrip(t *testing.T) {
	values := []any{
		true, false, 0, 1, -1, 127, 128, -32, -33, 255, 256, -129, 65535, 65536, -32769, math.MaxInt, math.MinInt,
		int8(-3), int16(-300), int32(-70000), int64(math.MinInt64), uint(7), uint8(200), uint16(60000), uint32(4e9),
		uint64(math.MaxUint64), 1.5, math.MaxFloat64, float32(2.5),
		"", "a", strings.Repeat("b", 31), strings.Repeat("c", 32), strings.Repeat("d", 256), strings.Repeat("e", 1<<16),
		[]byte{}, []byte{1}, bytes.Repeat([]byte{2}, 256), bytes.Repeat([]byte{3}, 1<<16), []byte(nil),
		small{ID: 1, Amount: -2, Name: "n", OK: true}, &small{Name: "p"}, (*small)(nil), struct{}{}, empty{}, []empty{{}, {}},
		newNested(), []small{{ID: 1}, {ID: 2}}, []small{}, []small(nil), []*small{{ID: 1}, nil},
		map[string]small{"a": {ID: 1}}, map[int64]string{-1: "m"}, map[string]string{"k": "v"}, map[string]any{"k": "v", "n": nil},
		embeds{base: base{1}, Named: &Named{"e"}, Other: "o"}, [3]int{1, 2, 3}, [2]byte{8, 9},
		time.Unix(1700000000, 123).UTC(), time.Second, netip.MustParseAddr("1.2.3.4"),
	}
	for _, c := range []codec.Codec{codec.Msgpack(codec.Limits{}), codec.JSON(codec.Limits{})} {
		t.Run(c.Name(), func(t *testing.T) {
			for _, v := range values {
				if got := roundTrip(t, c, v); !same(v, got) {
					t.Errorf("%T: got %#v, want %#v", v, got, v)
				}
			}
		})
	}
	if got := roundTrip(t, codec.Msgpack(codec.Limits{}), tuple{1, 2}); got != (tuple{1, 2}) {
		t.Errorf("tuple: got %v", got)
	}
}

// TestMsgpackBytes compares our bytes with the library's, for all that has one encoding.
func TestMsgpackBytes(t *testing.T) {
	c := codec.Msgpack(codec.Limits{})
	values := []any{
		nil, true, false, 1.5, "", "a", strings.Repeat("s", 40), strings.Repeat("s", 300), strings.Repeat("s", 70000),
		[]byte(nil), []byte{}, make([]byte, 300), make([]byte, 70000), struct{}{}, empty{}, small{Name: "x"}, tuple{3, 4},
		float32(1), math.NaN(), int8(1), time.Unix(1, 2), time.Second, [3]byte{1},
	}
	for shift := range 64 {
		for _, d := range []int64{-1, 0, 1} {
			n := int64(1)<<shift + d
			values = append(values, int(n), -int(n), n, -n, uint(n), uint64(n), int32(n), uint32(n))
		}
	}
	for _, v := range values {
		want, err := msgpack.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Append(nil, v)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%T(%v): got %x, %v; want %x", v, v, got, err, want)
		}
	}
}

// TestMsgpackScalars decodes every short body into every scalar, and compares with the
// library where that succeeds on a single value.
func TestMsgpackScalars(t *testing.T) {
	c := codec.Msgpack(codec.Limits{})
	targets := []func() any{
		func() any { return new(bool) }, func() any { return new(int) }, func() any { return new(uint) },
		func() any { return new(int32) }, func() any { return new(uint32) }, func() any { return new(int64) },
		func() any { return new(uint64) }, func() any { return new(float64) }, func() any { return new(string) },
		func() any { return new([]byte) },
	}
	for first := range 256 {
		for _, rest := range []string{"", "\x00", "\xff", "\x01\x80", "\x00\x01z", "\xff\xfe\xfd\xfc", "\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8"} {
			body := append([]byte{byte(first)}, rest...)
			if (first == 0xc6 || first == 0xdb) && strings.HasPrefix(rest, "\xff") {
				continue // the library would allocate 4 GiB
			}
			for _, target := range targets {
				got, want := target(), target()
				r := bytes.NewReader(body)
				wantErr := msgpack.NewDecoder(r).Decode(want)
				err := c.Decode(body, got)
				switch {
				case err == nil && (wantErr != nil || r.Len() > 0):
					t.Errorf("%x into %T: accepted", body, got)
				case err == nil && !reflect.DeepEqual(got, want) && first != 0xca && first != 0xcb: // NaN
					t.Errorf("%x into %T: got %v, want %v", body, got, reflect.ValueOf(got).Elem(), reflect.ValueOf(want).Elem())
				case err != nil && wantErr == nil && r.Len() == 0 && !cut(body, got):
					t.Errorf("%x into %T: %v", body, got, err)
				}
			}
		}
	}
}

// cut reports whether body is an integer that v cannot hold: the library cuts those.
func cut(body []byte, v any) bool {
	var n any
	if msgpack.Unmarshal(body, &n) != nil {
		return false
	}
	f := reflect.ValueOf(n)
	to := reflect.ValueOf(v).Elem()
	switch {
	case f.CanInt() && to.CanInt():
		return to.OverflowInt(f.Int())
	case f.CanInt() && to.CanUint():
		return f.Int() < 0 || to.OverflowUint(uint64(f.Int()))
	case f.CanUint() && to.CanInt():
		return f.Uint() > math.MaxInt64 || to.OverflowInt(int64(f.Uint()))
	case f.CanUint() && to.CanUint():
		return to.OverflowUint(f.Uint())
	case f.CanInt() && to.CanFloat():
		return int64(float64(f.Int())) != f.Int()
	case f.CanUint() && to.CanFloat():
		return uint64(float64(f.Uint())) != f.Uint()
	}
	return false
}

func TestDecodeIntoAny(t *testing.T) {
	for _, c := range []codec.Codec{codec.Msgpack(codec.Limits{}), codec.JSON(codec.Limits{})} {
		body, err := c.Append(nil, map[string]any{"a": []any{"b", nil, true}})
		if err != nil {
			t.Fatal(err)
		}
		for _, before := range []any{nil, 7, map[string]any{"old": 1}} {
			got := before
			if err := c.Decode(body, &got); err != nil {
				t.Fatalf("%s: %v", c.Name(), err)
			}
			if want := map[string]any{"a": []any{"b", nil, true}}; !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got %#v, want %#v", c.Name(), got, want)
			}
		}
		var m map[string]any
		var held any = &m
		if err := c.Decode(body, &held); err != nil || len(m) != 1 {
			t.Errorf("%s: through an interface: %v, %v", c.Name(), m, err)
		}
	}
}

type binary struct {
	b   []byte
	err error
}

func (b binary) MarshalBinary() ([]byte, error)     { return b.b, b.err }
func (b *binary) UnmarshalBinary(data []byte) error { b.b = data; return b.err }

type appender struct{ binary }

func (a appender) AppendBinary(dst []byte) ([]byte, error) { return append(dst, a.b...), a.err }

func TestRaw(t *testing.T) {
	c := codec.Raw(codec.Limits{Bytes: 4})
	if got := roundTrip(t, c, []byte("abcd")); string(got.([]byte)) != "abcd" {
		t.Errorf("bytes: %q", got)
	}
	if got := roundTrip(t, c, binary{b: []byte("abc")}); string(got.(binary).b) != "abc" {
		t.Errorf("BinaryMarshaler: %q", got)
	}
	if got := roundTrip(t, c, appender{binary{b: []byte("xyz")}}); string(got.(appender).b) != "xyz" {
		t.Errorf("BinaryAppender: %q", got)
	}
	failed := errors.New("failed")
	for _, x := range []struct {
		v    any
		want error
	}{
		{[]byte("abcde"), codec.ErrLimit}, {binary{b: []byte("abcde")}, codec.ErrLimit}, {appender{binary{b: []byte("abcde")}}, codec.ErrLimit},
		{binary{err: failed}, failed}, {appender{binary{err: failed}}, failed}, {binary{err: failed}, codec.ErrUnsupported},
		{"abc", codec.ErrUnsupported}, {nil, codec.ErrUnsupported}, {7, codec.ErrUnsupported},
	} {
		if got, err := c.Append([]byte("dst"), x.v); !errors.Is(err, x.want) || string(got) != "dst" {
			t.Errorf("Append(%v): %q, %v, want %v", x.v, got, err, x.want)
		}
	}
	for _, x := range []struct {
		body string
		v    any
		want error
	}{
		{"abcde", new([]byte), codec.ErrLimit}, {"abc", new(string), codec.ErrUnsupported}, {"abc", nil, codec.ErrUnsupported},
		{"abc", (*[]byte)(nil), codec.ErrUnsupported}, {"abc", &binary{err: failed}, codec.ErrMalformed}, {"abc", []byte{}, codec.ErrUnsupported},
	} {
		if err := c.Decode([]byte(x.body), x.v); !errors.Is(err, x.want) {
			t.Errorf("Decode into %T: %v, want %v", x.v, err, x.want)
		}
	}
}

type selfEmbedded struct {
	*selfEmbedded //lint:ignore U1000 that it embeds itself is the case
	A             int
}

type manyPointers *manyPointers

type panics struct{}

func (panics) MarshalMsgpack() ([]byte, error) { panic("no") }
func (panics) MarshalJSON() ([]byte, error)    { panic("no") }

func TestUnsupported(t *testing.T) {
	for _, c := range []codec.Codec{codec.Msgpack(codec.Limits{}), codec.JSON(codec.Limits{})} {
		values := []any{make(chan int), func() {}, struct{ F func() }{}, struct{ A any }{make(chan int)}, complex(1, 1), panics{}}
		if c.ID() == codec.IDMsgpack {
			values = append(values, uintptr(1), []*struct{ C chan int }{}, selfEmbedded{}, manyPointers(nil), struct {
				S string `msgpack:"s,intern"`
			}{})
		}
		for _, v := range values {
			dst := []byte("dst")
			if got, err := c.Append(dst, v); !errors.Is(err, codec.ErrUnsupported) || string(got) != "dst" {
				t.Errorf("%s: Append(%T): %q, %v", c.Name(), v, got, err)
			}
		}
		for _, v := range []any{nil, small{}, (*small)(nil), (*int)(nil), (*any)(nil)} {
			for _, body := range []string{"\x80", "1"} {
				if err := c.Decode([]byte(body), v); !errors.Is(err, codec.ErrUnsupported) {
					t.Errorf("%s: Decode into %T: %v", c.Name(), v, err)
				}
			}
		}
	}
}

func TestSet(t *testing.T) {
	l := codec.Limits{}
	s, err := codec.NewSet(codec.Msgpack(l), codec.JSON(l), codec.Raw(l))
	if err != nil {
		t.Fatal(err)
	}
	for id, name := range map[uint8]string{1: "msgpack", 2: "json", 3: "raw"} {
		if c, err := s.ByID(id); err != nil || c.Name() != name || c.ID() != id {
			t.Errorf("ByID(%d): %v, %v", id, c, err)
		}
	}
	for _, id := range []uint8{0, 4, 255} {
		if c, err := s.ByID(id); !errors.Is(err, codec.ErrUnsupported) || c != nil {
			t.Errorf("ByID(%d): %v, %v", id, c, err)
		}
	}
	if _, err := codec.NewSet(codec.Raw(codec.Limits{}), codec.Raw(codec.Limits{})); err == nil {
		t.Error("two codecs of one id were accepted")
	}
	if s, err := codec.NewSet(codec.JSON(codec.Limits{})); err != nil {
		t.Error(err)
	} else if _, err := s.ByID(codec.IDMsgpack); err == nil {
		t.Error("a codec was found that was not put in")
	}
}

func TestConcurrentUse(t *testing.T) {
	for _, c := range []codec.Codec{codec.Msgpack(codec.Limits{}), codec.JSON(codec.Limits{})} {
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range 200 {
					want := small{ID: int64(g), Amount: i, Name: strings.Repeat("n", i)}
					if got := roundTrip(t, c, want); got != want {
						t.Errorf("%s: got %v, want %v", c.Name(), got, want)
					}
					_ = c.Decode([]byte{0x91}, new(nested))
					_, _ = c.Append(nil, panics{})
				}
			})
		}
		wg.Wait()
	}
}
