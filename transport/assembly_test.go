package transport_test

import (
	"bytes"
	"errors"
	"runtime"
	"testing"

	"github.com/tandem-go/tandem/transport"
)

// chunk is an envelope that a peer may send about a large message.
func chunk(number, total, from uint64, size int) *transport.Envelope {
	return &transport.Envelope{Verb: transport.VerbChunk, Seq: number, Mark: transport.Mark{Below: total}, TypeID: from, Body: make([]byte, size)}
}

func answer(number, have uint64, code uint16) *transport.Envelope {
	return &transport.Envelope{Verb: transport.VerbChunked, Seq: number, Mark: transport.Mark{Below: have}, Code: code}
}

func abandon(number, total uint64) *transport.Envelope {
	e := chunk(number, total, 0, 0)
	e.Code = 1
	return e
}

// TestHostileChunks checks that chunks which no honest peer sends end the link with a typed error.
func TestHostileChunks(t *testing.T) {
	const largest = 1 << 20
	many := func(n uint64, total uint64) (all []*transport.Envelope) {
		for i := range n {
			all = append(all, chunk(i+1, total, 0, 1))
		}
		return all
	}
	envelope := func(verb transport.Verb) []*transport.Envelope {
		b, _ := (&transport.Envelope{Verb: verb}).Append(nil)
		e := chunk(1, uint64(len(b)), 0, 0)
		e.Body = b
		return []*transport.Envelope{e}
	}
	all := func(e ...*transport.Envelope) []*transport.Envelope { return e }
	for _, c := range []struct {
		name          string
		send          []*transport.Envelope
		direct, lossy bool // where it is an error
	}{
		{"honest", all(chunk(1, 100, 0, 60), chunk(2, 50, 0, 40), chunk(1, 100, 60, 39)), false, false},
		{"unfinished", all(chunk(1, largest, 0, 10)), false, false},
		{"abandoned", all(chunk(1, 100, 0, 60), abandon(1, 100), chunk(2, 100, 0, 60)), false, false},
		{"size 0", all(chunk(1, 0, 0, 0)), true, true},
		{"no bytes", all(chunk(1, 100, 0, 0)), true, true},
		{"beyond the largest", all(chunk(1, largest+1, 0, 10)), true, true},
		{"huge", all(chunk(1, 1<<63+1, 0, 10)), true, true},
		{"beyond its end", all(chunk(1, 100, 0, 101)), true, true},
		{"beyond its end later", all(chunk(1, 100, 0, 60), chunk(1, 100, 60, 41)), true, true},
		{"begins beyond its end", all(chunk(1, 100, 1<<64-10, 20)), true, true},
		{"two sizes", all(chunk(1, 100, 0, 60), chunk(1, 101, 60, 10)), true, true},
		{"number 0", all(chunk(0, 100, 0, 10)), true, true},
		{"begins in its middle", all(chunk(1, 100, 10, 10)), true, false},
		{"leaves a number out", all(chunk(2, 100, 0, 10)), true, false},
		{"leaves many numbers out", all(chunk(66, 100, 0, 10)), true, true},
		{"a number out of the blue", all(chunk(1<<63, 100, 0, 10)), true, true},
		{"begins twice", all(chunk(1, 100, 0, 60), chunk(1, 100, 0, 60)), true, false},
		{"leaves bytes out", all(chunk(1, 100, 0, 60), chunk(1, 100, 70, 10)), true, false},
		{"goes on when it is over", all(chunk(1, 100, 0, 60), abandon(1, 100), chunk(1, 100, 60, 10)), true, false},
		{"as many unfinished as there may be", many(64, 1000), false, false},
		{"too many unfinished", many(65, 1000), true, true},
		{"as large together as they may be", many(2, largest), false, false},
		{"too large together", many(3, largest), true, true},
		{"answer about nothing", all(answer(1, 10, 0)), true, true},
		{"answer about number 0", all(answer(0, 10, 0)), true, true},
		{"bytes lost where none are", all(answer(1, 10, 1)), true, true},
		{"a message", envelope(transport.VerbTell), false, false},
		{"a chunk of a chunk", envelope(transport.VerbChunk), true, true},
		{"an answer in a chunk", envelope(transport.VerbChunked), true, true},
		{"no envelope", all(chunk(1, 40, 0, 40)), true, true},
	} {
		for _, lossy := range []bool{false, true} {
			h := newHalf(largest, lossy)
			var err error
			for _, e := range c.send {
				if err == nil {
					e := e.Clone()
					_, err = h.in.Receive(&e, h.back)
				}
			}
			want := c.direct
			if lossy {
				want = c.lossy
			}
			if (err != nil) != want || err != nil && !errors.Is(err, transport.ErrProtocol) && !errors.Is(err, transport.ErrVersion) {
				t.Errorf("%s, lossy %v: %v, want an error: %v", c.name, lossy, err, want)
			}
		}
	}
}

