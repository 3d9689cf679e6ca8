package actor

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
)

// caller is a request that has only a name.
type caller string

func (caller) Start() bool                 { return true }
func (caller) WillNotRun() bool            { return false }
func (caller) Fail(*rpc.Error)             {}
func (caller) Deadline() (time.Time, bool) { return time.Time{}, false }
func (caller) OnCancel(func())             {}
func (caller) PutBack() bool               { return false }

// transcript writes answers as "caller:result", where the result is the items or a word.
func transcript(answers []answer, refused *rpc.Error) string {
	var said []string
	for _, a := range answers {
		switch {
		case a.err != nil:
			said = append(said, fmt.Sprintf("%v:%v", a.req, a.err.Code.String()))
		case a.batch != nil:
			end := ""
			if a.batch.Done {
				end = "."
			}
			said = append(said, fmt.Sprintf("%v:%v%s", a.req, a.batch.vals, end))
		default:
			said = append(said, fmt.Sprintf("%v:over=%t", a.req, a.taken.Over))
		}
	}
	if refused != nil {
		said = append(said, refused.Code.String())
	}
	return strings.Join(said, " ")
}

// Batches are sent in the order of their numbers, whichever request asks first. A batch that
// is requested again is the same one.
func TestOutflow(t *testing.T) {
	var o outflow
	add := func(v any) []answer { o.buf.add(nil, v); return o.give(nil) }
	ask := func(n uint64, who string) string { return transcript(o.ask(n, caller(who))) }
	for i, step := range []struct{ got, want string }{
		{ask(0, "a"), "invalid"},
		{ask(2, "a"), ""},
		{transcript(add(1), nil), ""}, // it belongs to batch 1
		{ask(1, "b"), "b:[1]"},
		{transcript(add(2), nil), "a:[2]"},
		{ask(2, "c"), "c:[2]"}, // asked for again
		{ask(1, "c"), "c:[1]"},
		{ask(5, "c"), "invalid"},
		{ask(3, "d"), ""},
		{ask(3, "e"), "d:canceled"}, // e takes the place of d
		{transcript(add(3), nil), "e:[3]"},
		{ask(1, "c"), "invalid"}, // batch 3 was asked for, so batch 1 has arrived
		{transcript(add(4), nil) + transcript(add(5), nil), ""},
		{ask(4, "f"), "f:[4 5]"},
		{ask(5, "g"), ""},
		{ask(6, "h"), ""},
		{func() string { o.done = true; return transcript(o.give(nil), nil) }(), "g:[]. h:[]."},
		{ask(6, "h"), "h:[]."},
		{ask(7, "i"), "i:[]."},
	} {
		if step.got != step.want {
			t.Errorf("step %d: %q, want %q", i, step.got, step.want)
		}
	}
}

// Batches are accepted once each, in the order of their numbers, as there is room.
func TestInflow(t *testing.T) {
	var in inflow
	push := func(n uint64, who string, last bool, vals ...any) string {
		return transcript(in.push(streamPush{N: n, Last: last, vals: vals}, caller(who)))
	}
	take := func() string {
		got := fmt.Sprint(in.buf.vals)
		in.buf = chunk{}
		return got + " " + transcript(in.admit(nil), nil)
	}
	for i, step := range []struct{ got, want string }{
		{push(0, "a", false, 1), "invalid"},
		{push(3, "a", false, 1), "invalid"},
		{push(2, "a", false, 2), ""},
		{push(1, "b", false, 1), "b:over=false"},
		{push(1, "b", false, 1), "b:over=false"}, // sent again
		{push(2, "c", false, 2), "a:canceled"},
		{take(), "[1] c:over=false"},
		{push(3, "d", true), ""},
		{take(), "[2] d:over=false"},
		{take(), "[] "},
		{fmt.Sprint(in.last), "true"},
		{func() string { in.unused = true; return push(4, "e", false, 4) }(), "e:over=true"},
	} {
		if step.got != step.want {
			t.Errorf("step %d: %q, want %q", i, step.got, step.want)
		}
	}
}

// A batch from the wire is read item by item, or is an error.
func FuzzChunk(f *testing.F) {
	var c chunk
	c.add([]byte("one"), nil)
	c.add([]byte{}, nil)
	f.Add(c.bytes)
	f.Add([]byte("\x05a"))
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := chunk{bytes: b}
		for n := len(b); !c.empty(); n = len(c.bytes) {
			v, err := pop[[]byte](&c, codec.Raw(codec.Limits{}))
			if err != nil {
				return
			}
			if len(c.bytes)+len(v) >= n {
				t.Fatalf("an item of %d bytes, %d of %d are left", len(v), len(c.bytes), n)
			}
		}
	})
}

// A stream that was cut before all of it was read has not reached its end, even if its last
// batch has arrived.
func TestInflowBrokenOff(t *testing.T) {
	var i inflow
	if _, refused := i.push(streamPush{N: 1, vals: []any{1, 2}, Last: true}, caller("a")); refused != nil || !i.last {
		t.Fatal(refused, i.last)
	}
	i.end(nil)
	if i.last {
		t.Error("an upload whose items are gone is whole")
	}
}
