package transport_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/tandem-go/tandem/transport"
)

// half is one direction of a link without a network: what is taken from out goes to in, and the
// answers of in go back at once.
type half struct {
	out, back *transport.Outbox
	in, acks  *transport.Assembly
	got       []transport.Envelope
}

func newHalf(largest int, lossy bool) *half { return newHalfOf(transport.MaxFrame, largest, lossy) }

func newHalfOf(frame, largest int, lossy bool) *half {
	h := &half{out: transport.NewOutbox(frame), back: transport.NewOutbox(transport.MaxFrame),
		in: transport.NewAssembly(largest, lossy), acks: transport.NewAssembly(largest, lossy)}
	h.out.SendLarge(largest)
	h.back.SendLarge(largest)
	return h
}

// cut returns the envelopes that frames contain.
func cut(frames []byte) (envelopes [][]byte) {
	for len(frames) > 0 {
		n := 4 + binary.BigEndian.Uint32(frames)
		envelopes = append(envelopes, frames[4:n])
		frames = frames[n:]
	}
	return envelopes
}

// arrive receives an envelope that out has sent.
func (h *half) arrive(b []byte) error {
	var e transport.Envelope
	if err := e.Parse(b); err != nil {
		return err
	}
	if e.Verb >= transport.VerbChunk {
		if whole, err := h.in.Receive(&e, h.back); err != nil || !whole {
			return err
		}
	}
	h.got = append(h.got, e.Clone())
	return nil
}

// answered receives an answer of the other side.
func (h *half) answered(b []byte) error {
	var e transport.Envelope
	if err := e.Parse(b); err != nil {
		return err
	}
	_, err := h.acks.Receive(&e, h.out)
	return err
}

// step carries what is there, once, through pass, which may lose, duplicate and reorder it. It
// reports whether there was anything.
func (h *half) step(t *testing.T, pass func([][]byte) [][]byte) bool {
	t.Helper()
	carried := h.carry(t, pass)
	return h.answer(t, pass) || carried
}

// carry is the half of step that carries what was sent, and answer the one that carries the answers.
func (h *half) carry(t *testing.T, pass func([][]byte) [][]byte) bool {
	t.Helper()
	frames, _, _ := h.out.Take(nil)
	for _, b := range pass(cut(frames)) {
		if err := h.arrive(b); err != nil {
			t.Fatal(err)
		}
	}
	return len(frames) > 0
}

func (h *half) answer(t *testing.T, pass func([][]byte) [][]byte) bool {
	t.Helper()
	answers, _, _ := h.back.Take(nil)
	for _, b := range pass(cut(answers)) {
		if err := h.answered(b); err != nil {
			t.Fatal(err)
		}
	}
	return len(answers) > 0
}

func faithful(b [][]byte) [][]byte { return b }

// TestLargeModel sends messages at random, cancels some, and checks the promises of Link.Send: each
// message arrives once and whole, or not at all if it was cancelled; no request or tell overtakes a message to its target; no tell overtakes a tell; a
// fence or an open overtakes nothing.
func TestLargeModel(t *testing.T) {
	for seed := range uint64(100) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			model(t, rand.New(rand.NewPCG(seed, 1)), seed%2 == 1)
		})
	}
}

