package protobuf

import (
	"bytes"
	"errors"
	"reflect"
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/rpc/codec/protobuf/internal/bankpb"
	"github.com/tandem-go/tandem/rpc/codec/protobuf/internal/bankpb2"
)

// deposit is a message with a value in each field.
func deposit() *bankpb.Deposit {
	return &bankpb.Deposit{
		Account: "alice", Amount: -5, Branch: proto.Int32(3), Cents: []int64{1, 1 << 40}, Entries: []*bankpb.Entry{{Amount: 1, Text: "one"}, {}},
		Notes: map[string]string{"a": "b", "c": "d", "e": ""}, ByYear: map[int32]*bankpb.Entry{2026: {Amount: 7}},
		By: &bankpb.Deposit_Machine{Machine: &bankpb.Entry{Text: "till"}}, Receipt: []byte{0, 1}, Before: &bankpb.Deposit{Account: "bob"},
		Tags: []string{"x", ""}, Rate: 1.5, Mood: bankpb.Mood_MOOD_GOOD,
	}
}

// through encodes v and decodes it as a To, by two codecs.
func through[To any](t *testing.T, v any) To {
	t.Helper()
	body, err := New(codec.Limits{}).Append([]byte("before"), v)
	if err != nil {
		t.Fatal(err)
	}
	var to To
	if err := New(codec.Limits{}).Decode(bytes.TrimPrefix(body, []byte("before")), &to); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestThereAndBack(t *testing.T) {
	if got := through[*bankpb.Deposit](t, deposit()); !proto.Equal(got, deposit()) {
		t.Errorf("got %v", got)
	}
	if got := through[*bankpb.Empty](t, &bankpb.Empty{}); got == nil {
		t.Error("a message without fields arrives as nil")
	}
	body, _ := proto.Marshal(deposit())
	var m bankpb.Deposit
	if err := New(codec.Limits{}).Decode(body, &m); err != nil || !proto.Equal(&m, deposit()) {
		t.Errorf("into the message itself: %v, %v", &m, err)
	}
}

// A decoded message is never one that was there before: somebody may have kept that.
func TestDecodedIsNew(t *testing.T) {
	first := &bankpb.Entry{Amount: 1}
	got := first
	body, err := New(codec.Limits{}).Append(nil, &bankpb.Entry{Amount: 2})
	if err == nil {
		err = New(codec.Limits{}).Decode(body, &got)
	}
	if err != nil || got == first || first.Amount != 1 || got.Amount != 2 {
		t.Errorf("got %v, and the first is %v; %v", got, first, err)
	}
}

func TestEqualBytes(t *testing.T) {
	c := New(codec.Limits{})
	want, _ := c.Append(nil, deposit())
	for range 100 {
		if got, err := c.Append(nil, deposit()); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%x, want %x (%v)", got, want, err)
		}
	}
}

type order struct {
	No   int
	Last *bankpb.Deposit
	None *bankpb.Deposit `msgpack:",omitempty"`
	All  []*bankpb.Entry
	By   map[string]*bankpb.Entry
}

type embeds struct{ *bankpb.Entry }

// What is no message is carried as msgpack does, and messages within it as protobuf.
func TestOtherTypes(t *testing.T) {
	if got := through[int64](t, int64(7)); got != 7 {
		t.Errorf("got %d", got)
	}
	o := order{No: 1, Last: deposit(), All: []*bankpb.Entry{{Amount: 1}, nil, {}}, By: map[string]*bankpb.Entry{"a": {Text: "x"}}}
	got := through[order](t, o)
	if got.No != 1 || !proto.Equal(got.Last, deposit()) || got.None != nil || len(got.All) != 3 || got.All[0].Amount != 1 || got.All[1] != nil || got.All[2] == nil || got.By["a"].GetText() != "x" {
		t.Errorf("got %+v", got)
	}
	if got := through[embeds](t, embeds{&bankpb.Entry{Amount: 9}}); got.Entry.GetAmount() != 9 {
		t.Errorf("embedded: got %+v", got)
	}
	want, _ := codec.Msgpack(codec.Limits{}).Append(nil, map[string]int{"a": 1})
	if body, err := New(codec.Limits{}).Append(nil, map[string]int{"a": 1}); err != nil || !bytes.Equal(body, want) {
		t.Errorf("a map is %x, in msgpack %x (%v)", body, want, err)
	}
}

