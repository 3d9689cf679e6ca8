package transport_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// The limits of a frame of one-way messages. The first is SPEC.md's, the other the sender's.
const (
	mostTells      = 64
	mostTellsBytes = 8 << 10
)

// kept is a Receiver that keeps everything that it gets.
type kept struct{ got []transport.Envelope }

func (k *kept) Receive(e *transport.Envelope) { k.got = append(k.got, e.Clone()) }
func (k *kept) Flush()                        {}
func (k *kept) Drained()                      {}
func (k *kept) Disturbed()                    {}
func (k *kept) Closed(error)                  {}

// packing returns a queue in which one-way messages share frames.
func packing(maxFrame int) *transport.Outbox {
	out := transport.NewOutbox(maxFrame)
	out.PackTells()
	return out
}

// row returns n one-way messages, each of which can share a frame with the one before.
func row(n int) (es []transport.Envelope) {
	for i := range uint64(n) {
		es = append(es, transport.Envelope{Verb: transport.VerbTell, Codec: 1, Seq: 7 + i, TypeID: 5, Grant: grant,
			Target: "alice", Sender: "bob@a", Body: []byte{byte(i)}})
	}
	return es
}

// deliver gives the envelopes of frames to k. It returns what they are, as a transcript:
// "tells:2 request" is a frame of two one-way messages and one of a request.
func deliver(t *testing.T, frames []byte, k *kept) string {
	t.Helper()
	in, back := transport.NewAssembly(transport.DefaultMaxMessage, false), transport.NewOutbox(transport.MaxFrame)
	var shape []string
	for _, b := range cut(frames) {
		var e transport.Envelope
		if err := e.Parse(b); err != nil {
			t.Fatal(err)
		}
		verb, before := e.Verb, len(k.got)
		if err := in.Deliver(&e, back, k); err != nil {
			t.Fatal(err)
		}
		if n := len(k.got) - before; verb == transport.VerbTells {
			shape = append(shape, fmt.Sprintf("tells:%d", n))
		} else {
			shape = append(shape, verb.String())
		}
	}
	return strings.Join(shape, " ")
}

// wantShape appends es, and compares the frames with a transcript, and what arrives with es.
func wantShape(t *testing.T, out *transport.Outbox, want string, es ...transport.Envelope) []byte {
	t.Helper()
	for i := range es {
		if _, err := out.Append(&es[i]); err != nil {
			t.Fatal(err)
		}
	}
	frames, _, _ := out.Take(nil)
	var k kept
	if got := deliver(t, frames, &k); got != want {
		t.Errorf("frames %q, want %q", got, want)
	}
	wantSame(t, k.got, es)
	return frames
}

// wantSame compares what has arrived with what was sent. A fence is not sent.
func wantSame(t *testing.T, got, sent []transport.Envelope) {
	t.Helper()
	if len(got) != len(sent) {
		t.Fatalf("%d of %d messages arrived", len(got), len(sent))
	}
	for i, want := range sent {
		want.Fence, got[i].Owned = false, false
		if !same(got[i], want) {
			t.Fatalf("message %d changed:\n got %+v\nwant %+v", i, got[i], want)
		}
	}
}