func model(t *testing.T, r *rand.Rand, lossy bool) {
	const largest, count = 1 << 20, 60
	h := newHalf(largest, lossy)
	pass := faithful
	if lossy { // messages that are not in chunks are resent by other means
		pass = func(b [][]byte) (kept [][]byte) {
			for i, e := range b {
				chunk := transport.Verb(e[1]) >= transport.VerbChunk
				switch n := r.IntN(20); {
				case !chunk || n > 2:
					kept = append(kept, e)
				case n == 0:
				case n == 1:
					kept = append(kept, e, e)
				case i+1 < len(b):
					b[i], b[i+1] = b[i+1], e
					kept = append(kept, b[i])
				}
			}
			return kept
		}
	}
	verbs := []transport.Verb{transport.VerbRequest, transport.VerbRequest, transport.VerbTell, transport.VerbTell, transport.VerbReply, transport.VerbPing, transport.VerbOpen}
	sent := make(map[uint64]transport.Envelope)
	canceled := make(map[uint64]bool)
	for i := range uint64(count) {
		e := transport.Envelope{Verb: verbs[r.IntN(len(verbs))], Seq: i + 1}
		switch e.Verb {
		case transport.VerbRequest, transport.VerbTell:
			e.Target = string('a' + rune(r.IntN(4)))
			fallthrough
		case transport.VerbReply:
			e.Body = make([]byte, r.IntN(200))
			if r.IntN(3) == 0 {
				e.Body = make([]byte, 40<<10+r.IntN(100<<10)*(1+r.IntN(4)))
			}
			for j := range e.Body {
				e.Body[j] = byte(int(e.Seq)*7 + j>>8)
			}
		case transport.VerbPing:
			e.Fence = r.IntN(2) == 0
		}
		at, err := h.out.Append(&e)
		if err != nil {
			t.Fatal(err)
		}
		sent[e.Seq] = e
		_ = h.out.Handed(at, 0)
		for range r.IntN(8) {
			switch seq := uint64(r.IntN(int(e.Seq))) + 1; {
			case r.IntN(8) == 0 && sent[seq].Verb == transport.VerbRequest && !canceled[seq]:
				canceled[seq] = true
				h.out.Append(&transport.Envelope{Verb: transport.VerbCancel, Seq: seq})
			case r.IntN(2) == 0:
				h.carry(t, pass)
			default:
				h.answer(t, pass)
			}
		}
	}
	for idle := 0; !h.out.Empty(); {
		if h.step(t, pass) {
			idle = 0
		} else if idle++; lossy {
			h.out.Resend()
		}
		if idle > 1000 {
			t.Fatal("nothing moves any more")
		}
	}
	h.step(t, faithful)
	place := make(map[uint64]int)
	for i, e := range h.got {
		if e.Verb == transport.VerbCancel {
			continue
		}
		want := sent[e.Seq]
		if _, twice := place[e.Seq]; twice || e.Verb != want.Verb || e.Target != want.Target || !bytes.Equal(e.Body, want.Body) {
			t.Fatalf("message %d came twice, or changed", e.Seq)
		}
		place[e.Seq] = i
	}
	for seq := range sent {
		if _, came := place[seq]; !came && !canceled[seq] {
			t.Fatalf("message %d did not come", seq)
		}
	}
	for i := range uint64(count) {
		for j := range i {
			first, second := sent[j+1], sent[i+1]
			message := func(e transport.Envelope) bool {
				return e.Verb == transport.VerbRequest || e.Verb == transport.VerbTell
			}
			ordered := message(first) && message(second) && (first.Target == second.Target || first.Verb == transport.VerbTell && second.Verb == transport.VerbTell) ||
				second.Fence || second.Verb == transport.VerbOpen
			_, both := place[second.Seq]
			if ordered && both && place[first.Seq] > place[second.Seq] {
				t.Fatalf("%v %d to %q was overtaken by %v %d to %q", first.Verb, first.Seq, first.Target, second.Verb, second.Seq, second.Target)
			}
		}
	}
}

// TestSmallPassLarge checks that a small message waits for only one chunk of a large one.
func TestSmallPassLarge(t *testing.T) {
	h := newHalf(transport.DefaultMaxMessage, false)
	big := &transport.Envelope{Verb: transport.VerbRequest, Target: "big", Seq: 1, Body: make([]byte, 8<<20)}
	if _, err := h.out.Append(big); err != nil {
		t.Fatal(err)
	}
	for seq := uint64(2); seq < 100; seq++ {
		h.out.Append(&transport.Envelope{Verb: transport.VerbRequest, Target: "small", Seq: seq})
		h.step(t, faithful)
		if n := len(h.got); n != int(seq)-1 || h.got[n-1].Seq != seq {
			t.Fatalf("request %d did not pass", seq)
		}
	}
	for h.step(t, faithful) {
	}
	if n := len(h.got); h.got[n-1].Seq != 1 || len(h.got[n-1].Body) != len(big.Body) {
		t.Error("the large one did not arrive")
	}
}

// TestLargeTakesTurns checks that a short large message does not wait for a long one.
func TestLargeTakesTurns(t *testing.T) {
	h := newHalf(8<<20, false)
	for seq, size := range []int{6 << 20, 5 << 20, 100 << 10} {
		h.out.Append(&transport.Envelope{Verb: transport.VerbReply, Seq: uint64(seq), Body: make([]byte, size)})
	}
	for h.step(t, faithful) {
	}
	if h.got[0].Seq != 2 || h.got[1].Seq != 1 || h.got[2].Seq != 0 {
		t.Errorf("came in the order %d %d %d", h.got[0].Seq, h.got[1].Seq, h.got[2].Seq)
	}
}

