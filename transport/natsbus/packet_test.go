package natsbus

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/tandem-go/tandem/transport"
)

func TestPacketBytes(t *testing.T) {
	id := linkID{0xA0, 15: 0xAF}
	const tagHex = "000102030405060708090a0b0c0d0e0f"
	tag, err := hex.DecodeString(tagHex)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		p    packet
		want string
	}{
		{packet{kind: packetOpen, fromDialler: true, link: id, payload: []byte("hi")}, "0181a0000000000000000000000000000" + "0af6869"},
		{packet{kind: packetWelcome, link: id, payload: []byte("ho"), tag: tag}, "0102a0000000000000000000000000000" + "0af686f" + tagHex},
		{packet{kind: packetData, fromDialler: true, link: id, number: 258, payload: []byte{0, 0, 0, 0}, tag: tag}, "0183a0000000000000000000000000000" + "0af000000000000010200000000" + tagHex},
		{packet{kind: packetClose, link: id, payload: []byte("no"), tag: tag}, "0104a0000000000000000000000000000" + "0af6e6f" + tagHex},
		{packet{kind: packetReset, link: id}, "0105a0000000000000000000000000000" + "0af"},
		{packet{kind: packetProbe, link: id}, "0106a0000000000000000000000000000" + "0af"},
		{packet{kind: packetConfirm, fromDialler: true, link: id, tag: tag}, "0187a0000000000000000000000000000" + "0af" + tagHex},
		{packet{kind: packetAsk, link: id, number: 1, tag: tag}, "0108a0000000000000000000000000000" + "0af0000000000000001" + tagHex},
		{packet{kind: packetAnswer, link: id, number: 2, tag: tag}, "0109a0000000000000000000000000000" + "0af0000000000000002" + tagHex},
		{packet{kind: packetRefuse, link: id, payload: []byte("no")}, "010aa0000000000000000000000000000" + "0af6e6f"},
	} {
		b := c.p.append(nil)
		if got := hex.EncodeToString(b); got != c.want {
			t.Errorf("kind %d: %s, want %s", c.p.kind, got, c.want)
		}
		got, err := parsePacket(b)
		if err != nil || got.kind != c.p.kind || got.fromDialler != c.p.fromDialler || got.link != id ||
			got.number != c.p.number || !bytes.Equal(got.payload, c.p.payload) || !bytes.Equal(got.tag, c.p.tag) {
			t.Errorf("kind %d read back as %+v, %v", c.p.kind, got, err)
		}
	}
}

func TestParsePacketRefuses(t *testing.T) {
	good := packet{kind: packetData, payload: []byte("x"), tag: make([]byte, tagSize)}.append(nil)
	change := func(at int, to byte) []byte { b := bytes.Clone(good); b[at] = to; return b }
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"empty":         {nil, transport.ErrProtocol},
		"cut header":    {good[:headerSize-1], transport.ErrProtocol},
		"cut number":    {good[:dataHeaderSize-1], transport.ErrProtocol},
		"cut tag":       {good[:dataRoom-1], transport.ErrProtocol},
		"version":       {change(0, packetVersion+1), transport.ErrVersion},
		"kind 0":        {change(1, fromDialler), transport.ErrProtocol},
		"kind too high": {change(1, byte(packetRefuse)+1), transport.ErrProtocol},
	} {
		if _, err := parsePacket(c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestSplit(t *testing.T) {
	frames := func(sizes ...int) (b []byte) {
		for _, n := range sizes {
			b = append(binary.BigEndian.AppendUint32(b, uint32(n)), make([]byte, n)...)
		}
		return b
	}
	for _, c := range []struct {
		frames []byte
		room   int
		want   int
	}{
		{nil, 10, 0},
		{frames(6), 10, 10},
		{frames(7), 10, 0},
		{frames(6, 6), 10, 10},
		{frames(6, 6), 19, 10},
		{frames(6, 6), 20, 20},
		{frames(0, 0, 7), 18, 8},
		{frames(6, 6, 100), 20, 20},
	} {
		if got := split(c.frames, c.room); got != c.want {
			t.Errorf("%d bytes into %d: %d, want %d", len(c.frames), c.room, got, c.want)
		}
	}
}

func TestSubjects(t *testing.T) {
	s := subjectsOf(transport.Local{Cluster: "c", Node: "n", Epoch: "e"})
	id := linkID{1, 15: 2}
	gone := s.goneLink(id)
	if got, ok := linkOf(gone); !ok || got != id {
		t.Errorf("link of %s: %x, %v", gone, got, ok)
	}
	if node, epoch, ok := s.sender(gone); node != "n" || epoch != "e" || !ok {
		t.Errorf("sender of %s: %q, %q, %v", gone, node, epoch, ok)
	}
	for _, bad := range []string{"", "c.gone.", "c.gone.n", "c.gone.n.e", "c.gone..e.x", "c.gone.n.>.x", "d.gone.n.e.x", "$SYS.REQ.n.e.x"} {
		if node, epoch, ok := s.sender(bad); ok {
			t.Errorf("sender of %q: %q, %q", bad, node, epoch)
		}
	}
	for _, bad := range []string{"", "c.gone.n.e.", "c.gone.n.e.00", gone + "0", gone[:len(gone)-1] + "g"} {
		if _, ok := linkOf(bad); ok {
			t.Errorf("link of %q", bad)
		}
	}
}

// FuzzPacket parses hostile packets in the same way as the callbacks and deliver do.
func FuzzPacket(f *testing.F) {
	tell, err := (&transport.Envelope{Verb: transport.VerbTell, Target: "x", Body: []byte("body")}).Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	framed := append(binary.BigEndian.AppendUint32(nil, uint32(len(tell))), tell...)
	local := transport.Local{Cluster: "c", Node: "n", Epoch: "e"}
	f.Add(packet{kind: packetData, number: 1, payload: append(framed, framed...)}.append(nil), "c.gone.n.e.00")
	f.Add(packet{kind: packetOpen, payload: transport.Greet(local, transport.Endpoint{Node: "m"}).Append(nil)}.append(nil), "")
	f.Add(packet{kind: packetWelcome, payload: transport.Answer(local, transport.Hello{}).Append(nil)}.append(nil), "")
	f.Fuzz(func(t *testing.T, b []byte, reply string) {
		subjectsOf(local).sender(reply)
		linkOf(reply)
		p, err := parsePacket(b)
		if err != nil {
			return
		}
		if again := p.append(nil); !bytes.Equal(again, b) {
			t.Fatalf("read and written again: %x, was %x", again, b)
		}
		switch p.kind {
		case packetOpen:
			transport.ParseHello(p.payload)
		case packetWelcome:
			transport.ParseWelcome(p.payload)
		case packetData:
			var e transport.Envelope
			for rest := p.payload; len(rest) > 0; {
				envelope, next, err := nextFrame(rest, transport.MaxFrame)
				if err != nil {
					return
				}
				if len(next) >= len(rest) {
					t.Fatal("no progress")
				}
				rest = next
				e.Parse(envelope)
			}
			for rest := p.payload; len(rest) > 0; {
				n := split(rest, 64)
				if n == 0 {
					return
				}
				rest = rest[n:]
			}
		}
	})
}