// Fields that one side does not know survive, in both directions, also in nested messages and within
// values of other types.
func TestEvolution(t *testing.T) {
	newer := &bankpb2.Deposit{Account: "alice", Amount: 5, Currency: "EUR", Fee: &bankpb2.Entry{Amount: 1, Colour: "red"}, Entries: []*bankpb2.Entry{{Amount: 2, Colour: "blue"}}}
	older := through[*bankpb.Deposit](t, newer)
	if older.Account != "alice" || older.Amount != 5 || older.Entries[0].Amount != 2 {
		t.Errorf("the older side gets %v", older)
	}
	if back := through[*bankpb2.Deposit](t, older); !proto.Equal(back, newer) {
		t.Errorf("back on the newer side: %v, want %v", back, newer)
	}
	if got := through[*bankpb2.Deposit](t, &bankpb.Deposit{Account: "bob", Receipt: []byte{1}}); got.Account != "bob" || got.Currency != "" {
		t.Errorf("the newer side gets %v", got)
	} else if back := through[*bankpb.Deposit](t, got); !bytes.Equal(back.Receipt, []byte{1}) {
		t.Errorf("back on the older side: %v", back)
	}
	type oldOrder struct{ Last *bankpb.Deposit }
	type newOrder struct{ Last *bankpb2.Deposit }
	if back := through[newOrder](t, through[oldOrder](t, newOrder{newer})); !proto.Equal(back.Last, newer) {
		t.Errorf("within a struct: %v", back.Last)
	}
}

func TestAnotherMessage(t *testing.T) {
	c := New(codec.Limits{})
	body, err := c.Append(nil, &bankpb2.Impostor{Account: 1, Amount: "2"})
	if err != nil {
		t.Fatal(err)
	}
	var m *bankpb.Deposit
	if err := c.Decode(body, &m); !errors.Is(err, codec.ErrMalformed) || !strings.Contains(err.Error(), "another message") || m != nil {
		t.Errorf("decoded as another type: %v, %v", m, err)
	}
}

// holds embeds an interface, and so has the methods of what that holds.
type holds struct{ proto.Message }

func TestRefused(t *testing.T) {
	c := New(codec.Limits{})
	for _, v := range []any{(*bankpb.Entry)(nil), dynamicpb.NewMessage((*bankpb.Entry)(nil).ProtoReflect().Descriptor()), bankpb.Entry{}, holds{&bankpb.Entry{}}, &holds{}, struct{ M proto.Message }{}, struct{ E bankpb.Entry }{}} { //nolint:govet
		if body, err := c.Append(nil, v); !errors.Is(err, codec.ErrUnsupported) || body != nil {
			t.Errorf("%T: %x, %v", v, body, err)
		}
	}
	for typ, want := range map[reflect.Type]bool{
		reflect.TypeFor[*bankpb.Entry](): true, reflect.TypeFor[int](): true, reflect.TypeFor[order](): true, reflect.TypeFor[bankpb.Entry](): false,
		reflect.TypeFor[proto.Message](): false, reflect.TypeFor[*dynamicpb.Message](): false, reflect.TypeFor[chan int](): false,
	} {
		if err := c.Check(typ); (err == nil) != want {
			t.Errorf("%v: %v", typ, err)
		}
	}
	for _, v := range []any{nil, (*bankpb.Entry)(nil), (**bankpb.Entry)(nil), bankpb.Mood(0)} {
		if err := c.Decode(nil, v); !errors.Is(err, codec.ErrUnsupported) {
			t.Errorf("decoding into %T: %v", v, err)
		}
	}
	if _, err := c.Append(nil, &bankpb.Entry{Text: "\xff"}); !errors.Is(err, codec.ErrUnsupported) {
		t.Errorf("text that is no UTF-8: %v", err)
	}
}

func TestWireNames(t *testing.T) {
	c := New(codec.Limits{})
	if name, ok := c.WireName(reflect.TypeFor[*bankpb.Deposit]()); name != "pb:tandem.test.bank.Deposit" || !ok {
		t.Errorf("a deposit is called %q, %v", name, ok)
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[bankpb.Deposit](), reflect.TypeFor[int](), reflect.TypeFor[proto.Message](), reflect.TypeFor[*embeds](), reflect.TypeFor[**bankpb.Deposit]()} {
		if name, ok := c.WireName(typ); ok {
			t.Errorf("%v is called %q", typ, name)
		}
	}
}

