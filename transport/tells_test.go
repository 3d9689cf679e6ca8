package transport_test

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
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

// kept is a Receiver that keeps all it gets.
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

// wantShape appends es and holds the frames to a transcript, and what arrives to es.
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

// wantSame holds what arrived to what was sent. A fence stays behind on the way.
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
		apart    = "tells:1 tells:1 tells:1" // each could have others beside it
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
		{"retry after", plain, func(e *transport.Envelope) { e.RetryAfter = time.Second }},
		{"fence", plain, func(e *transport.Envelope) { e.Fence = true }},
	} {
		t.Run(c.name, func(t *testing.T) {
			es := row(3)
			c.change(&es[1])
			wantShape(t, packing(transport.MaxFrame), c.want, es...)
			if c.want == apart { // what has changed for good is a row again
				es := row(3)
				c.change(&es[1])
				c.change(&es[2])
				wantShape(t, packing(transport.MaxFrame), "tells:1 tells:2", es...)
			}
		})
	}
}

// What stands between two messages still does when they arrive, though their numbers are
// consecutive: other verbs have numbers of their own.
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
	last := row(2) // the numbers of a row may go round
	last[0].Seq, last[1].Seq = math.MaxUint64, 0
	wantShape(t, packing(transport.MaxFrame), "tells:2", last...)
}

// What was taken is not added to, whatever has come into the same memory since.
func TestTellsBehindTake(t *testing.T) {
	out := packing(transport.MaxFrame)
	es := row(4)
	out.Append(&es[0])
	first, _, _ := out.Take(nil)
	size := len(first)
	out.Append(&es[1])
	second, _, _ := out.Take(first)
	// The queue has the memory of the first frame again, and in it one of the same size.
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

// A frame of several has 8 KiB at most; one byte more begins another.
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
	// The room for the length is reckoned as three bytes, though two do.
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

// Where frames are small, what fits a frame alone still goes, and a frame of several is
// not larger than others.
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
		wantShape(t, out, "tells:1", small) // nothing is left of what came before
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

// TestTellsPlaces: each message has a place of its own within its frame, which tells by
// what was written whether any byte of the message was.
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
			// Behind its length stands the body, which for the first of a frame comes after the header.
			if b := frames[at-(end-uint64(len(frames))):]; i%mostTells > 0 && (b[0] != 1 || b[1] != byte(i)) {
				t.Errorf("message %d is not at its place", i)
			}
		}
	}
}

// packed is a half that packs, and what has come of it.
type packed struct {
	*half
	kept
	spare                    []byte // what was taken last, for the next Take
	frames, shared, messages int    // frames of one-way messages, those of several, the messages in them
}

// carry carries once what there is, both ways. It reports whether there was anything.
func (p *packed) carry(t *testing.T) bool {
	t.Helper()
	taken, _, _ := p.out.Take(p.spare)
	for _, b := range cut(taken) {
		var e transport.Envelope
		if err := e.Parse(b); err != nil {
			t.Fatal(err)
		}
		before, verb := len(p.kept.got), e.Verb
		if err := p.in.Deliver(&e, p.back, &p.kept); err != nil {
			t.Fatal(err)
		}
		if n := len(p.kept.got) - before; verb == transport.VerbTells {
			p.frames++
			p.messages += n
			p.shared += min(n-1, 1)
		}
	}
	for i := range taken {
		taken[i] = 0xff // whoever still looks at it sees that
	}
	p.spare = taken
	answers, _, _ := p.back.Take(nil)
	for _, b := range cut(answers) {
		if err := p.answered(b); err != nil {
			t.Fatal(err)
		}
	}
	return len(taken)+len(answers) > 0
}

// TestTellsArrive appends at random and takes at random: what is delivered is what was
// appended, in that order. Every other seed has large messages too, which others pass;
// of one-way messages none passes another.
func TestTellsArrive(t *testing.T) {
	var all packed
	for seed := range uint64(200) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			p := arrive(t, rand.New(rand.NewPCG(seed, 2)), seed%2 == 1, seed%3 > 0)
			all.frames, all.shared, all.messages = all.frames+p.frames, all.shared+p.shared, all.messages+p.messages
		})
	}
	if all.shared < all.frames/2 || all.messages < 3*all.frames {
		t.Errorf("%d messages in %d frames, of which %d are shared: too few", all.messages, all.frames, all.shared)
	}
}

