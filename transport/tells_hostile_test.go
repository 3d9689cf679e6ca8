// Frames of one-way messages that no honest peer sends.

package transport_test

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"github.com/tandem-go/tandem/transport"
)

// TestHostileTells checks that frames which no honest peer sends end the link with a typed error. The
// messages before the error in the frame are received.
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

// A frame that is cut is refused, except if it is cut between messages.
func TestCutTells(t *testing.T) {
	es := row(10)
	for i := range es {
		es[i].Body = make([]byte, 20*i) // some lengths of one byte, some of two
	}
	frames := wantShape(t, packing(transport.MaxFrame), "tells:10", es...)
	whole := cut(frames)[0]
	var e transport.Envelope
	e.Parse(whole)
	good := make(map[int]int) // by the place of the cut, how many messages come
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

// A large message never shares a frame.
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
