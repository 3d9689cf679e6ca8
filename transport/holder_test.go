package transport_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// purse is a Receiver that holds up to limit bytes.
type purse struct {
	held, limit int
	open        int
	clock       time.Duration
	got         []transport.Envelope
}

func (p *purse) Hold(n int) bool {
	if p.held+n > p.limit {
		return false
	}
	p.held += n
	return true
}
func (p *purse) Force(n int)                   { p.held += n }
func (p *purse) Free(n int)                    { p.held -= n }
func (p *purse) Part(open int) time.Duration   { p.open = open; return p.clock }
func (p *purse) Receive(e *transport.Envelope) { p.got = append(p.got, e.Clone()) }
func (p *purse) Flush()                        {}
func (p *purse) Drained()                      {}
func (p *purse) Disturbed()                    {}
func (p *purse) Closed(error)                  {}

// parts returns the chunks of a request with a body of that size.
func parts(t *testing.T, number uint64, size, each int) (all []*transport.Envelope) { // a hundred of them, if they are small
	t.Helper()
	e := transport.Envelope{Verb: transport.VerbRequest, Seq: 100 + number, Target: "t", Body: make([]byte, size)}
	b, err := e.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(b) && (each > 1000 || len(all) < 100); at += each {
		all = append(all, &transport.Envelope{Verb: transport.VerbChunk, Seq: number, Mark: transport.Mark{Below: uint64(len(b))},
			TypeID: uint64(at), Body: b[at:min(at+each, len(b))]})
	}
	return all
}

// At most a few times the bytes that have come are held, and nothing once the message is complete,
// abandoned or dropped.
func TestHeldParts(t *testing.T) {
	const size = 20 << 20
	for _, lossy := range []bool{false, true} {
		p, out := &purse{limit: 1 << 40}, transport.NewOutbox(transport.MaxFrame)
		a := transport.NewAssembly(64<<20, lossy)
		deliver := func(e *transport.Envelope) {
			t.Helper()
			if err := a.Deliver(e, out, p); err != nil {
				t.Fatal(err)
			}
		}
		came := 0
		for _, e := range parts(t, 1, size, 32<<10) {
			came += len(e.Body)
			total := int(e.Mark.Below)
			deliver(e)
			if p.held > max(4*came, 64<<10) || p.held < came && came < total {
				t.Fatalf("%d bytes are held when %d have come", p.held, came)
			}
		}
		if p.held != 0 || p.open != 0 || len(p.got) != 1 || len(p.got[0].Body) != size || p.got[0].Cut {
			t.Fatalf("whole: %d bytes in %d messages are held, received %d", p.held, p.open, len(p.got))
		}
		deliver(parts(t, 2, size, 32<<10)[0])
		gone := parts(t, 2, size, 32<<10)[0]
		gone.Body, gone.Code = nil, 1
		deliver(gone)
		if p.held != 0 {
			t.Errorf("abandoned: %d bytes are held", p.held)
		}
	}
}

// A large message without a body of the user is dropped when its first part has come, if it is larger
// than any valid one.
func TestLongMessagesOfOtherVerbs(t *testing.T) {
	const longest = 32 + 1<<16 - 1 + 64<<10 // SPEC.md, "Large messages"
	for _, row := range []struct {
		verb   transport.Verb
		size   int // encoded
		kept   bool
		atMost int // is held
	}{
		{transport.VerbAck, longest, true, 2 * longest},
		{transport.VerbAck, longest + 1, false, 64 << 10},
		{transport.VerbAck, 20 << 20, false, 64 << 10},
		{transport.VerbBye, 20 << 20, false, 64 << 10},
		{transport.VerbTell, 20 << 20, true, 40 << 20},
		{transport.VerbReply, 20 << 20, true, 40 << 20},
	} {
		p, out := &purse{limit: 1 << 40}, transport.NewOutbox(transport.MaxFrame)
		a := transport.NewAssembly(64<<20, false)
		b, err := (&transport.Envelope{Verb: row.verb, Seq: 1, Body: make([]byte, row.size-32)}).Append(nil)
		if err != nil || len(b) != row.size {
			t.Fatal(len(b), err)
		}
		most := 0
		for at := 0; at < len(b); at += 32 << 10 {
			chunk := &transport.Envelope{Verb: transport.VerbChunk, Seq: 1, Mark: transport.Mark{Below: uint64(len(b))}, TypeID: uint64(at), Body: b[at:min(at+32<<10, len(b))]}
			if err := a.Deliver(chunk, out, p); err != nil {
				t.Fatal(err)
			}
			most = max(most, p.held)
		}
		if received := len(p.got) == 1 && !p.got[0].Cut; received != row.kept || len(p.got) > 1 || most > row.atMost || p.held != 0 {
			t.Errorf("a %v of %d bytes: received %d, held %d at most and %d at the end", row.verb, row.size, len(p.got), most, p.held)
		}
	}
}

