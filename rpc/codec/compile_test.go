package codec

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// Types of every shape that is compiled, and of some that are not. Those below hold, in
// pairs, what differs by a hair.
type (
	cName    string
	cLevel   int32
	cFlags   uint8
	cBlob    []byte
	cReturns struct{}
	cBase    struct {
		ID   int64
		Kind cName
	}
	cScalars struct {
		A bool
		B int
		C int8
		D int16
		E int32
		F int64
		G uint
		H uint8
		I uint16
		J uint32
		K uint64
		L float32
		M float64
		N string
		O []byte
		P time.Time
		Q time.Duration
		R cName
		S cLevel
		T cBlob
		U cFlags
		_ int
	}
	cTags struct {
		A    int       `msgpack:"alpha"`
		B    string    `msgpack:",omitempty"`
		C    string    `msgpack:"-"`
		D    []int     `msgpack:"d,omitempty"`
		E    time.Time `msgpack:",omitempty"`
		F    *cBase    `msgpack:",omitempty"`
		G    cEmptyish `msgpack:",omitempty"`
		H    float64   `msgpack:",omitempty"`
		I    [2]int    `msgpack:",omitempty"`
		J    *time.Time
		K    bool            `msgpack:",omitempty"`
		L    map[string]bool `msgpack:",omitempty"`
		M    cZeroer         `msgpack:",omitempty"`
		Long int             `msgpack:"a_name_that_is_by_far_longer_than_thirty-one_bytes"`
	}
	cEmptyish struct {
		A int `msgpack:",omitempty"`
		B string
	}
	cAllOmit struct {
		//lint:ignore U1000 the library reads it
		_msgpack struct{} `msgpack:",omitempty"`
		A        int
		B        cEmptyAll
	}
	cEmptyAll struct {
		A int `msgpack:",omitempty"`
	}
	cArray struct {
		//lint:ignore U1000 the library reads it
		_msgpack struct{} `msgpack:",as_array"`
		A        int
		B        string
		C        *cArray
	}
	cEmbeds struct {
		//lint:ignore U1000 it is there to be embedded
		cReturns
		cBase
		*CPointed
		CWhole `msgpack:",noinline"`
		Other  string
	}
	CPointed struct {
		P1 int
		P2 []string
	}
	CWhole  struct{ W int }
	CDeep   struct{ CMiddle }
	CMiddle struct {
		*CPointed
		Mid int
	}
	cDeep struct {
		CDeep
		Z uint16
	}
	cEmbedsOmit struct {
		*CPointed
		A int `msgpack:",omitempty"`
	}
	cShadow struct {
		Kind string
		cBase
	}
	cEmbedsText struct {
		cText
		N int
	}
	cTexts struct {
		A cText
		B []cText
		C map[string]cText
		D cText `msgpack:",omitempty"`
		E string
	}
	cLists struct {
		A []int
		B []string
		C []cName
		D []cBase
		E []*cBase
		F [3]int16
		G [4]byte
		H [][]byte
		I []cReturns
		J [][2]string
		K []time.Time
		L []bool
		M []cFlags
		N [0]int
	}
	cMaps struct {
		A map[string]string
		B map[string]int64
		C map[string]bool
		D map[string]int
		E map[string]float64
		F map[string]cBase
		G map[string][]string
		H map[string]*cBase
		I map[string]any
		J map[int]string
		K map[cName]int
		L map[string]map[string]uint8
		M map[string]cText
		N map[string]cCustom
	}
	cPointers struct {
		A *int
		B **string
		C *[]byte
		D *map[string]int
		E *cPointers
		F *cText
		G []cPointers
		H map[string]cPointers
	}
	cOwn struct {
		A netip.Addr
		B cCustom
		C *cCustom
		D any
		E error
		F msgpack.RawMessage
		G []netip.Addr
		H cPtrText
		I []cPtrText
		K map[string]*cOwn
		Z int
	}
	cOne    struct{ P *int }
	cOneMap struct {
		//lint:ignore U1000 it is there to be embedded
		cReturns
		M map[string]int
	}
	cIfaceOmit struct {
		A any `msgpack:",omitempty"`
		B int
	}
	cAlias struct {
		A int `msgpack:"a,alias:b"`
	}
)

// cZeroer says itself when it is empty.
type cZeroer struct{ N int }

func (z cZeroer) IsZero() bool { return z.N%2 == 0 }

// cCustom encodes itself, by methods of its pointer.
type cCustom struct{ n int64 }

