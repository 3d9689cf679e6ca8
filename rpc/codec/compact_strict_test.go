package codec_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/tandem-go/tandem/rpc/codec"
)

type (
	pointXY  struct{ X, Y int32 }
	pointYX  struct{ Y, X int32 }
	pointX64 struct {
		X int64
		Y int32
	}
	pointXYZ struct{ X, Y, Z int32 }
	pointXZ  struct{ X, Z int32 }
	holdsXY  struct{ P pointXY }
	holdsYX  struct{ P pointYX }
	ptrXY    struct{ P *pointXY }
	loop     struct {
		N    int
		Next *loop
	}
	loopOfTwo struct {
		N    int
		Next *loopOther
	}
	loopOther struct {
		N    int
		Next *loopOther
	}
	embedsPointer struct {
		*pointXY
		Z int32
	}
	selfCoded struct{ n int }
)

func (s selfCoded) EncodeMsgpack(e *msgpack.Encoder) error { return e.EncodeInt(int64(s.n)) }
func (s *selfCoded) DecodeMsgpack(d *msgpack.Decoder) error {
	n, err := d.DecodeInt()
	s.n = n
	return err
}

// TestSchema: the schemas of two types are equal exactly if each reads the bodies of the other.
func TestSchema(t *testing.T) {
	of := func(v any) string {
		s, err := codec.Schema(reflect.TypeOf(v))
		if err != nil {
			t.Fatalf("%T: %v", v, err)
		}
		return s
	}
	for _, same := range [][2]any{
		{pointXY{}, struct{ X, Y int32 }{}}, {loop{}, struct {
			N    int
			Next *loop
		}{}}, {[]pointXY{}, []struct{ X, Y int32 }{}},
	} {
		a, b := of(same[0]), of(same[1])
		if _, isLoop := same[0].(loop); !isLoop && a != b {
			t.Errorf("%T and %T: %s, %s", same[0], same[1], a, b)
		}
	}
	different := []any{pointXY{}, pointYX{}, pointX64{}, pointXYZ{}, pointXZ{}, holdsXY{}, holdsYX{}, ptrXY{}, loop{}, []pointXY{}, [2]pointXY{}, [3]pointXY{},
		map[string]int{}, map[string]int64{}, map[int]string{}, "", []byte{}, [4]byte{}, 1, int64(1), uint(1), 1.0, float32(1), true, time.Time{}, selfCoded{}, struct{ A any }{}, struct{ A error }{}, struct{}{}}
	for i, a := range different {
		for _, b := range different[:i] {
			if of(a) == of(b) {
				t.Errorf("%T and %T: %s", a, b, of(a))
			}
		}
	}
	if a, b := of(loop{}), of(loopOfTwo{}); a == b {
		t.Errorf("one type in a cycle, and two: %s", a)
	}
	for _, v := range []any{embedsPointer{}, struct{ C chan int }{}, struct {
		N int `msgpack:",inline"`
	}{}} {
		if s, err := codec.Schema(reflect.TypeOf(v)); !errors.Is(err, codec.ErrUnsupported) {
			t.Errorf("%T: %s, %v", v, s, err)
		}
	}
}

// TestCompactIsStrict: a body with another number of values than the type has fields, or with names, is refused,
// at each depth.
func TestCompactIsStrict(t *testing.T) {
	c := codec.Compact(codec.Limits{})
	for body, fits := range map[string]bool{
		"\x92\x01\x02": true, "\xc0": true, "\x91\x01": false, "\x93\x01\x02\x03": false, "\x90": false, "\x82\xa1X\x01\xa1Y\x02": false, "\x92\x01": false,
		"\x92\x01\x02\x03": false, "\x92\xa1x\x02": false, "\x92\xce\xff\xff\xff\xff\x02": false, "\xdd\xff\xff\xff\xff": false, "": false,
	} {
		var p pointXY
		if err := c.Decode([]byte(body), &p); (err == nil) != fits || err != nil && !errors.Is(err, codec.ErrMalformed) {
			t.Errorf("%x: %v", body, err)
		}
		var h holdsXY
		if err := c.Decode([]byte("\x91"+body), &h); (err == nil) != fits || err != nil && !errors.Is(err, codec.ErrMalformed) {
			t.Errorf("within another: %x: %v", body, err)
		}
	}
}