// TestManyLarge sends more messages than may be unfinished at once, in frames much smaller than what
// the receiver may leave unanswered.
func TestManyLarge(t *testing.T) {
	for _, frame := range []int{2 << 10, 20 << 10, transport.MaxFrame} {
		h := newHalfOf(frame, transport.DefaultMaxMessage, false)
		const count = 200
		for seq := range uint64(count) {
			h.out.Append(&transport.Envelope{Verb: transport.VerbReply, Seq: seq, Body: make([]byte, 70<<10)})
		}
		for h.step(t, faithful) {
		}
		if len(h.got) != count {
			t.Errorf("frames of %d bytes: %d of %d came", frame, len(h.got), count)
		}
	}
}

// TestLargeCancelled checks that nothing more of a cancelled request is sent, and that the receiver
// drops what it has of it.
func TestLargeCancelled(t *testing.T) {
	for _, begun := range []bool{false, true} {
		for _, lossy := range []bool{false, true} {
			h := newHalf(1<<20, lossy)
			at, _ := h.out.Append(&transport.Envelope{Verb: transport.VerbRequest, Target: "x", Seq: 1, Body: make([]byte, 1<<20-100)})
			h.out.Append(&transport.Envelope{Verb: transport.VerbRequest, Target: "x", Seq: 2})
			if begun {
				h.step(t, faithful)
			}
			if h.out.Handed(at, 0) != begun {
				t.Errorf("begun %v, handed %v", begun, !begun)
			}
			h.out.Append(&transport.Envelope{Verb: transport.VerbCancel, Seq: 1})
			if begun && lossy { // the message about that is lost
				h.out.Take(nil)
				h.out.Resend()
			}
			carried := 0
			for h.step(t, func(b [][]byte) [][]byte {
				for _, e := range b {
					carried += len(e)
				}
				return b
			}) {
			}
			if carried > 1000 {
				t.Errorf("begun %v: %d bytes were sent of a message that was given up", begun, carried)
			}
			if !h.out.Empty() || len(h.got) == 0 || h.got[len(h.got)-1].Seq != 2 && h.got[0].Seq != 2 {
				t.Errorf("begun %v: got %+v, empty %v", begun, h.got, h.out.Empty())
			}
			// There is as much room as before.
			for seq := uint64(3); seq < 5; seq++ {
				h.out.Append(&transport.Envelope{Verb: transport.VerbRequest, Target: "x", Seq: seq, Body: make([]byte, 1<<20-100)})
			}
			for h.step(t, faithful) {
			}
			if n := len(h.got); len(h.got[n-1].Body) != 1<<20-100 || len(h.got[n-2].Body) != 1<<20-100 {
				t.Error("what came after it did not arrive")
			}
		}
	}
}

// TestLargeCancelledBehindIt cancels a request when all of it is on its way, and no answer to the last
// of it has come. The receiver has nothing to drop, and the link goes on.
func TestLargeCancelledBehindIt(t *testing.T) {
	for _, lossy := range []bool{false, true} {
		h := newHalf(1<<20, lossy)
		h.out.Append(&transport.Envelope{Verb: transport.VerbRequest, Target: "x", Seq: 1, Body: make([]byte, 150<<10)})
		for len(h.got) == 0 {
			_ = h.carry(t, faithful) || h.answer(t, faithful)
		}
		if len(h.got) != 1 || h.out.Empty() {
			t.Fatalf("%d messages came, all answered %v", len(h.got), h.out.Empty())
		}
		h.out.Append(&transport.Envelope{Verb: transport.VerbCancel, Seq: 1})
		for h.step(t, faithful) {
		}
		if len(h.got) != 2 || !h.out.Empty() {
			t.Errorf("lossy %v: %d messages came, empty %v", lossy, len(h.got), h.out.Empty())
		}
	}
}

