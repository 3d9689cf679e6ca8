// One-way messages and others, appended and taken at random.

package transport_test

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// packed is a half that packs, with the counts of what it has sent.
type packed struct {
	*half
	kept
	spare                    []byte // what was taken last, for the next Take
	frames, shared, messages int    // frames of one-way messages, those of several, the messages in them
}

// carry carries what is there, once, in both directions. It reports whether there was anything.
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
		taken[i] = 0xff // so that a later read of it is noticed
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

// TestTellsArrive appends and takes at random. What was appended is delivered in the same order. Every
// other seed has large messages too, which others overtake; no one-way message overtakes another.
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
	maxFrame := 8 << 10 // a message of more than half of it is large
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
	if next.Verb != transport.VerbTell { // it has its own numbers
		next.Seq = r.Uint64() | 1<<63
		e.Seq--
	}
	return next
}