func arrive(t *testing.T, r *rand.Rand, large, small bool) *packed {
	maxFrame := 8 << 10 // and what is more than half of it is large
	if small {
		maxFrame = 300 + r.IntN(1000)
	}
	p := &packed{half: newHalfOf(maxFrame, 1<<20, false)}
	if !large {
		p.out = transport.NewOutbox(maxFrame)
	}
	p.out.PackTells()
	var sent []transport.Envelope
	e := transport.Envelope{Verb: transport.VerbTell, Seq: 1 << 40, Target: "alice"}
	for range 200 {
		next := randomNext(r, &e)
		switch _, err := p.out.Append(&next); {
		case err == nil:
			sent = append(sent, next)
		case !small || !errors.Is(err, transport.ErrTooLarge):
			t.Fatal(err)
		}
		if r.IntN(20) == 0 {
			p.carry(t)
		}
	}
	for p.carry(t) {
	}
	got := p.kept.got
	if large {
		tells := func(es []transport.Envelope) []transport.Envelope {
			return slices.DeleteFunc(slices.Clone(es), func(e transport.Envelope) bool { return e.Verb != transport.VerbTell })
		}
		wantSame(t, tells(got), tells(sent))
		for _, es := range [][]transport.Envelope{got, sent} {
			slices.SortStableFunc(es, func(a, b transport.Envelope) int { return cmp.Compare(a.Seq, b.Seq) })
		}
	}
	wantSame(t, got, sent)
	return p
}

// randomNext changes e, mostly to the next message of its row, and returns what is to be
// sent of it: now and then something that is not of the row.
func randomNext(r *rand.Rand, e *transport.Envelope) transport.Envelope {
	pick := func(names ...string) string { return names[r.IntN(len(names))] }
	e.Seq++
	switch r.IntN(60) {
	case 0:
		e.Seq += uint64(r.IntN(3))
	case 1:
		e.Target = pick("", "a", "alice", "bob", strings.Repeat("x", transport.MaxTarget))
	case 2:
		e.Sender = pick("", "b", "alice", "carol@b", strings.Repeat("y", 2*transport.MaxTarget))
	case 3:
		e.TypeID = uint64(r.IntN(3))
	case 4:
		e.Codec = uint8(r.IntN(3))
	case 5:
		e.Grant[r.IntN(16)] = byte(r.IntN(2))
	}
	next := *e
	next.Body = make([]byte, r.IntN(8))
	switch r.IntN(60) {
	case 0, 1:
		next.Body = make([]byte, r.IntN(300))
	case 2:
		next.Body = make([]byte, r.IntN(5<<10))
	}
	for i := range next.Body {
		next.Body[i] = byte(r.Uint32())
	}
	switch r.IntN(60) {
	case 0:
		next.Headers = []transport.Header{{Key: "k", Value: "v"}}
	case 1:
		next.Trace[r.IntN(25)] = 1
	case 2:
		next.Flags = transport.FlagResend
	case 3:
		next.Timeout = time.Second
	case 4:
		next.Sent = time.Unix(1_700_000_000, 5)
	case 5:
		next.Mark = transport.Mark{Below: 3, Except: []uint64{1}}
	case 6:
		next.Key, next.After = "k", 3
	case 7:
		next.Verb, next.Target = transport.VerbRequest, pick("alice", "bob")
	case 8:
		next.Verb = transport.VerbReply
	case 9:
		next = transport.Envelope{Verb: transport.VerbPing}
	}
	if next.Verb != transport.VerbTell { // it has numbers of its own
		next.Seq = r.Uint64() | 1<<63
		e.Seq--
	}
	return next
}