// What an encoder under some limits lets through, a decoder under the same limits takes.
func TestLimits(t *testing.T) {
	nested := func(n int) *bankpb.Deposit {
		m := &bankpb.Deposit{}
		for range n - 1 {
			m = &bankpb.Deposit{Before: m}
		}
		return m
	}
	self := &bankpb.Deposit{}
	self.Before = self
	kid, named := &bankpb.Tree{}, &bankpb.Tree{}
	kid.Kids = []*bankpb.Tree{{}, kid}
	named.Named = map[string]*bankpb.Tree{"self": named}
	many := func(n int) *bankpb.Deposit {
		m := &bankpb.Deposit{}
		for range n {
			m.Entries = append(m.Entries, &bankpb.Entry{})
		}
		return m
	}
	for _, row := range []struct {
		what string
		lim  codec.Limits
		m    any
		ok   bool
	}{
		{"as deep as allowed", codec.Limits{Depth: 10}, nested(10), true},
		{"deeper", codec.Limits{Depth: 10}, nested(11), false},
		{"a message in itself", codec.Limits{}, self, false},
		{"a message in its list", codec.Limits{}, kid, false},
		{"a message in its map", codec.Limits{}, named, false},
		{"a tree", codec.Limits{Depth: 3}, &bankpb.Tree{Kids: []*bankpb.Tree{{Kids: []*bankpb.Tree{{}}}}, Named: map[string]*bankpb.Tree{"a": {Kids: []*bankpb.Tree{{}}}}}, true},
		{"a deeper tree", codec.Limits{Depth: 2}, &bankpb.Tree{Named: map[string]*bankpb.Tree{"a": {Kids: []*bankpb.Tree{{}}}}}, false},
		{"as long as allowed", codec.Limits{Body: 10}, &bankpb.Entry{Text: "12345678"}, true},
		{"longer", codec.Limits{Body: 10}, &bankpb.Entry{Text: "123456789"}, false},
		{"elements", codec.Limits{Elements: 3}, &bankpb.List{}, true},
		{"as many elements", codec.Limits{Elements: 3}, &bankpb.Deposit{Cents: []int64{1, 2, 3}}, true},
		{"more elements", codec.Limits{Elements: 3}, &bankpb.Deposit{Cents: []int64{1, 2}, Notes: map[string]string{"a": ""}}, false},
		{"memory", codec.Limits{Bytes: 1 << 20}, many(1000), true},
		{"more memory", codec.Limits{Bytes: 1 << 20}, many(20000), false},
		{"more memory, in a struct", codec.Limits{Bytes: 1 << 20}, order{Last: many(20000)}, false},
		{"more memory, in two parts", codec.Limits{Bytes: 1 << 20}, []*bankpb.Deposit{many(7000), many(7000)}, false},
		{"a long text", codec.Limits{}, &bankpb.Entry{Text: strings.Repeat("x", 32<<20)}, true},
		{"many numbers", codec.Limits{}, &bankpb.Deposit{Cents: make([]int64, 1_000_000)}, true},
	} {
		body, err := New(row.lim).Append(nil, row.m)
		if (err == nil) != row.ok || err != nil && !errors.Is(err, codec.ErrLimit) {
			t.Errorf("encoding %s: %v", row.what, err)
		}
		if strings.HasPrefix(row.what, "a message in") {
			continue
		}
		if body == nil {
			if body, err = New(codec.Limits{Bytes: 1 << 40, Body: 1 << 30, Depth: 1000}).Append(nil, row.m); err != nil {
				t.Fatal(err)
			}
		}
		into := reflect.New(reflect.TypeOf(row.m)).Interface()
		err = New(row.lim).Decode(body, into)
		if (err == nil) != row.ok || err != nil && !errors.Is(err, codec.ErrLimit) {
			t.Errorf("decoding %s: %v", row.what, err)
		}
	}
}

// bombs are bodies whose values take much more memory than bytes.
func bombs() map[string][]byte {
	fill := func(n int, unit ...byte) []byte { return bytes.Repeat(unit, n/len(unit)) }
	tag := func(num protowire.Number, typ protowire.Type) byte { return byte(num)<<3 | byte(typ) }
	const n = 300_000
	packed := protowire.AppendBytes([]byte{tag(4, protowire.BytesType)}, fill(n, 0))
	return map[string][]byte{
		"empty messages in a list": fill(n, tag(5, protowire.BytesType), 0),
		"empty entries of a map":   fill(n, tag(6, protowire.BytesType), 0),
		"entries with messages":    fill(n, tag(7, protowire.BytesType), 0),
		"entries of many keys": func() (b []byte) {
			for i := range n / 6 {
				b = protowire.AppendBytes(append(b, tag(7, protowire.BytesType)), protowire.AppendVarint([]byte{tag(1, protowire.VarintType)}, uint64(i)))
			}
			return b
		}(),
		"packed numbers":                      packed,
		"packed and not":                      fill(n, tag(4, protowire.BytesType), 1, 0, tag(4, protowire.VarintType), 0),
		"numbers one by one":                  fill(n, tag(4, protowire.VarintType), 0),
		"numbers packed singly":               fill(n, tag(4, protowire.BytesType), 1, 0),
		"empty strings":                       fill(n, tag(12, protowire.BytesType), 0),
		"a oneof again":                       fill(n, tag(9, protowire.BytesType), 0),
		"an optional one again":               fill(n, tag(3, protowire.VarintType), 0),
		"short packed numbers":                fill(3000, tag(4, protowire.BytesType), 1, 0),
		"numbers in messages that are merged": fill(3000, tag(11, protowire.BytesType), 6, tag(4, protowire.BytesType), 1, 0, tag(4, protowire.BytesType), 1, 0),
		"the same, deeper":                    fill(3000, tag(11, protowire.BytesType), 5, tag(11, protowire.BytesType), 3, tag(4, protowire.BytesType), 1, 0),
		"long unknown fields":                 fill(n, append([]byte{0xfa, 0x01, 97}, make([]byte, 97)...)...),
		"unknown fields":                      fill(n, 0xf8, 0x01, 0),
		"messages in messages":                fill(60, tag(11, protowire.BytesType), 58),
		"bytes again":                         fill(n, tag(10, protowire.BytesType), 1, 7),
		"open groups":                         fill(n, tag(11, protowire.StartGroupType)),
		"unknown groups":                      fill(n, 0xf3, 0x01),
		"maps in many messages":               fill(n, tag(11, protowire.BytesType), 2, tag(6, protowire.BytesType), 0),
		"messages with messages":              fill(n, tag(5, protowire.BytesType), 4, 0x12, 2, 'a', 'b'),
	}
}

