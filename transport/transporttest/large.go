package transporttest

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/tandem-go/tandem/transport"
)

// testLargeIntact sends messages of many sizes around that of a chunk, in both directions.
func testLargeIntact(t *testing.T, cfg Config) {
	a, b := newPair(t, cfg)
	from, to := link(t, a, b)
	sizes := []int{1, 60 << 10, 64 << 10, 64<<10 + 1, 128 << 10, 200_000, 1 << 20, 3<<20 - 100}
	var count int
	for round := range 2 {
		for i, n := range sizes {
			e := transport.Envelope{Verb: transport.VerbRequest, Target: string(pattern(i, 5)), Seq: uint64(count), Body: pattern(round+i, n)}
			from.push(t, &e)
			e.Verb = transport.VerbReply
			to.push(t, &e)
			count++
		}
	}
	for _, s := range []side{from, to} {
		seen := make(map[uint64]bool)
		for _, got := range s.in.waitFor(count) {
			i := int(got.Seq)
			if seen[got.Seq] || !bytes.Equal(got.Body, pattern(i/len(sizes)+i%len(sizes), sizes[i%len(sizes)])) {
				t.Errorf("envelope %d came twice, or damaged: %d bytes", got.Seq, len(got.Body))
			}
			seen[got.Seq] = true
		}
	}
}

// testLimit sends envelopes of exactly the largest size, and one byte more.
func testLimit(t *testing.T, cfg Config) {
	a, b := newPair(t, cfg)
	from, to := link(t, a, b)
	e := transport.Envelope{Verb: transport.VerbRequest, Target: "alice"}
	head, err := e.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	body := bytes.Repeat([]byte("0123456789abcdef"), maxMessage/16+1)[:maxMessage-len(head)+1]

	e.Body = body
	if _, err := from.Send(&e); !errors.Is(err, transport.ErrTooLarge) {
		t.Errorf("send of %d bytes: %v, want ErrTooLarge", maxMessage+1, err)
	}
	e.Body = body[:len(body)-1]
	for i := range 3 {
		e.Seq = uint64(i)
		from.push(t, &e)
		to.push(t, &e)
	}
	for _, s := range []side{from, to} {
		for i, got := range s.in.waitFor(3) {
			if got.Seq != uint64(i) || !bytes.Equal(got.Body, e.Body) {
				t.Errorf("large envelope %d damaged", i)
			}
		}
	}
}

// stopped returns a link whose reader at the other end waits inside Receive until goOn is called.
// So everything that is sent meanwhile is there before any of it is received.
func stopped(t *testing.T, cfg Config) (from, to side, goOn func()) {
	t.Helper()
	a, b := newPair(t, cfg)
	goOn = blockReceiver(t, b)
	from, to = link(t, a, b)
	from.push(t, &transport.Envelope{Verb: transport.VerbPing, Seq: 1000})
	return from, to, goOn
}

// order returns the numbers of the envelopes in the order in which they came, without that of
// stopped.
func order(t *testing.T, to side, count int) (seqs []uint64) {
	t.Helper()
	for _, e := range to.in.waitFor(count + 1)[1:] {
		seqs = append(seqs, e.Seq)
	}
	return seqs
}

// testLargeIsPassed checks that small messages which need not wait overtake a large one.
func testLargeIsPassed(t *testing.T, cfg Config) {
	from, to, goOn := stopped(t, cfg)
	from.push(t, &transport.Envelope{Verb: transport.VerbRequest, Seq: 1, Target: "large", Body: pattern(1, maxMessage-100)})
	from.push(t, &transport.Envelope{Verb: transport.VerbTell, Seq: 2, Target: "small"})
	from.push(t, &transport.Envelope{Verb: transport.VerbReply, Seq: 3, Body: pattern(3, 60<<10)})
	from.push(t, &transport.Envelope{Verb: transport.VerbPing, Seq: 4})
	from.push(t, &transport.Envelope{Verb: transport.VerbRequest, Seq: 5, Target: "small"})
	goOn()
	if got := order(t, to, 5); !slices.Equal(got, []uint64{2, 3, 4, 5, 1}) {
		t.Errorf("came in the order %d", got)
	}
}

