package transport_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/tandem-go/tandem/transport"
)

// FuzzEnvelope: Parse never panics, its errors are typed, and what it takes can be
// sent on and arrives as the same.
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

// FuzzHello does the same for both halves of a greeting.
func FuzzHello(f *testing.F) {
	for _, h := range goldenHellos {
		f.Add(h.Append(nil))
	}
	for _, w := range goldenWelcomes {
		f.Add(w.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
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
