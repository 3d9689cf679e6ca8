package protobuf

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/rpc/codec/protobuf/internal/bankpb"
)

// inJSON is the codec that a system with this one has for JSON.
func inJSON(l codec.Limits) codec.Codec { return codec.JSONWith(l, New(l)) }

// A message in JSON arrives as it was, and has the ProtoJSON form, always with the same bytes.
func TestJSONThereAndBack(t *testing.T) {
	c, m := inJSON(codec.Limits{}), deposit()
	body, err := c.Append([]byte("x"), m)
	if err != nil || body[0] != 'x' {
		t.Fatal(err)
	}
	body = body[1:]
	for range 100 {
		if again, err := inJSON(codec.Limits{}).Append(nil, m); err != nil || string(again) != string(body) {
			t.Fatalf("%s, then %s, %v", body, again, err)
		}
	}
	var pointed *bankpb.Deposit
	if err := c.Decode(body, &pointed); err != nil || !proto.Equal(pointed, m) {
		t.Errorf("%s arrives as %v, %v", body, pointed, err)
	}
	inPlace := &bankpb.Deposit{Account: "somebody else's"}
	if err := c.Decode(body, inPlace); err != nil || !proto.Equal(inPlace, m) {
		t.Errorf("%s arrives in place as %v, %v", body, inPlace, err)
	}
	body, err = c.Append(nil, &bankpb.Deposit{Amount: 5, ByYear: map[int32]*bankpb.Entry{7: {}}, Mood: bankpb.Mood_MOOD_GOOD})
	if want := `{"amount":"5","byYear":{"7":{}},"mood":"MOOD_GOOD"}`; string(body) != want || err != nil {
		t.Errorf("%s, %v", body, err)
	}
	if err := c.Decode([]byte(`{"amount": 7, "by_year": null, "news": [{}]}`), &pointed); err != nil || !proto.Equal(pointed, &bankpb.Deposit{Amount: 7}) {
		t.Errorf("as a client may write it: %v, %v", pointed, err)
	}
	// What is not a message is left to encoding/json.
	type plain struct{ A int64 }
	var p plain
	if body, err = c.Append(nil, plain{5}); err != nil || c.Decode(body, &p) != nil || string(body) != `{"A":5}` || p.A != 5 {
		t.Errorf("%s, %v", body, err)
	}
}

func TestJSONRefused(t *testing.T) {
	c := inJSON(codec.Limits{})
	for _, bad := range []string{"", "5", "[]", "{", `{"amount":"x"}`, `{"amount":1.5}`, `{"amount":"99999999999999999999"}`, `{"mood":"SAD"}x`, `{"receipt":"*"}`, `{"person":"a","machine":{}}`,
		`{"amount":1,"amount":2}`, `{"entries":{}}`, "{\"account\":\"\xff\"}", `{}{}`, `}`, `{"a":]}`, `{"news":`} {
		m := new(bankpb.Deposit)
		if err := c.Decode([]byte(bad), &m); !errors.Is(err, codec.ErrMalformed) {
			t.Errorf("%q: %v, %v", bad, m, err)
		}
	}
	var none *bankpb.Deposit
	if _, err := c.Append(nil, none); !errors.Is(err, codec.ErrUnsupported) {
		t.Errorf("a nil message: %v", err)
	}
	if err := c.Decode([]byte("{}"), none); !errors.Is(err, codec.ErrUnsupported) {
		t.Errorf("into a nil message: %v", err)
	}
	of, err := anypb.New(&bankpb.Entry{Amount: 5})
	if err != nil {
		t.Fatal(err)
	}
	if body, err := c.Append(nil, of); err == nil {
		t.Errorf("a message that nobody knows: %s", body)
	}
	var found *anypb.Any
	if err := c.Decode([]byte(`{"@type":"type.googleapis.com/tandem.test.bank.Entry"}`), &found); !errors.Is(err, codec.ErrMalformed) {
		t.Errorf("a message that nobody knows: %v, %v", found, err)
	}
}