// TestLargeCopies checks that copies of a message that is being sent, and probes about it, are not
// sent.
func TestLargeCopies(t *testing.T) {
	h := newHalf(1<<20, true)
	grant := transport.Grant{1}
	request := &transport.Envelope{Verb: transport.VerbRequest, Target: "x", Seq: 1, Grant: grant, Body: make([]byte, 500<<10)}
	reply := &transport.Envelope{Verb: transport.VerbReply, Seq: 1, Body: make([]byte, 300<<10)}
	for range 3 {
		h.out.Append(request)
		h.out.Append(reply)
		h.out.Append(&transport.Envelope{Verb: transport.VerbProbe, Seq: 1, Grant: grant})
		h.out.Append(&transport.Envelope{Verb: transport.VerbReply, Seq: 1, Code: 7}) // the reply that a server has kept
		h.step(t, faithful)
	}
	for h.step(t, faithful) {
	}
	if len(h.got) != 2 {
		t.Errorf("%d messages came, want 2", len(h.got))
	}
	h.out.Append(&transport.Envelope{Verb: transport.VerbProbe, Seq: 1, Grant: grant})
	h.step(t, faithful)
	if len(h.got) != 3 {
		t.Error("a question about what has arrived was not sent")
	}
}

// TestLargeRoom checks that the bytes in the queue are bounded, by the kinds of messages.
func TestLargeRoom(t *testing.T) {
	const largest = 8 << 20
	h := newHalf(largest, false)
	body := make([]byte, largest-1000)
	for _, c := range []struct {
		verb transport.Verb
		most int
	}{{transport.VerbTell, 1}, {transport.VerbReply, 4}, {transport.VerbRequest, 16}} {
		n := 0
		for ; n < 100; n++ {
			if _, err := h.out.Append(&transport.Envelope{Verb: c.verb, Target: "x", Seq: uint64(n), Body: body}); err != nil {
				if !errors.Is(err, transport.ErrFull) {
					t.Errorf("%v %d: %v, want ErrFull", c.verb, n, err)
				}
				break
			}
		}
		if n != c.most {
			t.Errorf("%d large ones of %v fit, want %d", n, c.verb, c.most)
		}
		if _, err := h.out.Append(&transport.Envelope{Verb: c.verb, Target: "y", Seq: 1000}); err != nil {
			t.Errorf("a small one behind them: %v", err)
		}
	}
	if _, err := h.out.Append(&transport.Envelope{Verb: transport.VerbReply, Seq: 200, Body: make([]byte, largest)}); !errors.Is(err, transport.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	told := false
	for {
		frames, _, drained := h.out.Take(nil)
		told = told || drained
		for _, b := range cut(frames) {
			if err := h.arrive(b); err != nil {
				t.Fatal(err)
			}
		}
		if !h.step(t, faithful) {
			break
		}
	}
	if !told || !h.out.Empty() {
		t.Errorf("told of room: %v, empty: %v", told, h.out.Empty())
	}
}

// TestLargeWithoutPeer checks that for a peer that accepts no chunks a frame is the limit.
func TestLargeWithoutPeer(t *testing.T) {
	out := transport.NewOutbox(transport.MaxFrame)
	out.SendLarge(0)
	e := &transport.Envelope{Verb: transport.VerbTell, Body: make([]byte, transport.MaxFrame-32)}
	if _, err := out.Append(e); err != nil {
		t.Error(err)
	}
	e.Body = make([]byte, transport.MaxFrame-31)
	if _, err := out.Append(e); !errors.Is(err, transport.ErrTooLarge) {
		t.Errorf("%v, want ErrTooLarge", err)
	}
}

// A closed queue still sends what it has; a discarded one holds nothing.
func TestLargeClosed(t *testing.T) {
	h := newHalf(1<<20, false)
	for seq := range uint64(3) {
		h.out.Append(&transport.Envelope{Verb: transport.VerbReply, Seq: seq, Body: make([]byte, 300<<10)})
	}
	h.step(t, faithful)
	h.out.Close()
	h.back.Close() // its answers are still sent
	for h.step(t, faithful) {
	}
	if len(h.got) != 3 || !h.out.Empty() {
		t.Errorf("%d came, empty %v", len(h.got), h.out.Empty())
	}
	h = newHalf(1<<20, false)
	at, _ := h.out.Append(&transport.Envelope{Verb: transport.VerbRequest, Target: "x", Seq: 1, Body: make([]byte, 300<<10)})
	behind, _ := h.out.Append(&transport.Envelope{Verb: transport.VerbRequest, Target: "x", Seq: 2})
	h.step(t, faithful)
	h.out.Discard()
	if frames, _, _ := h.out.Take(nil); len(frames) > 0 || !h.out.Handed(at, 0) || h.out.Handed(behind, 1<<40) {
		t.Errorf("%d bytes after Discard, handed %v %v", len(frames), h.out.Handed(at, 0), h.out.Handed(behind, 1<<40))
	}
}
