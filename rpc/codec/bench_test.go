package codec

import (
	"reflect"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
)

type benchMessage struct {
	ID     int64
	Amount int
	Name   string
	Data   []byte
}

func newBenchMessage() benchMessage {
	return benchMessage{ID: 42, Amount: 7, Name: "alice", Data: make([]byte, 64)}
}

// BenchmarkScan scans 120 bytes: a message with a payload of 64.
func BenchmarkScan(b *testing.B) {
	m := newBenchMessage()
	m.Name = "alice, who has a somewhat longer name"[:15]
	body, err := msgpack.Marshal(m)
	if err != nil {
		b.Fatal(err)
	}
	lim := Limits{}.WithDefaults()
	var s shape
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		s = shape{}
		if _, err := scan(body, 0, lim, &s); err != nil {
			b.Fatal(err)
		}
	}
}

// The cases of the two benchmarks below. "uncompiled" is what types that are not compiled
// take: the library under our limits. "library" is msgpack.Marshal or Unmarshal of the
// struct, without any check of limits.
func benchValues() map[string]any {
	return map[string]any{
		"float": 0.5, "string": "alice", "bytes": make([]byte, 64), "notice": struct{ Data []byte }{make([]byte, 64)},
		"scalars": struct {
			ID     int64
			Amount int
			Ok     bool
			Rate   float64
		}{1 << 40, 7, true, 0.5},
		"int": 300, "struct": newBenchMessage(), "pointer": new(benchMessage), "slice": []int64{1, 2, 3, 4, 5, 6, 7, 8},
		"empty": struct{ cReturns }{}, "text": cTexts{A: cText{"name@node"}, E: "e"},
		"list": []cBase{{1, "a"}, {2, "b"}, {3, "c"}, {4, "d"}},
	}
}

// uncompiled has a name of its own among the codecs that are compared.
type uncompiled struct{ *msgpackCodec }

func (uncompiled) Name() string { return "uncompiled" }

func benchCodecs() []Codec {
	return []Codec{Msgpack(Limits{}), uncompiled{plain(Limits{})}, JSON(Limits{})}
}

func BenchmarkAppend(b *testing.B) {
	for _, c := range benchCodecs() {
		for name, v := range benchValues() {
			b.Run(c.Name()+"/"+name, func(b *testing.B) {
				var buf []byte
				b.ReportAllocs()
				for b.Loop() {
					var err error
					if buf, err = c.Append(buf[:0], v); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
	b.Run("library/struct", func(b *testing.B) {
		var v any = newBenchMessage()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := msgpack.Marshal(v); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for _, c := range benchCodecs() {
		for name, v := range benchValues() {
			body, err := c.Append(nil, v)
			if err != nil {
				b.Fatal(err)
			}
			if name == "pointer" {
				continue
			}
			b.Run(c.Name()+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				into := reflect.New(reflect.TypeOf(v))
				for b.Loop() {
					into.Elem().SetZero()
					if err := c.Decode(body, into.Interface()); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
	body, err := msgpack.Marshal(newBenchMessage())
	if err != nil {
		b.Fatal(err)
	}
	b.Run("library/struct", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var m benchMessage
			if err := msgpack.Unmarshal(body, &m); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestAllocations pins what the hot paths allocate.
func TestAllocations(t *testing.T) {
	c := Msgpack(Limits{})
	var v any = newBenchMessage()
	buf := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(200, func() {
		if _, err := c.Append(buf, v); err != nil {
			t.Fatal(err)
		}
	}); n > 0.5 && !raceEnabled {
		t.Errorf("Append of a small struct: %v allocations", n)
	}
	body, err := c.Append(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	m := new(benchMessage)
	if n := testing.AllocsPerRun(200, func() {
		*m = benchMessage{}
		if err := c.Decode(body, m); err != nil {
			t.Fatal(err)
		}
	}); n > 2.5 && !raceEnabled {
		t.Errorf("Decode of a string and a []byte: %v allocations", n)
	}
	var question any = struct{ cReturns }{}
	if n := testing.AllocsPerRun(200, func() {
		out, err := c.Append(buf, question)
		if err != nil || len(out) != 1 {
			t.Fatal(out, err)
		}
		if err := c.Decode(out, new(struct{ cReturns })); err != nil {
			t.Fatal(err)
		}
	}); n > 0.5 {
		t.Errorf("a message without fields there and back: %v allocations", n)
	}
	var n int
	if a := testing.AllocsPerRun(200, func() {
		out, err := c.Append(buf, 300)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Decode(out, &n); err != nil {
			t.Fatal(err)
		}
	}); a > 0.5 {
		t.Errorf("an int there and back: %v allocations", a)
	}
}