// nested is a deposit within others, levels in all.
func nested(levels int) string {
	return strings.Repeat(`{"before":`, levels-1) + "{}" + strings.Repeat("}", levels-1)
}

func TestJSONLimits(t *testing.T) {
	for what, row := range map[string]struct {
		lim      codec.Limits
		at, over string
	}{
		"depth":    {codec.Limits{Depth: 5}, nested(5), nested(6)},
		"elements": {codec.Limits{Elements: 4}, `{"tags":["a","b"]}`, `{"tags":["a","b","c","d"]}`},
		"body":     {codec.Limits{Body: 18}, `{"account":"abcd"}`, `{"account":"abcde"}`},
		"bytes":    {codec.Limits{Bytes: 100_000}, `{"entries":[` + strings.Repeat(`{},`, 20) + `{}]}`, `{"entries":[` + strings.Repeat(`{},`, 2000) + `{}]}`},
	} {
		c := inJSON(row.lim)
		m := new(bankpb.Deposit)
		if err := c.Decode([]byte(row.at), &m); err != nil {
			t.Errorf("%s, at the limit: %v", what, err)
		}
		if err := c.Decode([]byte(row.over), &m); err == nil {
			t.Errorf("%s, beyond the limit: %v", what, m)
		}
		if err := inJSON(codec.Limits{}).Decode([]byte(row.over), &m); err != nil {
			t.Errorf("%s, without the limit: %v", what, err)
			continue
		}
		if body, err := c.Append(nil, m); !errors.Is(err, codec.ErrLimit) || body != nil {
			t.Errorf("%s: what nobody would take is sent: %v", what, err)
		}
	}
	loop := new(bankpb.Deposit)
	loop.Before = loop
	if _, err := inJSON(codec.Limits{}).Append(nil, loop); !errors.Is(err, codec.ErrLimit) {
		t.Errorf("a message that contains itself: %v", err)
	}
}

// jsonBombs are bodies that take much memory for their length, by the message that they are for.
func jsonBombs() map[string]struct {
	of   proto.Message
	body string
} {
	const n = 20_000
	list := func(before, each, after string) string {
		return before + strings.Repeat(each+",", n) + each + after
	}
	keys := func(before, value, after string) string {
		b := strings.Builder{}
		b.WriteString(before)
		for i := range n {
			fmt.Fprintf(&b, `"%d":%s,`, i, value)
		}
		return b.String() + `"x1":` + value + after
	}
	year := strings.ReplaceAll(keys(`{"byYear":{`, `{}`, `}}`), "x1", "99999")
	type bomb = struct {
		of   proto.Message
		body string
	}
	return map[string]bomb{
		"messages":        {&bankpb.Deposit{}, list(`{"entries":[`, `{}`, `]}`)},
		"numbers":         {&bankpb.Deposit{}, list(`{"cents":[`, `1`, `]}`)},
		"texts":           {&bankpb.Deposit{}, list(`{"tags":[`, `""`, `]}`)},
		"a map":           {&bankpb.Deposit{}, keys(`{"notes":{`, `""`, `}}`)},
		"a map of them":   {&bankpb.Deposit{}, year},
		"a tree":          {&bankpb.Tree{}, list(`{"kids":[`, `{"named":{"":{}}}`, `]}`)},
		"unknown names":   {&bankpb.Deposit{}, keys(`{`, `0`, `}`)},
		"unknown values":  {&bankpb.Deposit{}, list(`{"x":[`, `{"y":""}`, `]}`)},
		"a long text":     {&bankpb.Deposit{}, `{"account":"` + strings.Repeat(`\n`, n) + `"}`},
		"bytes":           {&bankpb.Deposit{}, `{"receipt":"` + strings.Repeat("AAAA", n) + `"}`},
		"a struct":        {&structpb.Struct{}, keys(`{`, `null`, `}`)},
		"a list":          {&structpb.ListValue{}, list(`[`, `0`, `]`)},
		"lists in a list": {&structpb.ListValue{}, list(`[`, `[{}]`, `]`)},
		"a mask":          {&fieldmaskpb.FieldMask{}, list(`"`, `a`, `"`)},
		"a value":         {&wrapperspb.BytesValue{}, `"` + strings.Repeat("AAAA", n) + `"`},
		"a time":          {&timestamppb.Timestamp{}, `"2026-01-01T00:00:00Z"`},
	}
}