// TestTellsShareFrames changes the second message of a row of three.
func TestTellsShareFrames(t *testing.T) {
	const (
		together = "tells:3"
		apart    = "tells:1 tells:1 tells:1" // each is in a frame that could have more messages
		plain    = "tells:1 tell tells:1"
	)
	for _, c := range []struct {
		name   string
		want   string
		change func(e *transport.Envelope)
	}{
		{"a row", together, func(e *transport.Envelope) {}},
		{"no body", together, func(e *transport.Envelope) { e.Body = nil }},
		{"the largest body", together, func(e *transport.Envelope) { e.Body = make([]byte, mostTellsBytes/2) }},

		{"target", apart, func(e *transport.Envelope) { e.Target = "alicf" }},
		{"longer target", apart, func(e *transport.Envelope) { e.Target = "alice1" }},
		{"no target", apart, func(e *transport.Envelope) { e.Target = "" }},
		{"sender", apart, func(e *transport.Envelope) { e.Sender = "bob@b" }},
		{"no sender", apart, func(e *transport.Envelope) { e.Sender = "" }},
		{"bytes of the sender in the target", apart, func(e *transport.Envelope) { e.Target, e.Sender = "aliceb", "ob@a" }},
		{"type", apart, func(e *transport.Envelope) { e.TypeID++ }},
		{"codec", apart, func(e *transport.Envelope) { e.Codec++ }},
		{"grant", apart, func(e *transport.Envelope) { e.Grant[15]++ }},
		{"no grant", apart, func(e *transport.Envelope) { e.Grant = transport.Grant{} }},
		{"a number twice", apart, func(e *transport.Envelope) { e.Seq-- }},
		{"a number left out", apart, func(e *transport.Envelope) { e.Seq++ }},

		{"a body too large", plain, func(e *transport.Envelope) { e.Body = make([]byte, mostTellsBytes/2+1) }},
		{"headers", plain, func(e *transport.Envelope) { e.Headers = []transport.Header{{Key: "k", Value: "v"}} }},
		{"trace", plain, func(e *transport.Envelope) { e.Trace[24] = 1 }},
		{"flags", plain, func(e *transport.Envelope) { e.Flags = transport.FlagResend }},
		{"code", plain, func(e *transport.Envelope) { e.Code = 1 }},
		{"mark", plain, func(e *transport.Envelope) { e.Mark.Below = 1 }},
		{"exceptions", plain, func(e *transport.Envelope) { e.Mark.Except = []uint64{1} }},
		{"timeout", plain, func(e *transport.Envelope) { e.Timeout = time.Second }},
		{"sent", plain, func(e *transport.Envelope) { e.Sent = time.Unix(1, 0) }},
		{"key", plain, func(e *transport.Envelope) { e.Key = "k" }},
		{"after", plain, func(e *transport.Envelope) { e.After = 1 }},
		{"message", plain, func(e *transport.Envelope) { e.Message = "m" }},
		{"user code", plain, func(e *transport.Envelope) { e.UserCode = "c" }},
		{"elsewhere", plain, func(e *transport.Envelope) { e.Elsewhere = "b" }},
		{"retry after", plain, func(e *transport.Envelope) { e.RetryAfter = time.Second }},
		{"fence", plain, func(e *transport.Envelope) { e.Fence = true }},
	} {
		t.Run(c.name, func(t *testing.T) {
			es := row(3)
			c.change(&es[1])
			wantShape(t, packing(transport.MaxFrame), c.want, es...)
			if c.want == apart { // if the change is permanent, the next messages are a row again
				es := row(3)
				c.change(&es[1])
				c.change(&es[2])
				wantShape(t, packing(transport.MaxFrame), "tells:1 tells:2", es...)
			}
		})
	}
}

// What was sent between two messages arrives between them, although their numbers are consecutive:
// other verbs have their own numbers.
func TestTellsAroundOthers(t *testing.T) {
	for verb := transport.VerbOpen; verb < transport.VerbChunk; verb++ {
		if verb == transport.VerbTell {
			continue
		}
		es := row(4)
		other := es[0]
		other.Verb = verb
		wantShape(t, packing(transport.MaxFrame), fmt.Sprintf("tells:2 %v tells:2", verb), slices.Insert(es, 2, other)...)
	}
}

// The writer is woken for the first message, and not for those that join it.
func TestTellsWake(t *testing.T) {
	out := packing(transport.MaxFrame)
	for range 2 {
		es := row(3)
		for i := range es {
			if _, err := out.Append(&es[i]); err != nil {
				t.Fatal(err)
			}
			select {
			case <-out.Wake():
				if i > 0 {
					t.Errorf("woken for message %d", i)
				}
			default:
				if i == 0 {
					t.Error("not woken")
				}
			}
		}
		if frames, _, _ := out.Take(nil); len(cut(frames)) != 1 {
			t.Errorf("%d frames", len(cut(frames)))
		}
	}
}

// Without PackTells each message has a frame.
func TestTellsAreNotPacked(t *testing.T) {
	wantShape(t, transport.NewOutbox(transport.MaxFrame), "tell tell tell", row(3)...)
}

func TestTellsOfAFrame(t *testing.T) {
	for n, want := range map[int]string{
		1:                 "tells:1",
		mostTells:         "tells:64",
		mostTells + 1:     "tells:64 tells:1",
		2*mostTells + 2:   "tells:64 tells:64 tells:2",
		3 * mostTells / 2: "tells:64 tells:32",
	} {
		wantShape(t, packing(transport.MaxFrame), want, row(n)...)
	}
	last := row(2) // the numbers of a row may wrap around
	last[0].Seq, last[1].Seq = math.MaxUint64, 0
	wantShape(t, packing(transport.MaxFrame), "tells:2", last...)
}