func (c *cCustom) EncodeMsgpack(e *msgpack.Encoder) error { return e.EncodeInt(c.n) }
func (c *cCustom) DecodeMsgpack(d *msgpack.Decoder) (err error) {
	c.n, err = d.DecodeInt64()
	return err
}

// cText is a text, like a reference to an actor.
type cText struct{ s string }

func (c cText) MarshalText() ([]byte, error) {
	if len(c.s) > 200 {
		return nil, errors.New("too long")
	}
	if c.s == "" {
		return nil, nil
	}
	return []byte(c.s), nil
}

func (c *cText) UnmarshalText(b []byte) error {
	if bytes.Contains(b, []byte{0}) {
		return errors.New("not a text")
	}
	c.s = string(b)
	return nil
}

// cPtrText is a text by methods of its pointer.
type cPtrText struct{ s string }

func (c *cPtrText) MarshalText() ([]byte, error) { return []byte(c.s), nil }
func (c *cPtrText) UnmarshalText(b []byte) error {
	if len(b) > 6 {
		return errors.New("too long")
	}
	c.s = string(b)
	return nil
}

// cRegistered has functions of the library's registry.
type cRegistered int

func init() { //nolint:gochecknoinits // the registry is the library's, and global
	msgpack.Register(cRegistered(0),
		func(e *msgpack.Encoder, v reflect.Value) error { return e.EncodeString(fmt.Sprint(v.Int())) },
		func(d *msgpack.Decoder, v reflect.Value) error {
			s, err := d.DecodeString()
			v.SetInt(int64(len(s)))
			return err
		})
}

func compiledTypes() []reflect.Type {
	var ts []reflect.Type
	for _, v := range []any{
		benchMessage{}, cReturns{}, cBase{}, cScalars{}, cTags{}, cEmptyish{}, cAllOmit{}, cArray{}, cEmbeds{}, cDeep{},
		cEmbedsOmit{}, cShadow{}, cEmbedsText{}, cTexts{}, cText{}, cLists{}, cMaps{}, cPointers{}, cOwn{}, cOne{}, cOneMap{}, cIfaceOmit{}, cAlias{},
		struct{ cReturns }{}, struct{ R cRegistered }{}, [1]*int{}, []int64{}, []string{}, map[string]string{},
		map[string]cBase{}, []cBase{}, cName(""), cLevel(0), time.Second, time.Time{}, [5]byte{}, [2]string{}, &cBase{},
		netip.Addr{}, struct{ N int64 }{}, struct{ A [2]uint32 }{}, cZeroer{},
	} {
		ts = append(ts, reflect.TypeOf(v))
	}
	return ts
}

// plain returns the codec that leaves all to the library.
func plain(l Limits) *msgpackCodec {
	l = l.withDefaults()
	return &msgpackCodec{lim: l, plans: plans{format: msgpackFormat(), lim: l}}
}

// fill sets v to a random value. Maps get one entry at most, so that their encoding has
// one order.
func fill(v reflect.Value, r *rand.Rand, depth int) {
	if !v.CanSet() {
		return
	}
	if r.IntN(6) == 0 {
		return
	}
	bits := r.Uint64() >> r.IntN(64)
	text := strings.Repeat("é", r.IntN(1<<r.IntN(9)))
	switch p := v.Addr().Interface().(type) {
	case *time.Time:
		*p = time.Unix(int64(bits>>1), int64(r.IntN(2))*int64(r.IntN(1e9))) // of the local zone, as decoded
		return
	case *netip.Addr:
		*p = netip.AddrFrom4([4]byte{10, byte(bits)})
		return
	case *cCustom:
		p.n = int64(bits)
		return
	case *cText:
		p.s = text
		return
	case *cPtrText:
		p.s = "text"
		return
	case *msgpack.RawMessage:
		*p = msgpack.RawMessage{0x91, 7}
		return
	case *error:
		*p = errors.New(text)
		return
	case *any:
		*p = []any{nil, true, "x", int8(7), []any{"y"}, map[string]any{"k": nil}}[r.IntN(6)]
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(bits) * int64(1-2*r.IntN(2)))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(bits)
	case reflect.Float32, reflect.Float64:
		v.SetFloat([]float64{0, math.Copysign(0, -1), 1.5, math.Inf(1), float64(bits)}[r.IntN(5)])
	case reflect.String:
		v.SetString(text)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), r, depth)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), r, depth)
		}
	}
	if depth == 0 {
		return
	}
	switch v.Kind() {
	case reflect.Slice:
		n := r.IntN(1 << r.IntN(6))
		v.Set(reflect.MakeSlice(v.Type(), n, n+r.IntN(3)))
		for i := range n {
			fill(v.Index(i), r, depth-1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		if r.IntN(3) > 0 {
			k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(k, r, depth-1)
			fill(e, r, depth-1)
			v.SetMapIndex(k, e)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), r, depth-1)
	}
}