// allocated is how many bytes fn allocates.
func allocated(fn func()) int {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

// The estimate is above what decoding allocates, and not far above for what is usual.
func TestMeasured(t *testing.T) {
	for what, body := range bombs() {
		c := New(codec.Limits{Bytes: 1 << 40, Depth: 100})
		c.shapeOf(reflect.TypeFor[*bankpb.Deposit]())
		cost, err := c.measure(body, c.shapeOf(reflect.TypeFor[*bankpb.Deposit]()), 1<<40)
		if cost > 1<<30 { // nobody waits for that
			t.Logf("%s: %d bytes, estimated %d", what, len(body), cost)
			continue
		}
		var failed error
		took := allocated(func() {
			var m *bankpb.Deposit
			failed = c.Decode(body, &m)
		})
		t.Logf("%s: %d bytes, estimated %d, allocated %d (%v)", what, len(body), cost, took, failed)
		if (err == nil) != (failed == nil) {
			t.Errorf("%s: measured: %v, decoded: %v", what, err, failed)
		}
		if took > cost+cost/16+4<<10 {
			t.Errorf("%s: estimated %d, allocated %d", what, cost, took)
		}
	}
	m := deposit()
	body, _ := New(codec.Limits{}).Append(nil, m)
	c := New(codec.Limits{})
	cost, _ := c.measure(body, c.shapeOf(reflect.TypeFor[*bankpb.Deposit]()), 1<<40)
	t.Logf("a usual one: %d bytes, estimated %d, allocated %d", len(body), cost, allocated(func() { _ = c.Decode(body, &m) }))
}

// fuzzBound is what may be allocated under the limit of FuzzDecode: that and a sixteenth, and some for the test itself.
const fuzzBound = 256<<10*17/16 + 64<<10

// heapAllocs returns what was ever allocated, as far as it is known without stopping.
func heapAllocs() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// Whatever the body, decoding ends, without a panic, and with no more memory than allowed; what was
// decoded can be encoded again, and arrives as what it was.
func FuzzDecode(f *testing.F) {
	body, err := New(codec.Limits{}).Append(nil, deposit())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add(body[:len(body)/2])
	for _, b := range bombs() {
		f.Add(b[:min(len(b), 3000)])
	}
	inner, _ := New(codec.Limits{}).Append(nil, order{No: 1, Last: deposit()})
	f.Add(inner)
	c := New(codec.Limits{Bytes: 256 << 10, Body: 1 << 20})
	f.Fuzz(func(t *testing.T, body []byte) {
		var m *bankpb.Deposit
		before := heapAllocs()
		err := c.Decode(body, &m)
		if heapAllocs()-before > fuzzBound { // as far as it is known without stopping
			if n := allocated(func() { _ = c.Decode(body, &m) }); n > fuzzBound {
				t.Fatalf("%x allocated %d bytes", body, n)
			}
		}
		if err == nil {
			again, err := New(codec.Limits{Depth: 100, Bytes: 1 << 40}).Append(nil, m)
			if err != nil {
				t.Fatalf("%x was decoded, and cannot be encoded: %v", body, err)
			}
			var same *bankpb.Deposit
			if err := New(codec.Limits{Depth: 100, Bytes: 1 << 40}).Decode(again, &same); err != nil || !proto.Equal(m, same) && !strings.Contains(m.String(), "nan") {
				t.Fatalf("%x: %v, want %v (%v)", body, same, m, err)
			}
		} else if !errors.Is(err, codec.ErrMalformed) && !errors.Is(err, codec.ErrLimit) {
			t.Fatalf("%x: %v", body, err)
		}
		var o order
		if err := c.Decode(body, &o); err != nil && !errors.Is(err, codec.ErrMalformed) && !errors.Is(err, codec.ErrLimit) {
			t.Fatalf("%x as a struct: %v", body, err)
		}
	})
}