// TestHostileTells: what no honest peer sends ends the link with a typed error. What
// stands before it in the frame is received.
func TestHostileTells(t *testing.T) {
	varint := func(n uint64) []byte { return binary.AppendUvarint(nil, n) }
	for _, c := range []struct {
		name  string
		body  []byte
		count int // of messages that are received
		bad   bool
	}{
		{"one without a body", []byte{0}, 1, false},
		{"two", []byte{1, 'a', 2, 'b', 'c'}, 2, false},
		{"as many as there may be", make([]byte, mostTells), mostTells, false},
		{"none", nil, 0, true},
		{"one more", make([]byte, mostTells+1), mostTells, true},
		{"many more", make([]byte, 100_000), mostTells, true},
		{"length beyond the body", []byte{2, 'a'}, 0, true},
		{"length beyond the body later", []byte{1, 'a', 3, 'b', 'c'}, 1, true},
		{"length without a body", []byte{1}, 0, true},
		{"huge length", append(varint(math.MaxUint64), 'a'), 0, true},
		{"negative length", append(varint(1<<63), 'a'), 0, true},
		{"length that is one too large for what it takes itself", append(varint(128), make([]byte, 127)...), 0, true},
		{"cut length", []byte{1, 'a', 0x80}, 1, true},
		{"length of eleven bytes", append([]byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0}, 'a'), 0, true},
		{"length of more than 64 bits", append([]byte{0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2}, 'a'), 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := row(1)[0]
			e.Verb, e.Body = transport.VerbTells, c.body
			b, err := e.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			var got transport.Envelope
			if err := got.Parse(b); err != nil {
				t.Fatal(err)
			}
			var k kept
			err = newHalf(1<<20, false).in.Deliver(&got, transport.NewOutbox(transport.MaxFrame), &k)
			if (err != nil) != c.bad || err != nil && !errors.Is(err, transport.ErrProtocol) || len(k.got) != c.count {
				t.Errorf("%d messages and %v; want %d, an error: %v", len(k.got), err, c.count, c.bad)
			}
			for i, got := range k.got {
				if want := e.Seq + uint64(i); got.Verb != transport.VerbTell || got.Seq != want || got.Target != e.Target || got.Sender != e.Sender {
					t.Errorf("message %d: %+v", i, got)
				}
			}
		})
	}
}

// A frame that is cut in its middle is refused wherever that is, save between messages.
func TestCutTells(t *testing.T) {
	es := row(10)
	for i := range es {
		es[i].Body = make([]byte, 20*i) // some lengths of one byte, some of two
	}
	frames := wantShape(t, packing(transport.MaxFrame), "tells:10", es...)
	whole := cut(frames)[0]
	var e transport.Envelope
	e.Parse(whole)
	good := make(map[int]int) // where it may be cut: how many come
	at := len(whole) - len(e.Body)
	for i := range es {
		at += len(binary.AppendUvarint(nil, uint64(len(es[i].Body)))) + len(es[i].Body)
		good[at] = i + 1
	}
	for n := range len(whole) + 1 {
		var e transport.Envelope
		var k kept
		err := e.Parse(whole[:n])
		if err == nil {
			err = newHalf(1<<20, false).in.Deliver(&e, transport.NewOutbox(transport.MaxFrame), &k)
		}
		count, ok := good[n]
		if ok != (err == nil) || err != nil && !errors.Is(err, transport.ErrProtocol) || ok && len(k.got) != count {
			t.Errorf("cut at %d of %d: %d messages, %v", n, len(whole), len(k.got), err)
		}
	}
}

// A large message is a single one.
func TestTellsInChunks(t *testing.T) {
	for verb, bad := range map[transport.Verb]bool{transport.VerbTell: false, transport.VerbTells: true} {
		b, _ := (&transport.Envelope{Verb: verb, Body: []byte{1, 'a'}}).Append(nil)
		for _, lossy := range []bool{false, true} {
			e := chunk(1, uint64(len(b)), 0, 0)
			e.Body = b
			var k kept
			err := newHalf(1<<20, lossy).in.Deliver(e, transport.NewOutbox(transport.MaxFrame), &k)
			if bad != errors.Is(err, transport.ErrProtocol) || !bad && err != nil || bad != (len(k.got) == 0) {
				t.Errorf("%v in chunks: %d messages, %v", verb, len(k.got), err)
			}
		}
	}
}