// Nothing is added to a frame that was taken, whatever the same memory contains since then.
func TestTellsBehindTake(t *testing.T) {
	out := packing(transport.MaxFrame)
	es := row(4)
	out.Append(&es[0])
	first, _, _ := out.Take(nil)
	size := len(first)
	out.Append(&es[1])
	second, _, _ := out.Take(first)
	// The queue uses the memory of the first frame again, for a frame of the same size.
	out.Append(&transport.Envelope{Verb: transport.VerbPing, Body: make([]byte, size-4-32)})
	out.Append(&es[2])
	out.Append(&es[3])
	third, _, _ := out.Take(nil)
	var k kept
	for i, want := range []string{"tells:1", "ping tells:2"} {
		if got := deliver(t, [][]byte{second, third}[i], &k); got != want {
			t.Errorf("frames %q, want %q", got, want)
		}
	}
	wantSame(t, slices.Delete(k.got, 1, 2), es[1:])
}

// A message that was refused in between leaves the row as it was.
func TestTellsBesideRefused(t *testing.T) {
	out := packing(1000)
	es := row(4)
	for i := range es {
		if at, err := out.Append(&es[i]); err != nil {
			t.Fatalf("place %d: %v", at, err)
		}
		for _, e := range []transport.Envelope{
			{Verb: transport.VerbRequest, Body: make([]byte, 969)},
			{Verb: transport.VerbRequest, Target: "x", Body: make([]byte, 968)},
			{Verb: transport.VerbRequest, Target: strings.Repeat("x", 256)},
		} {
			if _, err := out.Append(&e); !errors.Is(err, transport.ErrTooLarge) {
				t.Fatal(err)
			}
		}
	}
	frames, _, _ := out.Take(nil)
	var k kept
	if got := deliver(t, frames, &k); got != "tells:4" {
		t.Errorf("frames %q", got)
	}
	wantSame(t, k.got, es)
	wrong := row(2)[1]
	wrong.Target = strings.Repeat("x", 256)
	if _, err := out.Append(&wrong); !errors.Is(err, transport.ErrTooLarge) {
		t.Error(err)
	}
	if frames, _, _ := out.Take(nil); len(frames) > 0 {
		t.Errorf("%d bytes of a message that was refused", len(frames))
	}
}

// A frame of several messages has at most 8 KiB; one more byte begins another.
func TestTellsFrameBytes(t *testing.T) {
	const header = 32
	bodies := func(sizes ...int) []transport.Envelope {
		es := make([]transport.Envelope, len(sizes))
		for i, n := range sizes {
			es[i] = transport.Envelope{Verb: transport.VerbTell, Seq: uint64(i), Body: make([]byte, n)}
		}
		return es
	}
	const first = mostTellsBytes / 2
	rest := mostTellsBytes - header - (2 + first) - 2
	// Three bytes are reserved for the length, although two are sufficient.
	wantShape(t, packing(transport.MaxFrame), "tells:2", bodies(first, rest-1)...)
	wantShape(t, packing(transport.MaxFrame), "tells:1 tells:1", bodies(first, rest+1)...)
	for _, size := range []int{127, 128, 200, 1000, first} {
		es := bodies(slices.Repeat([]int{size}, 100)...)
		out := packing(transport.MaxFrame)
		for i := range es {
			out.Append(&es[i])
		}
		frames, _, _ := out.Take(nil)
		for _, b := range cut(frames) {
			if len(b) > mostTellsBytes {
				t.Errorf("bodies of %d: a frame of %d bytes", size, len(b))
			}
		}
		if got, least := len(cut(frames)), 100*size/mostTellsBytes; got > 2*least+2 {
			t.Errorf("bodies of %d: %d frames", size, got)
		}
	}
}

// If frames are small, a message that fits a frame alone is still sent, and a frame of several
// messages is not larger than others.
func TestTellsInSmallFrames(t *testing.T) {
	const header, room = 32, 100
	for _, c := range []struct {
		target string
		body   int
		want   string // empty: too large
	}{
		{"", room + 1, ""},
		{"", room, "tell"},
		{"", room - 1, "tells:1"},
		{"alice", room - 8 + 1, ""},
		{"alice", room - 8, "tell"},
		{"alice", room - 8 - 1, "tells:1"},
	} {
		out := packing(header + room)
		e := transport.Envelope{Verb: transport.VerbTell, Target: c.target, Body: make([]byte, c.body)}
		if c.want != "" {
			wantShape(t, out, c.want, e)
			e.Seq++
		} else if _, err := out.Append(&e); !errors.Is(err, transport.ErrTooLarge) {
			t.Errorf("target %q, body of %d: %v, want ErrTooLarge", c.target, c.body, err)
		}
		small := transport.Envelope{Verb: transport.VerbTell, Target: c.target, Seq: e.Seq, Body: []byte("b")}
		wantShape(t, out, "tells:1", small) // nothing of the messages before is left
	}
	out := packing(header + room)
	es := make([]transport.Envelope, 100)
	for i := range es {
		es[i] = transport.Envelope{Verb: transport.VerbTell, Seq: uint64(i), Body: make([]byte, i)}
	}
	for i := range es {
		if _, err := out.Append(&es[i]); err != nil {
			t.Fatal(err)
		}
	}
	taken, _, _ := out.Take(nil)
	frames := cut(taken)
	for _, b := range frames {
		if len(b) > header+room {
			t.Errorf("a frame of %d bytes, limit %d", len(b), header+room)
		}
	}
	if len(frames) >= len(es) {
		t.Error("nothing is shared")
	}
}