// random returns a pointer to a random value of type t, the same for the same seed.
func random(t reflect.Type, seed uint64) reflect.Value {
	v := reflect.New(t)
	fill(v.Elem(), rand.New(rand.NewPCG(seed, 1)), 3)
	return v
}

// decodeBoth decodes body into two equal values, once each way, and compares.
func decodeBoth(t *testing.T, ours, lib Codec, body []byte, typ reflect.Type, seed uint64) {
	t.Helper()
	into := func() reflect.Value {
		if seed == 0 {
			return reflect.New(typ)
		}
		return random(typ, seed)
	}
	got, want := into(), into()
	gotErr := ours.Decode(body, got.Interface())
	wantErr := lib.Decode(body, want.Interface())
	if errors.Is(gotErr, errDoesNotFit) || wantErr != nil && strings.Contains(wantErr.Error(), "IsNil on struct") {
		return // the library cuts such a number, and panics at a time that is nil
	}
	if (gotErr == nil) != (wantErr == nil) || errors.Is(gotErr, ErrLimit) != errors.Is(wantErr, ErrLimit) {
		t.Fatalf("%x into %s (%d): %v, the library: %v", body, typ, seed, gotErr, wantErr)
	}
	if gotErr != nil && !errors.Is(gotErr, ErrMalformed) && !errors.Is(gotErr, ErrLimit) {
		t.Fatalf("%x into %s: %v", body, typ, gotErr)
	}
	if gotErr == nil && !reflect.DeepEqual(got.Interface(), want.Interface()) {
		x, _ := lib.Append(nil, got.Interface()) // two that are not numbers are not equal
		y, _ := lib.Append(nil, want.Interface())
		if !bytes.Equal(x, y) {
			t.Fatalf("%x into %s (%d):\n%#v, the library:\n%#v", body, typ, seed, got.Elem(), want.Elem())
		}
	}
}

// TestCompiled compares what is compiled with the library: the same bytes, and the same
// values from them and from bytes that are a little wrong, into fresh and used targets.
func TestCompiled(t *testing.T) {
	ours, lib := Msgpack(Limits{}), plain(Limits{})
	rounds := 300
	if testing.Short() {
		rounds = 50
	}
	for _, typ := range compiledTypes() {
		t.Run(typ.String(), func(t *testing.T) {
			r := rand.New(rand.NewPCG(7, 7))
			for seed := range uint64(rounds) {
				v := random(typ, seed)
				for _, v := range []any{v.Elem().Interface(), v.Interface()} {
					want, wantErr := lib.Append([]byte("dst"), v)
					got, err := ours.Append([]byte("dst"), v)
					if needsAddress(wantErr) && err == nil {
						continue
					}
					if !bytes.Equal(got, want) || (err == nil) != (wantErr == nil) {
						t.Fatalf("%#v: %x, %v\nthe library: %x, %v", v, got, err, want, wantErr)
					}
				}
				body, err := ours.Append(nil, v.Interface())
				if err != nil {
					continue
				}
				decodeBoth(t, ours, lib, body, typ, 0)
				decodeBoth(t, ours, lib, body, typ, seed+1)
				for range 8 {
					wrong := bytes.Clone(body)
					for range 1 + r.IntN(2) {
						wrong[r.IntN(len(wrong))] = []byte{0xc0, 0x80, 0x90, 0x01, 0xa0, 0xc4, 0xff, 0xd9, byte(r.Uint32())}[r.IntN(9)]
					}
					decodeBoth(t, ours, lib, wrong, typ, 0)
				}
			}
		})
	}
}

// needsAddress reports whether the library has found no address to call a method of a pointer
// with, where we make one.
func needsAddress(err error) bool {
	return err != nil && strings.Contains(err.Error(), "non-addressable")
}