// testLargeKeepsOrder checks that messages to the same target wait for a large message, and tells
// for a large tell.
func testLargeKeepsOrder(t *testing.T, cfg Config) {
	from, to, goOn := stopped(t, cfg)
	for i, e := range []transport.Envelope{
		{Verb: transport.VerbTell, Target: "x", Body: pattern(1, 2<<20)},
		{Verb: transport.VerbRequest, Target: "x"},
		{Verb: transport.VerbTell, Target: "y"},
		{Verb: transport.VerbRequest, Target: "y", Body: pattern(4, 1<<20)},
		{Verb: transport.VerbTell, Target: "x", Body: pattern(5, 200<<10)},
		{Verb: transport.VerbRequest, Target: "y"},
		{Verb: transport.VerbPing, Fence: true},
		{Verb: transport.VerbRequest, Target: "z"},
	} {
		e.Seq = uint64(i + 1)
		from.push(t, &e)
	}
	goOn()
	at := make(map[uint64]int)
	got := order(t, to, 8)
	for i, seq := range got {
		at[seq] = i
	}
	for _, pair := range [][2]uint64{{1, 2}, {1, 3}, {3, 4}, {3, 5}, {1, 5}, {4, 6}, {8, 1}, {5, 7}, {6, 7}} {
		if at[pair[0]] > at[pair[1]] {
			t.Errorf("%d after %d, in the order %d", pair[0], pair[1], got)
		}
	}
}

// testLargeCancelled checks that a request is not received if it is cancelled before all of it has
// come.
func testLargeCancelled(t *testing.T, cfg Config) {
	from, to, goOn := stopped(t, cfg)
	for seq := range uint64(3) {
		from.push(t, &transport.Envelope{Verb: transport.VerbRequest, Seq: 1 + seq, Target: "x", Body: pattern(int(seq), 2<<20)})
	}
	from.push(t, &transport.Envelope{Verb: transport.VerbCancel, Seq: 1})
	from.push(t, &transport.Envelope{Verb: transport.VerbCancel, Seq: 3})
	from.push(t, &transport.Envelope{Verb: transport.VerbRequest, Seq: 4, Target: "x"})
	goOn()
	var seqs []uint64
	for _, e := range to.in.waitFor(5)[1:] {
		if e.Verb == transport.VerbRequest {
			seqs = append(seqs, e.Seq)
		}
	}
	if !slices.Equal(seqs, []uint64{2, 4}) {
		t.Errorf("received requests %d, want 2 and 4", seqs)
	}
}

// testLargeDiesWithItsLink checks that nothing of a message is received if its link dies before,
// and that other links go on.
func testLargeDiesWithItsLink(t *testing.T, cfg Config) {
	a, b := newPair(t, cfg)
	from, to := link(t, a, b)
	other, there := link(t, a, b)
	for range 3 {
		from.push(t, &transport.Envelope{Verb: transport.VerbRequest, Seq: 1, Target: "x", Body: pattern(1, 2<<20)})
		other.push(t, &transport.Envelope{Verb: transport.VerbReply, Seq: 2, Body: pattern(2, 2<<20)})
	}
	from.Close(errEnough)
	from.in.waitClosed()
	to.in.waitClosed()
	for _, got := range to.in.all() {
		if !bytes.Equal(got.Body, pattern(1, 2<<20)) {
			t.Errorf("received %d bytes of a message", len(got.Body))
		}
	}
	if got := there.in.waitFor(1)[0]; !bytes.Equal(got.Body, pattern(2, 2<<20)) {
		t.Errorf("%d bytes came on the other link", len(got.Body))
	}
}

// testLargeHanded checks which large messages in the queue of a link that died were handed: those
// of which a chunk may have been sent.
func testLargeHanded(t *testing.T, cfg Config) {
	from, to, goOn := stopped(t, cfg)
	var places []uint64
	for seq := range uint64(4) {
		places = append(places, from.push(t, &transport.Envelope{Verb: transport.VerbRequest, Seq: seq, Target: "x", Body: pattern(int(seq), 1<<20)}))
	}
	behind := from.push(t, &transport.Envelope{Verb: transport.VerbRequest, Seq: 5, Target: "x"})
	from.Close(errEnough)
	from.in.waitClosed()
	goOn()
	to.in.waitClosed()
	for i, at := range append(places[1:], behind) {
		if from.Handed(at) {
			t.Errorf("what waits behind a large message, as the %d., counts as handed", i+1)
		}
	}
	if n := len(to.in.all()); n > 1 {
		t.Errorf("%d messages were received", n-1)
	}
}

// testLargeIsFlushed checks that Close of a transport sends what is queued first.
func testLargeIsFlushed(t *testing.T, cfg Config) {
	a, b := newPair(t, cfg)
	from, to := link(t, a, b)
	for seq := range uint64(4) {
		from.push(t, &transport.Envelope{Verb: transport.VerbReply, Seq: seq, Body: pattern(int(seq), 100<<10)})
	}
	if err := a.Transport.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	to.in.waitFor(4)
	to.in.waitClosed()
}