// TestHostileAnswers checks that a peer cannot claim to have more than was sent to it.
func TestHostileAnswers(t *testing.T) {
	for have, want := range map[uint64]bool{0: false, 32 << 10: false, 64 << 10: false, 64<<10 + 1: true, 1 << 63: true} {
		h := newHalf(1<<20, true)
		h.out.Append(&transport.Envelope{Verb: transport.VerbReply, Seq: 1, Body: make([]byte, 500<<10)})
		h.out.Take(nil)
		h.out.Take(nil)
		for code := range uint16(2) {
			b, _ := answer(1, have, code).Append(nil)
			if err := h.answered(b); (err != nil) != want || err != nil && !errors.Is(err, transport.ErrProtocol) {
				t.Errorf("%d bytes of 65536: %v, want an error: %v", have, err, want)
			}
		}
	}
}

// TestAnnouncedSize checks that memory is taken for bytes that have come, and not for the size that
// was announced.
func TestAnnouncedSize(t *testing.T) {
	const largest = 512 << 20
	in, back := transport.NewAssembly(largest, false), transport.NewOutbox(transport.MaxFrame)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for n := range uint64(2) {
		if _, err := in.Receive(chunk(n+1, largest, 0, 32<<10), back); err != nil {
			t.Fatal(err)
		}
	}
	if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 4<<20 {
		t.Errorf("%d KiB for 64 KiB that came", (after.TotalAlloc-before.TotalAlloc)>>10)
	}
}

// FuzzAssembly lets a peer send anything. The errors are typed, nothing is received that was not
// sent, and memory is bounded by what has come.
func FuzzAssembly(f *testing.F) {
	f.Add(false, []byte{0, 1, 40, 0, 20, 0, 1, 40, 20, 20})
	f.Add(true, []byte{0, 1, 40, 0, 20, 0, 3, 9, 0, 5, 0, 1, 40, 30, 10, 0, 1, 40, 20, 20, 1, 3, 9, 0, 0, 2, 1, 1, 0, 0})
	f.Fuzz(func(t *testing.T, lossy bool, ops []byte) {
		const largest = 200
		in, back := transport.NewAssembly(largest, lossy), transport.NewOutbox(transport.MaxFrame)
		back.SendLarge(largest)
		// Message n consists of an envelope whose body is all n.
		message := func(n byte, size int) []byte {
			b, _ := (&transport.Envelope{Verb: transport.VerbTell, Seq: uint64(n), Body: bytes.Repeat([]byte{n}, max(size-32, 0))}).Append(nil)
			return b
		}
		seen := make(map[uint64]bool)
		for ; len(ops) >= 5; ops = ops[5:] {
			kind, n, total, from, size := ops[0]%4, ops[1]%80, int(ops[2]), int(ops[3]), int(ops[4])
			e := chunk(uint64(n), uint64(total), uint64(from), 0)
			switch whole := message(n, total); {
			case kind == 1:
				e = abandon(uint64(n), uint64(total))
			case kind == 2:
				e = answer(uint64(n), uint64(total), uint16(from%2))
			case kind == 3 || from+size > len(whole):
				e.Body = bytes.Repeat([]byte{n}, size)
			default:
				e.Body = whole[from : from+size]
			}
			whole, err := in.Receive(e, back)
			if err != nil {
				if !errors.Is(err, transport.ErrProtocol) && !errors.Is(err, transport.ErrVersion) {
					t.Fatalf("untyped error: %v", err)
				}
				return
			}
			if whole {
				if e.Verb >= transport.VerbChunk || len(e.Body) > largest {
					t.Fatalf("received %+v", e)
				}
				if seen[uint64(n)] {
					t.Fatalf("message %d was received twice", n)
				}
				seen[uint64(n)] = true
			}
		}
	})
}