// A message for which there is no room is received without its body, once, as soon as that is known.
// Its sender goes on, and gets answers. The next message is received as usual.
func TestPartsWithoutRoom(t *testing.T) {
	for _, row := range []struct{ limit, each, got int }{
		{0, 32 << 10, 1}, {64<<10 - 1, 32 << 10, 1}, {1 << 20, 32 << 10, 1}, {0, 1, 0}, {100, 7, 0},
	} {
		p, out := &purse{limit: row.limit}, transport.NewOutbox(transport.MaxFrame)
		a := transport.NewAssembly(64<<20, false)
		all := parts(t, 1, 3<<20, 32<<10)
		if row.each < 1000 { // the header comes in pieces, and is not complete
			all = append(parts(t, 1, 3<<20, row.each)[:10], restFrom(t, 3<<20, 10*row.each)...)
		}
		for i, e := range all {
			if err := a.Deliver(e, out, p); err != nil {
				t.Fatalf("%+v: chunk %d: %v", row, i, err)
			}
			if p.held > row.limit {
				t.Fatalf("%+v: %d bytes are held", row, p.held)
			}
		}
		if len(p.got) != row.got || p.held != 0 {
			t.Fatalf("%+v: received %d, %d bytes held", row, len(p.got), p.held)
		}
		if row.got == 1 && (!p.got[0].Cut || p.got[0].Seq != 101 || p.got[0].Target != "t" || len(p.got[0].Body) != 0) {
			t.Errorf("%+v: received %+v", row, p.got[0])
		}
		p.limit, p.got = 1<<40, nil
		for _, e := range parts(t, 2, 1<<20, 32<<10) {
			if err := a.Deliver(e, out, p); err != nil {
				t.Fatal(err)
			}
		}
		if len(p.got) != 1 || p.got[0].Cut || len(p.got[0].Body) != 1<<20 {
			t.Errorf("%+v: the next one is not received", row)
		}
	}
}

func restFrom(t *testing.T, size, from int) (rest []*transport.Envelope) {
	for _, e := range parts(t, 1, size, 32<<10) {
		if end := int(e.TypeID) + len(e.Body); end > from {
			if cut := from - int(e.TypeID); cut > 0 {
				e.TypeID, e.Body = uint64(from), e.Body[cut:]
			}
			rest = append(rest, e)
		}
	}
	return rest
}

// If nothing more of a message comes while others go on, the link ends.
func TestPartsStandStill(t *testing.T) {
	p, out := &purse{limit: 1 << 40, clock: time.Second}, transport.NewOutbox(transport.MaxFrame)
	a := transport.NewAssembly(64<<20, true)
	if err := a.Deliver(parts(t, 1, 1<<20, 100)[0], out, p); err != nil {
		t.Fatal(err)
	}
	for i, e := range parts(t, 2, 1<<20, 100)[:100] {
		p.clock = time.Second + time.Duration(i)*transport.PartPatience/50
		err := a.Deliver(e, out, p)
		if late := i > 50; late != errors.Is(err, transport.ErrProtocol) || !late && err != nil {
			t.Fatalf("after %v: %v", p.clock-time.Second, err)
		}
		if err != nil {
			return
		}
	}
}

// Answers to a peer that does not read count. If there is no room for them the link ends, but not
// before queueMust bytes of them wait. What was taken and written is freed.
func TestHeldAnswers(t *testing.T) {
	p, out := &purse{limit: 1 << 20}, transport.NewOutbox(transport.MaxFrame)
	a := transport.NewAssembly(64<<20, false)
	if err := a.Deliver(&transport.Envelope{Verb: transport.VerbPing}, out, p); err != nil {
		t.Fatal(err)
	}
	answer := transport.Envelope{Verb: transport.VerbReply, Seq: 1, Body: make([]byte, 60_000)}
	queued := 0
	for {
		if _, err := out.Append(&answer); err != nil {
			if !errors.Is(err, transport.ErrStalled) {
				t.Fatal(err)
			}
			break
		}
		queued += len(answer.Body)
	}
	if queued < 2<<20 || queued > 5<<19 || p.held < queued-128<<10 || p.held > queued+256<<10 {
		t.Errorf("%d bytes are queued, %d counted", queued, p.held)
	}
	frames, _, _ := out.Take(nil)
	if p.held == 0 {
		t.Error("what is being written is not counted")
	}
	if _, err := out.Append(&answer); err != nil {
		t.Error(err)
	}
	out.Take(frames)
	if p.held != 0 {
		t.Errorf("%d bytes are counted when all is written", p.held)
	}
	request := transport.Envelope{Verb: transport.VerbRequest, Seq: 1, Target: "t", Body: make([]byte, 60_000)}
	for range 30 { // requests do not count
		if _, err := out.Append(&request); err != nil {
			t.Fatal(err)
		}
	}
	if p.held != 0 {
		t.Errorf("%d bytes are counted for requests", p.held)
	}
}

// Large answers count from the first one, until the peer has them.
func TestHeldLargeAnswers(t *testing.T) {
	p, out := &purse{limit: 1 << 20}, transport.NewOutbox(transport.MaxFrame)
	out.SendLarge(64 << 20)
	a := transport.NewAssembly(64<<20, false)
	if err := a.Deliver(&transport.Envelope{Verb: transport.VerbPing}, out, p); err != nil {
		t.Fatal(err)
	}
	reply := func(seq uint64) error {
		_, err := out.Append(&transport.Envelope{Verb: transport.VerbReply, Seq: seq, Body: make([]byte, 600_000)})
		return err
	}
	if err := reply(1); err != nil || p.held < 600_000 {
		t.Fatalf("%v, %d bytes are counted", err, p.held)
	}
	if err := reply(2); !errors.Is(err, transport.ErrFull) {
		t.Errorf("one more: %v", err)
	}
	had := 0
	for had < 600_000 {
		frames, _, _ := out.Take(nil)
		for len(frames) > 4 {
			var e transport.Envelope
			n := int(frames[1])<<16 | int(frames[2])<<8 | int(frames[3])
			if err := e.Parse(frames[4 : 4+n]); err != nil {
				t.Fatal(err)
			}
			frames = frames[4+n:]
			had = int(e.TypeID) + len(e.Body)
			if err := a.Deliver(answer(e.Seq, uint64(had), 0), out, p); err != nil {
				t.Fatal(err)
			}
		}
	}
	if p.held != 0 {
		t.Errorf("%d bytes are counted when the peer has all", p.held)
	}
	if err := reply(3); err != nil {
		t.Error(err)
	}
}