// TestCompactLimits: the limits are those of msgpack.
func TestCompactLimits(t *testing.T) {
	at := codec.Compact(codec.Limits{Depth: 3})
	deep := loop{1, &loop{2, &loop{3, nil}}}
	body, err := at.Append(nil, deep)
	if err != nil {
		t.Fatal(err)
	}
	var got loop
	if err := at.Decode(body, &got); err != nil || !reflect.DeepEqual(got, deep) {
		t.Errorf("at the limit: %+v, %v", got, err)
	}
	if _, err := at.Append(nil, loop{0, &deep}); !errors.Is(err, codec.ErrLimit) {
		t.Errorf("beyond the depth: %v", err)
	}
	if err := at.Decode(append([]byte{0x92, 0}, body...), &got); !errors.Is(err, codec.ErrLimit) {
		t.Errorf("decoding beyond the depth: %v", err)
	}
	few := codec.Compact(codec.Limits{Elements: 4})
	if body, err = few.Append(nil, []int{1, 2, 3, 4}); err != nil {
		t.Fatal(err)
	}
	if _, err := few.Append(nil, []int{1, 2, 3, 4, 5}); !errors.Is(err, codec.ErrLimit) {
		t.Errorf("beyond the elements: %v", err)
	}
	var list []int
	if err := few.Decode(append([]byte{0x95}, append(body[1:], 5)...), &list); !errors.Is(err, codec.ErrLimit) {
		t.Errorf("decoding beyond the elements: %v", err)
	}
	// 64 KiB of nils for values of 1 KiB each would take 64 MiB.
	nils := append([]byte{0xdc, 0xff, 0xff}, make([]byte, 0xffff)...)
	for i := range nils[3:] {
		nils[3+i] = 0xc0
	}
	var large []struct{ A [1024]byte }
	if err := codec.Compact(codec.Limits{}).Decode(nils, &large); !errors.Is(err, codec.ErrLimit) {
		t.Errorf("beyond the bytes: %v", err)
	}
}

type (
	renamed struct {
		Title string `wire:"Name,Label"`
		N     int
	}
	takenByField struct {
		A int `wire:"B"`
		B int
	}
	takenByAlias struct {
		A int `wire:"C"`
		B int `wire:"C"`
	}
	notNames struct {
		A int `wire:"B,"`
	}
	hiddenAlias struct {
		A int
		b int `wire:"C"`
	}
)

// TestEarlierNames: a field is decoded by the names that it had, and a tag that cannot do that is refused.
func TestEarlierNames(t *testing.T) {
	c := codec.Msgpack(codec.Limits{})
	for _, name := range []string{"Title", "Name", "Label"} {
		body, err := c.Append(nil, map[string]any{name: "x", "Unknown": []int{1}, "N": 3})
		if err != nil {
			t.Fatal(err)
		}
		var v renamed
		if err := c.Decode(body, &v); err != nil || v != (renamed{"x", 3}) {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
	body, err := c.Append(nil, renamed{"x", 3})
	if err != nil || !strings.Contains(string(body), "Title") || strings.Contains(string(body), "Name") {
		t.Errorf("it is sent as %q, %v", body, err)
	}
	_ = hiddenAlias{}.b
	for _, v := range []any{takenByField{}, takenByAlias{}, notNames{}, hiddenAlias{}} {
		if _, err := c.Append(nil, v); !errors.Is(err, codec.ErrUnsupported) || !strings.Contains(err.Error(), "wire") {
			t.Errorf("%T: %v", v, err)
		}
	}
}

type (
	keepsBack struct {
		N    int
		held map[string]int
	}
	saysSo struct {
		N    int
		held int `msgpack:"-"`
		_    [4]byte
	}
	nestsBack struct{ L []map[string]*keepsBack }
)

// TestCheckWhole names the field that would stay behind.
func TestCheckWhole(t *testing.T) {
	c := codec.Msgpack(codec.Limits{}).(interface{ CheckWhole(reflect.Type) error })
	_, _ = keepsBack{}.held, saysSo{}.held
	for _, v := range []any{keepsBack{}, &keepsBack{}, nestsBack{}} {
		if err := c.CheckWhole(reflect.TypeOf(v)); !errors.Is(err, codec.ErrUnsupported) {
			t.Errorf("%T: %v", v, err)
		}
	}
	if err := c.CheckWhole(reflect.TypeFor[nestsBack]()); err == nil || !strings.Contains(err.Error(), "L.held") || !strings.Contains(err.Error(), "keepsBack") {
		t.Errorf("the error does not name the field: %v", err)
	}
	for _, v := range []any{saysSo{}, pointXY{}, time.Time{}, selfCoded{}, struct{ A any }{}, 1, "", []time.Time{}, struct{}{}} {
		if err := c.CheckWhole(reflect.TypeOf(v)); err != nil {
			t.Errorf("%T: %v", v, err)
		}
	}
}
