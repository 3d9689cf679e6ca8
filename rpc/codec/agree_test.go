package codec

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// The compiled form of a type and the library are to agree: on the bytes, on the values, and
// on what they refuse.

// plain returns the codec that leaves all to the library.
func plain(l Limits) *msgpackCodec {
	c := Msgpack(l).(*msgpackCodec)
	c.plans.compile = func(t reflect.Type) *node { return &node{kind: kindLibrary, typ: t} }
	return c
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
		same := func(c Codec) bool { // two that are not numbers are not equal, nor are two zones
			x, _ := c.Append(nil, got.Interface())
			y, _ := c.Append(nil, want.Interface())
			return bytes.Equal(x, y)
		}
		if !same(lib) && !same(ours) {
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

// TestRandomTypesAgree makes types at random, and values of each: what one way encodes, the
// other one decodes, to a value that is encoded as it was; and both refuse the same for its depth, its
// elements and its bytes, as encoders and as decoders.
func TestRandomTypesAgree(t *testing.T) {
	types := 200
	if testing.Short() {
		types = 50
	}
	for seed := range uint64(types) {
		r := rand.New(rand.NewPCG(seed, 3))
		typ := reflect.StructOf([]reflect.StructField{{Name: "V", Type: randomType(r, 1+r.IntN(4))}})
		free, lib := Msgpack(Limits{}), plain(Limits{})
		lim := Limits{Depth: 1 + r.IntN(5), Elements: 1 + r.IntN(100), Bytes: 1 + r.IntN(4000), Body: 1 + r.IntN(1000)}
		var limited [][2]Codec
		for _, l := range []Limits{{Depth: lim.Depth}, {Elements: lim.Elements}, {Bytes: lim.Bytes, Body: defaultBody}, {Body: lim.Body}, lim} {
			limited = append(limited, [2]Codec{Msgpack(l), plain(l)})
		}
		for value := range uint64(20) {
			v := random(typ, value)
			body := encodeBoth(t, free, lib, v.Interface())
			if body == nil {
				continue
			}
			decodeBoth(t, free, lib, body, typ, 0)
			decodeBoth(t, free, lib, body, typ, value+1)
			for _, pair := range [][2]Codec{{free, lib}, {lib, free}} { // a pointer to nil arrives as nil, and from then on all is as it was
				once := again(t, pair, typ, body)
				if twice := again(t, pair, typ, once); !bytes.Equal(twice, once) {
					t.Fatalf("%s (%d, %d):\n%x, and before\n%x", typ, seed, value, twice, once)
				}
			}
			for _, pair := range limited {
				agreeOnLimits(t, pair, v, body)
			}
		}
	}
}

// again decodes body with the first of the pair, and returns what the second makes of the value.
func again(t *testing.T, pair [2]Codec, typ reflect.Type, body []byte) []byte {
	t.Helper()
	v := reflect.New(typ)
	if err := pair[0].Decode(body, v.Interface()); err != nil {
		t.Fatalf("%x into %s: %v", body, typ, err)
	}
	got, err := pair[1].Append(nil, v.Interface())
	if err != nil {
		t.Fatalf("%#v: %v", v.Elem(), err)
	}
	return got
}

// encodeBoth returns what both codecs make of v, or nil if the library refuses it.
func encodeBoth(t *testing.T, ours, lib Codec, v any) []byte {
	t.Helper()
	want, wantErr := lib.Append([]byte("dst"), v)
	if needsAddress(wantErr) {
		return nil
	}
	got, err := ours.Append([]byte("dst"), v)
	if !bytes.Equal(got, want) || (err == nil) != (wantErr == nil) {
		t.Fatalf("%#v: %x, %v\nthe library: %x, %v", v, got, err, want, wantErr)
	}
	if err != nil {
		return nil
	}
	return got[len("dst"):]
}

// agreeOnLimits has a value, and its encoding, refused by both codecs or by none.
func agreeOnLimits(t *testing.T, pair [2]Codec, v reflect.Value, body []byte) {
	t.Helper()
	var errs [4]error
	for i, c := range pair {
		_, errs[2*i] = c.Append(nil, v.Elem().Interface())
		errs[2*i+1] = c.Decode(body, reflect.New(v.Type().Elem()).Interface())
	}
	for _, err := range errs {
		if (err == nil) != (errs[0] == nil) || err != nil && !errors.Is(err, ErrLimit) {
			t.Fatalf("%+v, %s: the compiled form says %v and %v, the library %v and %v", pair[0].(*msgpackCodec).lim, v.Type(), errs[0], errs[1], errs[2], errs[3])
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
		if compiled := c.plans.of(typ).node.kind != kindLibrary; compiled == left[typ] {
			t.Errorf("%s: compiled %v", typ, compiled)
		}
	}
}

// TestLibraryHasItsPart: what a program has registered with the library is left to it, and so
// is what encodes itself, within types that are compiled.
func TestLibraryHasItsPart(t *testing.T) {
	c := Msgpack(Limits{}).(*msgpackCodec)
	for typ, left := range map[reflect.Type]string{
		reflect.TypeFor[struct{ R cRegistered }](): "R", reflect.TypeFor[cOwn](): "B",
	} {
		n := c.plans.of(typ).node
		for _, f := range n.fields {
			if f.name == left && f.node.kind != kindLibrary {
				t.Errorf("%s.%s is compiled", typ, left)
			}
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
