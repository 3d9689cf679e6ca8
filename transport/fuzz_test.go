package transport_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/tandem-go/tandem/transport"
)

// FuzzEnvelope checks that Parse never panics, that its errors are typed, and that what it accepts is
// the same after it was sent again.
func FuzzEnvelope(f *testing.F) {
	for _, e := range goldenEnvelopes {
		b, err := e.Append(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var e, again transport.Envelope
		if err := e.Parse(b); err != nil {
			if !errors.Is(err, transport.ErrProtocol) && !errors.Is(err, transport.ErrVersion) {
				t.Fatalf("untyped error: %v", err)
			}
			return
		}
		first, err := e.Append(nil)
		if err != nil {
			t.Fatalf("parsed, and cannot be sent: %v", err)
		}
		if err := again.Parse(first); err != nil {
			t.Fatalf("what Append wrote does not parse: %v", err)
		}
		if !same(e, again) {
			t.Fatalf("changed:\n%+v\n%+v", e, again)
		}
		if second, err := again.Append(nil); err != nil || !bytes.Equal(first, second) {
			t.Fatalf("encoded twice, differs (%v):\n% x\n% x", err, first, second)
		}
	})
}

// FuzzHello does the same for all messages of a greeting.
func FuzzHello(f *testing.F) {
	for _, h := range goldenHellos {
		f.Add(h.Append(nil))
	}
	for _, w := range goldenWelcomes {
		f.Add(w.Append(nil))
	}
	for _, p := range goldenProofs {
		f.Add(p.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := transport.ParseProof(b); err == nil {
			if again, err := transport.ParseProof(p.Append(nil)); err != nil || again != p {
				t.Fatalf("proof changed: %+v, %+v, %v", p, again, err)
			}
			if p.Check("", true, b, b) == nil || p.Check("secret", false, b, b) == nil {
				t.Fatal("a proof of itself")
			}
		} else if !errors.Is(err, transport.ErrProtocol) {
			t.Fatalf("untyped error: %v", err)
		}
		if h, err := transport.ParseHello(b); err == nil {
			if again, err := transport.ParseHello(h.Append(nil)); err != nil || again != h {
				t.Fatalf("hello changed: %+v, %+v, %v", h, again, err)
			}
			transport.Answer(transport.Local{Cluster: h.Cluster, Node: h.WantNode, Epoch: h.WantEpoch}, h)
		} else if !errors.Is(err, transport.ErrProtocol) {
			t.Fatalf("untyped error: %v", err)
		}
		if w, err := transport.ParseWelcome(b); err == nil {
			if again, err := transport.ParseWelcome(w.Append(nil)); err != nil || again != w {
				t.Fatalf("welcome changed: %+v, %+v, %v", w, again, err)
			}
			_ = w.Err()
		} else if !errors.Is(err, transport.ErrProtocol) {
			t.Fatalf("untyped error: %v", err)
		}
	})
}

// within is a Receiver that compares each one-way message with the frame in which it came.
type within struct {
	t     *testing.T
	frame []byte
	first transport.Envelope // what the frame says of all of them
	count int
	at    int // where in the frame the last one ended
}

func (w *within) Receive(e *transport.Envelope) {
	if e.Verb != transport.VerbTell || e.Seq != w.first.Seq+uint64(w.count) || e.Target != w.first.Target ||
		e.Sender != w.first.Sender || e.TypeID != w.first.TypeID || e.Codec != w.first.Codec || e.Grant != w.first.Grant {
		w.t.Fatalf("message %d of %+v: %+v", w.count, w.first, *e)
	}
	if w.count++; w.count > 64 {
		w.t.Fatalf("%d messages", w.count)
	}
	n, size := binary.Uvarint(w.frame[w.at:])
	if size <= 0 || n != uint64(len(e.Body)) || n > uint64(len(w.frame)-w.at-size) || n > 0 && &e.Body[0] != &w.frame[w.at+size] {
		w.t.Fatalf("body of %d bytes, the length at %d of %d bytes is %d", len(e.Body), w.at, len(w.frame), n)
	}
	w.at += size + len(e.Body)
}

func (w *within) Flush()       {}
func (w *within) Drained()     {}
func (w *within) Disturbed()   {}
func (w *within) Closed(error) {}

// FuzzTells parses any bytes as a frame of one-way messages. The messages are within the frame, and
// the errors are typed.
func FuzzTells(f *testing.F) {
	for _, e := range goldenEnvelopes {
		b, err := e.Append(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, body := range [][]byte{{}, {0}, {1}, {2, 'a', 'b', 1, 'c'}, {0x80, 0}, {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1}, make([]byte, 65)} {
		b, err := (&transport.Envelope{Verb: transport.VerbTells, Seq: 1, Body: body}).Append(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if b = bytes.Clone(b); len(b) > 1 {
			b[1] = byte(transport.VerbTells)
		}
		var e transport.Envelope
		err := e.Parse(b)
		w := &within{t: t, frame: b, first: e}
		if err == nil {
			w.at = len(b) - len(e.Body)
			err = transport.NewAssembly(1<<20, false).Deliver(&e, transport.NewOutbox(transport.MaxFrame), w)
			if err == nil && (w.count == 0 || w.at != len(b)) {
				t.Fatalf("%d messages, which end at %d of %d bytes", w.count, w.at, len(b))
			}
		}
		if err != nil && !errors.Is(err, transport.ErrProtocol) && !errors.Is(err, transport.ErrVersion) {
			t.Fatalf("untyped error: %v", err)
		}
	})
}
