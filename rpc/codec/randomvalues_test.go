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

// randomType returns a type made of those that messages are made of, up to so many levels deep.
func randomType(r *rand.Rand, depth int) reflect.Type {
	leaves := []any{
		false, 0, int8(0), int16(0), int32(0), int64(0), uint(0), uint8(0), uint16(0), uint32(0), uint64(0), float32(0), 0.0,
		"", []byte(nil), [3]byte{}, time.Time{}, time.Second, cName(""), cLevel(0), cFlags(0), cBlob(nil), cText{}, cCustom{},
		netip.Addr{}, cBase{}, cTags{}, cArray{}, cEmbeds{}, cPtrText{},
	}
	if depth == 0 {
		return reflect.TypeOf(leaves[r.IntN(len(leaves))])
	}
	inner := func() reflect.Type { return randomType(r, depth-1) }
	switch r.IntN(8) {
	case 0:
		return reflect.SliceOf(inner())
	case 1:
		return reflect.ArrayOf(r.IntN(4), inner())
	case 2:
		keys := []any{"", 0, int8(0), uint64(0), cName(""), cText{}, [2]int16{}, cBase{}}
		return reflect.MapOf(reflect.TypeOf(keys[r.IntN(len(keys))]), inner())
	case 3:
		return reflect.PointerTo(inner())
	case 4:
		return reflect.TypeFor[any]()
	case 5:
		return inner()
	}
	fields := make([]reflect.StructField, r.IntN(20))
	for i := range fields {
		tag := []string{"", "", "", `msgpack:",omitempty"`, fmt.Sprintf(`msgpack:"f%d"`, i), `msgpack:"-"`}[r.IntN(6)]
		fields[i] = reflect.StructField{Name: fmt.Sprint("Field", i), Type: randomType(r, r.IntN(depth)), Tag: reflect.StructTag(tag)}
	}
	if len(fields) > 0 && r.IntN(8) == 0 {
		fields[0] = reflect.StructField{Name: "_msgpack", PkgPath: "x", Type: reflect.TypeFor[struct{}](), Tag: `msgpack:",as_array"`}
	}
	return reflect.StructOf(fields)
}