// TestTellsPlaces checks that each message has its own position within its frame. From what was written
// it follows whether any byte of the message was.
func TestTellsPlaces(t *testing.T) {
	out := packing(transport.MaxFrame)
	var end uint64
	for range 3 {
		es := row(200)
		places := make([]uint64, len(es))
		for i := range es {
			at, err := out.Append(&es[i])
			if err != nil || i > 0 && at <= places[i-1] {
				t.Fatalf("place %d behind %d, %v", at, places[i-1], err)
			}
			places[i] = at
		}
		frames, at, _ := out.Take(nil)
		if at != end || places[0] != at {
			t.Fatalf("taken from %d on, the first has place %d; want %d", at, places[0], end)
		}
		end += uint64(len(frames))
		if last := places[len(places)-1]; last >= end {
			t.Fatalf("place %d in a stream of %d bytes", last, end)
		}
		for i, at := range places {
			if out.Handed(at, at) || !out.Handed(at, at+1) {
				t.Errorf("message %d is handed before its first byte, or not with it", i)
			}
			// The body follows the length; for the first message of a frame it follows the header.
			if b := frames[at-(end-uint64(len(frames))):]; i%mostTells > 0 && (b[0] != 1 || b[1] != byte(i)) {
				t.Errorf("message %d is not at its place", i)
			}
		}
	}
}

// rows is a Receiver that takes one-way messages together, and keeps them one by one.
type rows struct {
	kept
	lengths []int // of the rows
}

func (r *rows) ReceiveRow(e *transport.Envelope, count int) {
	r.lengths = append(r.lengths, count)
	one, rest := e.Clone(), e.Body
	for {
		var ok bool
		if one.Body, rest, ok = transport.CutRow(rest); !ok {
			return
		}
		r.got = append(r.got, one.Clone())
		one.Seq++
	}
}

// A RowReceiver gets the messages of a frame together, a single one like any other, and
// of a frame that is not valid what any Receiver gets.
func TestRows(t *testing.T) {
	long := func(body []byte, size int) []byte {
		return append(binary.AppendUvarint(body, uint64(size)), make([]byte, size)...)
	}
	for _, c := range []struct {
		name    string
		body    []byte
		lengths []int
		count   int // of messages
		bad     bool
	}{
		{"one", []byte{1, 'a'}, nil, 1, false},
		{"two", []byte{1, 'a', 2, 'b', 'c'}, []int{2}, 2, false},
		{"without bodies", make([]byte, mostTells), []int{mostTells}, mostTells, false},
		{"long ones", long(long(long(nil, 127), 128), 20_000), []int{3}, 3, false},
		{"length of more bytes than needed", []byte{0x81, 0, 'a', 0x80, 0}, []int{2}, 2, false},
		{"none", nil, nil, 0, true},
		{"one more than there may be", make([]byte, mostTells+1), nil, mostTells, true},
		{"length beyond the body", []byte{1, 'a', 3, 'b', 'c'}, nil, 1, true},
		{"cut length", []byte{1, 'a', 1, 'b', 0x80}, nil, 2, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := row(1)[0]
			e.Verb, e.Body = transport.VerbTells, c.body
			single := e.Clone()
			var k kept
			_ = newHalf(1<<20, false).in.Deliver(&single, transport.NewOutbox(transport.MaxFrame), &k)
			var r rows
			err := newHalf(1<<20, false).in.Deliver(&e, transport.NewOutbox(transport.MaxFrame), &r)
			if (err != nil) != c.bad || len(r.got) != c.count || !slices.Equal(r.lengths, c.lengths) {
				t.Errorf("%d messages in rows of %v, %v; want %d in %v, an error: %v", len(r.got), r.lengths, err, c.count, c.lengths, c.bad)
			}
			wantSame(t, r.got, k.got)
		})
	}
}