// TestCompiledLimits compares what is refused for the limits.
func TestCompiledLimits(t *testing.T) {
	for _, lim := range []Limits{{Depth: 2}, {Depth: 3, Elements: 40}, {Elements: 12}, {Bytes: 700}, {Bytes: 20000, Elements: 100}} {
		ours, lib := Msgpack(lim), plain(lim)
		for _, typ := range compiledTypes() {
			for seed := range uint64(100) {
				v := random(typ, seed).Interface()
				_, err := ours.Append(nil, v)
				_, wantErr := lib.Append(nil, v)
				other := errors.Is(wantErr, ErrUnsupported) // of two reasons either will do
				if (err == nil) != (wantErr == nil) && !needsAddress(wantErr) || !other && errors.Is(err, ErrLimit) != errors.Is(wantErr, ErrLimit) {
					t.Fatalf("%+v, %s (%d): %v, the library: %v", lim, typ, seed, err, wantErr)
				}
				if body, err := plain(Limits{}).Append(nil, v); err == nil {
					decodeBoth(t, ours, lib, body, typ, 0)
				}
			}
		}
	}
}

// TestCompiledCycles encodes values that contain themselves, by ways that are compiled.
func TestCompiledCycles(t *testing.T) {
	p := new(cPointers)
	p.E = p
	q := &cPointers{H: map[string]cPointers{}}
	q.H["q"] = *q
	s := make([]cPointers, 1)
	s[0].G = s
	for _, v := range []any{p, *p, q, s} {
		if _, err := Msgpack(Limits{}).Append(nil, v); !errors.Is(err, ErrLimit) {
			t.Errorf("%T: %v", v, err)
		}
	}
}

// TestCompiledPanics: methods of a value inside may panic, and the codec goes on.
func TestCompiledPanics(t *testing.T) {
	c := Msgpack(Limits{})
	v := struct {
		A int
		T cPanics
	}{T: cPanics{on: true}}
	if got, err := c.Append([]byte("dst"), v); !errors.Is(err, ErrUnsupported) || string(got) != "dst" {
		t.Errorf("Append: %q, %v", got, err)
	}
	v.T.on = false
	body, err := c.Append(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Decode(body, &v); !errors.Is(err, ErrMalformed) {
		t.Errorf("Decode: %v", err)
	}
}

// cPanics is a text that panics: when it is encoded, if it is on, and when decoded.
type cPanics struct{ on bool }

func (c cPanics) MarshalText() ([]byte, error) {
	if c.on {
		panic("no")
	}
	return []byte("off"), nil
}
func (*cPanics) UnmarshalText([]byte) error { panic("no") }

// TestCompiledUnknownFields decodes what a newer version of a type has sent.
func TestCompiledUnknownFields(t *testing.T) {
	type newer struct {
		New1 map[string][]any
		cBase
		New2 time.Time
		New3 string
	}
	body, err := Msgpack(Limits{}).Append(nil, newer{map[string][]any{"a": {1, "b", nil}}, cBase{7, "k"}, time.Now(), strings.Repeat("x", 300)})
	if err != nil {
		t.Fatal(err)
	}
	var got cBase
	if err := Msgpack(Limits{}).Decode(body, &got); err != nil || got != (cBase{7, "k"}) {
		t.Errorf("got %v, %v", got, err)
	}
	room := append(body, "\xa4Kind\xa1z"...) // behind the body: not to be read
	for n := range len(body) {
		if err := Msgpack(Limits{}).Decode(room[:n], &got); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut to %d: %v", n, err)
		}
	}
}

// TestCompiledIsUsed: the comparison above proves nothing of what falls back.
func TestCompiledIsUsed(t *testing.T) {
	c := Msgpack(Limits{}).(*msgpackCodec)
	left := map[reflect.Type]bool{
		reflect.TypeFor[netip.Addr](): true, // a binary first of all
	}
	for _, typ := range compiledTypes() {
		p := c.plans.of(typ)
		dec := p.dec != nil || typ == reflect.TypeFor[time.Time]()
		if compiled := p.enc != nil && dec; compiled == left[typ] {
			t.Errorf("%s: compiled %v", typ, compiled)
		}
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[struct{ R cRegistered }](), reflect.TypeFor[cOwn]()} {
		if p := c.plans.of(typ); p.enc.pure {
			t.Errorf("%s: nothing in it is left to the library", typ)
		}
	}
}

// FuzzCompiled compares the two ways to decode.
func FuzzCompiled(f *testing.F) {
	ours, lib := Msgpack(Limits{}), plain(Limits{})
	types := compiledTypes()
	for i, typ := range types {
		for seed := range uint64(4) {
			if body, err := ours.Append(nil, random(typ, seed).Interface()); err == nil {
				f.Add(body, uint8(i), uint8(seed))
			}
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, i, seed uint8) {
		decodeBoth(t, ours, lib, body, types[int(i)%len(types)], uint64(seed%8))
	})
}