// The estimate is above what decoding a body in JSON allocates.
func TestJSONMeasured(t *testing.T) {
	for what, b := range jsonBombs() {
		c := New(codec.Limits{Bytes: 1 << 30})
		s := c.shapeOf(reflect.TypeOf(b.of))
		cost, noFit := c.measureJSON([]byte(b.body), s)
		if noFit != nil {
			t.Fatal(noFit)
		}
		var err error
		took := allocated(func() { err = c.DecodeJSON([]byte(b.body), b.of) }) - len(b.body) // the body is copied here
		t.Logf("%s: %d bytes, estimated %d, allocated %d", what, len(b.body), cost, took)
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if took > cost+cost/16+16<<10 {
			t.Errorf("%s: estimated %d, allocated %d", what, cost, took)
		}
	}
}

// Whatever the body, decoding it ends, without a panic, and what was decoded can be sent on and arrives as what it was.
func FuzzDecodeJSON(f *testing.F) {
	f.Add([]byte(nested(3)))
	for _, b := range []string{`{"byYear":{"1":{"amount":"5"}},"rate":"NaN","receipt":"AA=="}`, `{"entries":[{}],"mood":7,"person":"x"}`, `{"x":[{"y":[1,2]}]}`} {
		f.Add([]byte(b))
	}
	c := inJSON(codec.Limits{Bytes: 256 << 10})
	f.Fuzz(func(t *testing.T, body []byte) {
		var m, again *bankpb.Deposit
		before := heapAllocs()
		err := c.Decode(body, &m)
		if took := heapAllocs() - before; took > fuzzBound {
			t.Errorf("allocated %d bytes", took)
		}
		if err != nil {
			return
		}
		out, err := inJSON(codec.Limits{}).Append(nil, m)
		if err != nil {
			t.Fatalf("%v cannot be sent on: %v", m, err)
		}
		if err := inJSON(codec.Limits{}).Decode(out, &again); err != nil || !proto.Equal(m, again) {
			t.Errorf("%v arrives as %v, %v", m, again, err)
		}
	})
}

// The schema tells the form of what is taken and of what is made.
func TestJSONSchema(t *testing.T) {
	type schema struct {
		Type            any
		ContentEncoding string
		Properties      map[string]*schema
		Items           *schema
		Additional      *schema `json:"additionalProperties"`
		AnyOf           []struct{ Enum []string }
		Required        []string
	}
	of := func(asked bool) (s schema) {
		if err := json.Unmarshal(New(codec.Limits{}).JSONSchema(reflect.TypeFor[*bankpb.Deposit](), asked), &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	asked, made := of(true), of(false)
	p := asked.Properties
	if asked.Type != "object" || len(asked.Required) > 0 || len(p) != 14 || fmt.Sprint(p["amount"].Type) != "[integer string]" || p["entries"].Items.Properties["text"].Type != "string" ||
		p["byYear"].Additional.Properties["amount"] == nil || p["receipt"].ContentEncoding != "base64" || p["before"].Type != nil || p["mood"].AnyOf[0].Enum[1] != "MOOD_GOOD" || p["person"] == nil {
		t.Errorf("%+v", asked)
	}
	if made.Properties["amount"].Type != "string" || made.Properties["branch"].Type != "integer" {
		t.Errorf("%+v", made)
	}
	if s := New(codec.Limits{}).JSONSchema(reflect.TypeFor[int](), true); s != nil {
		t.Errorf("of no message: %s", s)
	}
}
