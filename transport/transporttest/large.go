package transporttest

import (
	"bytes"
	"errors"
	"testing"

	"github.com/tandem-go/tandem/transport"
)

// testLargeIntact sends messages of many sizes about the chunk's, both ways.
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
