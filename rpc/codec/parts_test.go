package codec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// Sealed is a type that only sealedParts can encode: a number, which is what decoding it costs.
type Sealed struct{ n uint32 }

type sealedParts struct{}

func (sealedParts) Carries(t reflect.Type) bool { return t == reflect.TypeFor[*Sealed]() }

func (sealedParts) AppendPart(dst []byte, v any) ([]byte, int, error) {
	n := v.(*Sealed).n
	if n == 13 {
		return dst, 0, fmt.Errorf("%w: thirteen", ErrUnsupported)
	}
	return binary.BigEndian.AppendUint32(dst, n), int(n), nil
}

func (sealedParts) DecodePart(body []byte, v any, most int) (int, error) {
	if len(body) != 4 {
		return 0, fmt.Errorf("%w: %d bytes", ErrMalformed, len(body))
	}
	n := binary.BigEndian.Uint32(body)
	if int(n) > most {
		return 0, fmt.Errorf("%w: a part of %d", ErrLimit, n)
	}
	*v.(**Sealed) = &Sealed{n}
	return int(n), nil
}

// WireName makes sealedParts a Namer.
func (sealedParts) WireName(t reflect.Type) (string, bool) {
	return "sealed", t == reflect.TypeFor[*Sealed]()
}

type letter struct {
	N    int
	Part *Sealed
	None *Sealed
	Left *Sealed `msgpack:",omitempty"`
	List []*Sealed
	Map  map[string]*Sealed
	Two  [2]*Sealed
	Ptr  **Sealed
	*Sealed
	Any any
}

func TestParts(t *testing.T) {
	c := MsgpackWith(Limits{}, sealedParts{})
	p := &Sealed{7}
	in := letter{N: 1, Part: p, List: []*Sealed{{1}, nil}, Map: map[string]*Sealed{"a": {2}, "b": nil}, Two: [2]*Sealed{{3}, nil}, Ptr: &p, Any: p}
	body, err := c.Append(nil, in)
	if err != nil {
		t.Fatal(err)
	}
	before := &Sealed{99}
	out := letter{Part: before, None: before}
	if err := c.Decode(body, &out); err != nil {
		t.Fatal(err)
	}
	want := in
	want.Any = []byte{0, 0, 0, 7}
	if !reflect.DeepEqual(out, want) || before.n != 99 {
		t.Errorf("got %+v, want %+v", out, want)
	}
	var alone *Sealed
	if body, err = c.Append(nil, p); err == nil {
		err = c.Decode(body, &alone)
	}
	if err != nil || alone.n != 7 {
		t.Errorf("alone: %v, %v", alone, err)
	}
	plain, _ := Msgpack(Limits{}).Append(nil, map[string]int{"a": 1})
	if body, err := c.Append(nil, map[string]int{"a": 1}); err != nil || !bytes.Equal(body, plain) {
		t.Errorf("without parts: %x, want %x (%v)", body, plain, err)
	}
}

func TestPartsRefused(t *testing.T) {
	c := MsgpackWith(Limits{Bytes: 1000, Body: 1 << 10}, sealedParts{})
	type rare struct {
		Part *Sealed `msgpack:"a,b,c"`
	}
	for what, row := range map[string]struct {
		v    any
		want error
	}{
		"by value":         {struct{ S Sealed }{}, ErrUnsupported},
		"with a rare tag":  {rare{}, ErrUnsupported},
		"its own error":    {letter{Part: &Sealed{13}}, ErrUnsupported},
		"too much memory":  {letter{Part: &Sealed{1001}}, ErrLimit},
		"too much in all":  {[]*Sealed{{600}, {600}}, ErrLimit},
		"as much as there": {[]*Sealed{{600}, {400}}, nil},
	} {
		if body, err := c.Append(nil, row.v); !errors.Is(err, row.want) || err != nil && body != nil {
			t.Errorf("%s: %x, %v", what, body, err)
		}
	}
	if err := c.(interface{ Check(reflect.Type) error }).Check(reflect.TypeFor[*Sealed]()); err != nil {
		t.Errorf("Check: %v", err)
	}
	for what, row := range map[string]struct {
		v    any
		want error
	}{
		"too much memory": {[][]byte{{0, 0, 4, 0}}, ErrLimit},
		"too much in all": {[][]byte{{0, 0, 2, 88}, {0, 0, 2, 88}}, ErrLimit},
		"malformed":       {[][]byte{{1}}, ErrMalformed},
		"no bytes":        {[]int{1}, ErrMalformed},
	} {
		body, err := Msgpack(Limits{}).Append(nil, row.v)
		if err != nil {
			t.Fatal(err)
		}
		var into []*Sealed
		if err := c.Decode(body, &into); !errors.Is(err, row.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// naming is a codec that names what it carries.
type naming struct {
	rawCodec
	sealedParts
}

func (naming) ID() uint8 { return FirstUserID }

func TestSetWireName(t *testing.T) {
	s, err := NewSet(Msgpack(Limits{}), JSON(Limits{}), Guarded(naming{}))
	if err != nil {
		t.Fatal(err)
	}
	if name, ok := s.WireName(reflect.TypeFor[*Sealed]()); name != "sealed" || !ok {
		t.Errorf("it is called %q, %v", name, ok)
	}
	if name, ok := s.WireName(reflect.TypeFor[int]()); ok {
		t.Errorf("an int is called %q", name)
	}
	if name, ok := Guarded(struct{ Codec }{JSON(Limits{})}).(Namer).WireName(reflect.TypeFor[*Sealed]()); ok {
		t.Errorf("by a codec that names nothing: %q", name)
	}
	if !strings.Contains(fmt.Sprint(Limits{}.WithDefaults()), "32") || (Limits{Bytes: 10}).Memory(1<<20+5) != 15 {
		t.Error("the limits are not what they are documented to be")
	}
}
