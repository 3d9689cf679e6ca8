package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/big"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

type fuzzNode struct {
	ID   int64
	Name string
	At   time.Time
	Next *fuzzNode
	Kids []fuzzNode
	Any  any
	M    map[string]any
	N    map[any]*fuzzNode
	Big  big.Int
	Err  error
	Raw  msgpack.RawMessage
	Key  [8]byte
	F    float32
	*fuzzBase
}

type fuzzBase struct{ Base []string }

type fuzzTree map[string]fuzzTree

func fuzzTargets() []any {
	return []any{
		new(any), new(fuzzNode), new([]fuzzNode), new(fuzzTree), new([]struct{ A [1024]byte }), new(map[string]string),
		new(map[string]any), new([]map[int]time.Time), new([]*[200]int64), new(struct{ A any }), new(time.Time),
		new([]string), new(string), new([]byte), new(int), new(float64), new(bool),
	}
}

// decodeAll decodes body into every target. It fails the test if one takes too much.
func decodeAll(t *testing.T, c Codec, body []byte) {
	targets := fuzzTargets()
	before := heapAllocs()
	for _, v := range targets {
		err := c.Decode(body, v)
		if err != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrLimit) {
			t.Fatalf("%x into %T: %v", body, v, err)
		}
	}
	if heapAllocs()-before < fuzzBound {
		return
	}
	var m runtime.MemStats // stops the world, so only now
	for _, v := range fuzzTargets() {
		runtime.ReadMemStats(&m)
		before := m.TotalAlloc
		_ = c.Decode(body, v)
		runtime.ReadMemStats(&m)
		if n := m.TotalAlloc - before; n > fuzzBound {
			t.Fatalf("%x into %T allocated %d bytes", body, v, n)
		}
	}
}

const fuzzBound = 18 << 20

// heapAllocs returns what was ever allocated, as far as it is known without stopping.
func heapAllocs() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

func FuzzMsgpackScan(f *testing.F) {
	for _, s := range []string{
		"", "\xc0", "\x82\xa1A\x01\xa1A\x02", "\xdd\x01\x31\x2d\x00", "\xc6\x40\x00\x00\x00", "\x91\x91\x91\x91\xc0",
		"\xc7\x05\x01\xdf\xff\xff\xff\xff", "\xd6\xff\xdf\xff\xff\xff\xff", "\x81\xa1M\xd7\xff\xdf\xff\xff\xff\xff\x00\x00\x00",
		"\x92\xc7\x00\x01\x80", "\x81\x90\x01", "\xc7\x0c\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		"\x84\xa2ID\x01\xa4Name\xa1x\xa4Kids\x91\x81\xa4Base\x91\xa1y\xa1N\x81\x01\x80", "\x81\xa3Any\xd4\x80\x00", "\x81\xa3Raw\x92\x01\x02",
	} {
		f.Add([]byte(s))
	}
	c := Msgpack(Limits{})
	lim := Limits{}.WithDefaults()
	f.Fuzz(func(t *testing.T, body []byte) {
		var s, again shape
		err := scanWhole(body, lim, &s)
		if err == nil {
			// Exactly one value: neither a byte less nor one more will do.
			if scanWhole(body[:len(body)-1], lim, &again) == nil {
				t.Fatalf("%x: accepted with and without its last byte", body)
			}
			r := bytes.NewReader(body)
			if err := msgpack.NewDecoder(r).Skip(); err != nil || r.Len() != 0 {
				t.Fatalf("%x: scan passed it, the library leaves %d bytes: %v", body, r.Len(), err)
			}
		}
		decodeAll(t, c, body)
	})
}

// FuzzCompact: whatever a body without names holds, decoding it ends within the limits, and what it was decoded to
// can be encoded and decoded again without a change.
func FuzzCompact(f *testing.F) {
	c := Compact(Limits{})
	for _, v := range []any{fuzzNode{ID: 1, Name: "x", Kids: []fuzzNode{{ID: 2}}, Any: map[string]any{"k": int8(1)}}, []fuzzNode{{}}, struct{ A any }{"x"}, 7, "text"} {
		body, err := c.Append(nil, v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	for _, s := range []string{"", "\xc0", "\x90", "\x9f", "\x80", "\xdd\x01\x31\x2d\x00", "\xdc\xff\xff", "\x91\x91\x91\xc0", "\x93\x01\xa1x\x92\x01\x02"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		decodeAll(t, c, body)
		var v fuzzCompact
		if c.Decode(body, &v) != nil {
			return
		}
		again, err := c.Append(nil, v)
		if err != nil {
			t.Fatalf("%x was decoded and cannot be encoded: %v", body, err)
		}
		var w fuzzCompact
		if err := c.Decode(again, &w); err != nil {
			t.Fatalf("%x became %x: %v", body, again, err)
		}
		if third, err := c.Append(nil, w); err != nil || !bytes.Equal(again, third) {
			t.Fatalf("%x became %x, and that %x, %v", body, again, third, err)
		}
	})
}

type fuzzCompact struct {
	ID    int32
	Name  string `msgpack:",omitempty"`
	Kids  []*fuzzCompact
	Inner struct {
		F float32
		B []byte
	}
	M   map[string]uint16
	Arr [2]int8
	Any any
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		"", "null", "[1,2", `{"a":[1,{"b":"\""}],"c":{}}`, `[[[[]]]]`, `{"ID":1,"Name":"x","Kids":[{"Next":null}],"M":{"":0}}`,
		`[{},null,0,"",[]]`, `"\ud800"`, ` [ ] `, `{"At":"2020-01-01T00:00:00Z","Big":12,"N":{"1":{}}}`, "[]]", `{"A":1,"A":[2]}`,
	} {
		f.Add([]byte(s))
	}
	c := JSON(Limits{})
	lim := Limits{}.WithDefaults()
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := scanJSON(body, lim)
		var v any
		if json.Unmarshal(body, &v) == nil && err == nil {
			if items, pairs := count(v); s.items < items || s.pairs < pairs {
				t.Fatalf("%q: scan saw %d items and %d pairs, there are %d and %d", body, s.items, s.pairs, items, pairs)
			}
		}
		decodeAll(t, c, body)
	})
}

// count counts what arrays and objects hold.
func count(v any) (items, pairs int) {
	add := func(v any) {
		i, p := count(v)
		items, pairs = items+i, pairs+p
	}
	switch v := v.(type) {
	case []any:
		items = len(v)
		for _, e := range v {
			add(e)
		}
	case map[string]any:
		pairs = len(v)
		for _, e := range v {
			add(e)
		}
	}
	return items, pairs
}
