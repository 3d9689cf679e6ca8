package codec_test

import (
	"errors"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/tandem-go/tandem/rpc/codec"
)

type (
	fits[T any]     struct{ A T }
	shadowed[T any] struct {
		Kind T
		base2[T]
	}
	base2[T any] struct{ Kind, Other T }
	wideKind     struct{ Kind, Other int64 }
)

// TestIntegersThatDoNotFitAreRefused sends every kind of integer where it does not fit, in
// all the places that a value may have, and beside them the largest that does.
func TestIntegersThatDoNotFitAreRefused(t *testing.T) {
	refuses[int8](t, 300, -129, math.MaxInt64)
	refuses[int16](t, 1<<15, -1<<15-1)
	refuses[int32](t, 1<<40, 1<<31, -1<<31-1, 1<<32)
	refuses[uint8](t, 256, -1)
	refuses[uint16](t, 1<<16, -1)
	refuses[uint32](t, 1<<32, -1, -1<<31)
	refuses[uint](t, -1, math.MinInt64)
	refuses[uint64](t, -1, math.MinInt64)
	refuses[time.Duration](t)
	refuses[float64](t, 1<<53+1, math.MaxInt64)
	refuses[float32](t, 1<<24+1)
	takes[int8](t, 127, -128)
	takes[int32](t, math.MaxInt32, math.MinInt32)
	takes[uint32](t, math.MaxUint32, 0)
	takes[uint64](t, math.MaxInt64)
	takes[float64](t, 1<<53, -1<<53, math.MinInt64)
	takes[float32](t, 1<<24)

	c := codec.Msgpack(codec.Limits{})
	for _, v := range []any{uint64(math.MaxUint64), uint64(1 << 63), uint(math.MaxUint)} {
		for _, into := range []any{new(int), new(int64), new(int32), new(uint32)} {
			decodes(t, c, v, into, false)
		}
	}
	decodes(t, c, uint64(math.MaxUint64), new(float64), false)
	decodes(t, c, uint64(1<<63), new(float64), true)
	decodes(t, c, uint64(math.MaxUint64), new(uint64), true)
	decodes(t, c, 1.5, new(int), false)
	decodes(t, c, 2.0, new(int64), false)
	decodes(t, c, math.Pi, new(float32), false)
}

func refuses[T comparable](t *testing.T, numbers ...int64) { all[T](t, false, numbers) }
func takes[T comparable](t *testing.T, numbers ...int64)   { all[T](t, true, numbers) }

func all[T comparable](t *testing.T, ok bool, numbers []int64) {
	t.Helper()
	c := codec.Msgpack(codec.Limits{})
	for _, n := range numbers {
		decodes(t, c, n, new(T), ok)
		decodes(t, c, int(n), new(T), ok)
		decodes(t, c, n, new(*T), ok)
		decodes(t, c, fits[int64]{n}, new(fits[T]), ok)
		decodes(t, c, fits[int]{int(n)}, new(fits[T]), ok)
		decodes(t, c, []int64{0, n}, new([]T), ok)
		decodes(t, c, []int64{0, n}, new([2]T), ok)
		decodes(t, c, map[string]int64{"k": n}, new(map[string]T), ok)
		decodes(t, c, map[int64]string{n: "v"}, new(map[T]string), ok)
		decodes(t, c, map[int64]int64{0: n}, new(map[int8]T), ok)
		decodes(t, c, []map[int][]int64{{1: {n}}}, new([]map[int][]T), ok)
		decodes(t, c, struct {
			Kind  int64
			Base2 wideKind `msgpack:"base2"`
		}{1, wideKind{n, 2}}, new(struct {
			Kind T
			B    base2[T] `msgpack:"base2"`
		}), ok)
		decodes(t, c, struct {
			A int64 `msgpack:"a"`
			B any   `msgpack:"b,omitempty"`
		}{n, nil}, new(struct {
			A T   `msgpack:"x,alias:a"`
			B any `msgpack:"b,omitempty"`
		}), ok)
	}
}

func decodes(t *testing.T, c codec.Codec, v, into any, ok bool) {
	t.Helper()
	body, err := c.Append(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	err = c.Decode(body, into)
	if ok && err != nil || !ok && !errors.Is(err, codec.ErrMalformed) {
		t.Errorf("%T %v into %T: %v, and now %v", v, v, into, err, reflect.ValueOf(into).Elem())
	}
}

// TestShadowedFieldsTravel: a field of an embedded struct that another field hides.
func TestShadowedFieldsTravel(t *testing.T) {
	type after struct {
		base2[string]
		Kind int
	}
	for _, v := range []any{
		shadowed[int]{1, base2[int]{2, 3}}, after{base2[string]{"a", "b"}, 7},
	} {
		if got := roundTrip(t, codec.Msgpack(codec.Limits{}), v); got != v {
			t.Errorf("got %+v, want %+v", got, v)
		}
	}
}

// TestTimesArriveInUTC wherever they are decoded, and whatever zone they were sent from.
func TestTimesArriveInUTC(t *testing.T) {
	local := time.Local
	defer func() { time.Local = local }()
	time.Local = time.FixedZone("there", 9*60*60)
	c := codec.Msgpack(codec.Limits{})
	late := time.Date(2026, 11, 29, 23, 30, 0, 5, time.UTC)
	from := late.In(time.FixedZone("here", -5*60*60))
	type all struct {
		T time.Time
		P *time.Time
		A any
		L []any
		M map[time.Time]int
		N map[string]any
	}
	got := roundTrip(t, c, all{from, &from, from, []any{from}, map[time.Time]int{from: 1}, map[string]any{"t": from}}).(all)
	for i, at := range []time.Time{got.T, *got.P, got.A.(time.Time), got.L[0].(time.Time), got.N["t"].(time.Time), roundTrip(t, c, from).(time.Time)} {
		if at != late {
			t.Errorf("%d: got %v, want %v", i, at, late)
		}
	}
	if got.M[late] != 1 {
		t.Errorf("the key %v is not in %v", late, got.M)
	}
	var v any
	body, _ := c.Append(nil, from)
	if err := c.Decode(body, &v); err != nil || v != late {
		t.Errorf("as an interface: %v, %v", v, err)
	}
	for _, sec := range []int64{0, 1 << 33, 1 << 40, -1, -62135596800} {
		if got := roundTrip(t, c, time.Unix(sec, 0)); got != time.Unix(sec, 0).UTC() {
			t.Errorf("%d: got %v", sec, got)
		}
	}
}

// TestBitsOfNaNsArrive also where a conversion between the sizes of floats would change them.
func TestBitsOfNaNsArrive(t *testing.T) {
	c := codec.Msgpack(codec.Limits{})
	sent := struct {
		A float32
		B float64
	}{math.Float32frombits(0x7f800001), math.Float64frombits(0x7ff0000000000001)}
	body, err := c.Append(nil, sent)
	got := sent
	got.A, got.B = 0, 0
	if err = errors.Join(err, c.Decode(body, &got)); err != nil || math.Float32bits(got.A) != 0x7f800001 || math.Float64bits(got.B) != 0x7ff0000000000001 {
		t.Errorf("%#x, %#x, %v", math.Float32bits(got.A), math.Float64bits(got.B), err)
	}
}
