package natsbus

import (
	"bytes"
	"crypto/ecdh"
	"errors"
	"slices"
	"testing"

	"github.com/tandem-go/tandem/transport"
)

// agreed has the sealers of both directions of a link, as each side has computed them.
func agreed(t testing.TB, hides bool) (dialler, answerer [2]*sealer) {
	t.Helper()
	a, b := half{newKey(), newKey()}, half{newKey(), newKey()}
	out, back, err := a.agree(true, b.offer(hides), []byte("open"), []byte("welcome"), "alice", "bob", hides)
	if err != nil {
		t.Fatal(err)
	}
	in, forth, err := b.agree(false, a.offer(hides), []byte("open"), []byte("welcome"), "alice", "bob", hides)
	if err != nil {
		t.Fatal(err)
	}
	return [2]*sealer{out, back}, [2]*sealer{in, forth}
}

// opens reports whether b is a packet with the tag of its sender.
func (s *sealer) opens(b []byte) (packet, bool) {
	b = bytes.Clone(b) // it may be decrypted in place
	p, err := parsePacket(b)
	if err != nil || !p.kind.tagged() {
		return p, false
	}
	ok := s.open(make([]byte, nonceSize), &p, b)
	return p, ok
}

// A tag is valid only for exactly its packet, in its direction and on its link.
func TestTagCoversThePacket(t *testing.T) {
	for _, hides := range []bool{false, true} {
		a, b := agreed(t, hides)
		other, _ := agreed(t, hides)
		for _, kind := range []packetKind{packetWelcome, packetData, packetClose, packetConfirm, packetAsk, packetAnswer} {
			want := packet{kind: kind, fromDialler: true, link: linkID{1}, payload: []byte("body")}
			if kind.numbered() {
				want.number = 7
			}
			good := a[0].seal(nil, make([]byte, nonceSize), want)
			got, ok := b[0].opens(good)
			if !ok || got.kind != kind || got.number != want.number || !bytes.Equal(got.payload, want.payload) {
				t.Fatalf("kind %d, hides %v: %+v, %v", kind, hides, got, ok)
			}
			if private := hides && kind.private(); bytes.Contains(good, want.payload) == private {
				t.Errorf("kind %d, hides %v: %q", kind, hides, good)
			}
			for i := range len(good) * 8 {
				bad := bytes.Clone(good)
				bad[i/8] ^= 1 << (i % 8)
				if _, ok := b[0].opens(bad); ok {
					t.Errorf("kind %d, hides %v: it is good with bit %d changed", kind, hides, i)
				}
			}
			for name, s := range map[string]*sealer{"the other direction": b[1], "another link": other[0]} {
				if _, ok := s.opens(good); ok {
					t.Errorf("kind %d, hides %v: it is good in %s", kind, hides, name)
				}
			}
			for _, bad := range [][]byte{good[:len(good)-1], append(bytes.Clone(good), 0), slices.Insert(bytes.Clone(good), headerSize, 0)} {
				if _, ok := b[0].opens(bad); ok {
					t.Errorf("kind %d, hides %v: it is good with %d bytes instead of %d", kind, hides, len(bad), len(good))
				}
			}
		}
	}
}

// The two sides get different keys if they disagree on anything, or if one of them does not have the
// private half of a key that it named.
func TestAgreement(t *testing.T) {
	a, b := half{newKey(), newKey()}, half{newKey(), newKey()}
	type side struct {
		h             half
		peer          offer
		open, welcome string
		names         [2]string
	}
	seal := func(x side, dials bool) []byte {
		t.Helper()
		s, _, err := x.h.agree(dials, x.peer, []byte(x.open), []byte(x.welcome), x.names[0], x.names[1], false)
		if err != nil {
			t.Fatal(err)
		}
		return s.seal(nil, make([]byte, nonceSize), packet{kind: packetConfirm})
	}
	dialler := side{a, b.offer(false), "open", "welcome", [2]string{"alice", "bob"}}
	answerer := side{b, a.offer(false), "open", "welcome", [2]string{"alice", "bob"}}
	want := seal(dialler, true)
	if got := seal(answerer, false); !bytes.Equal(got, want) {
		t.Fatalf("the sides disagree: %x and %x", got, want)
	}
	for name, change := range map[string]func(*side){
		"open":                        func(x *side) { x.open = "other" },
		"welcome":                     func(x *side) { x.welcome = "other" },
		"the dialler's principal":     func(x *side) { x.names[0] = "mallory" },
		"the other's principal":       func(x *side) { x.names[1] = "mallory" },
		"the own static key":          func(x *side) { x.h.static = newKey() },
		"the own ephemeral key":       func(x *side) { x.h.ephemeral = newKey() },
		"the peer's static key":       func(x *side) { x.peer.static = newKey().PublicKey() },
		"the peer's ephemeral key":    func(x *side) { x.peer.ephemeral = newKey().PublicKey() },
		"the peer's keys, exchanged":  func(x *side) { x.peer.static, x.peer.ephemeral = x.peer.ephemeral, x.peer.static },
		"an ephemeral key for static": func(x *side) { x.h.static = x.h.ephemeral },
	} {
		for i, x := range []side{dialler, answerer} {
			change(&x)
			if got := seal(x, i == 0); bytes.Equal(got, want) {
				t.Errorf("%s: the keys are the same", name)
			}
		}
	}
}

// A key whose shared secret anybody can compute is refused.
func TestKeysOfLowOrder(t *testing.T) {
	h := half{newKey(), newKey()}
	zero, err := ecdh.X25519().NewPublicKey(make([]byte, keySize))
	if err != nil {
		t.Fatal(err)
	}
	fine := h.offer(false)
	for _, o := range []offer{{ephemeral: zero, static: fine.static}, {ephemeral: fine.ephemeral, static: zero}} {
		if _, _, err := h.agree(false, o, nil, nil, "a", "b", false); err == nil {
			t.Error("a key of low order is taken")
		}
	}
}

// Making and checking tags allocates nothing.
func TestSealWithoutAllocation(t *testing.T) {
	for _, hides := range []bool{false, true} {
		a, b := agreed(t, hides)
		buf, payload := make([]byte, 0, 4096), make([]byte, 1000)
		var send, recv [nonceSize]byte
		number := uint64(0)
		if n := testing.AllocsPerRun(100, func() {
			number++
			sealed := a[0].seal(buf[:0], send[:], packet{kind: packetData, number: number, payload: payload})
			p, err := parsePacket(sealed)
			if err != nil || !b[0].open(recv[:], &p, sealed) {
				t.Error("it does not open")
			}
		}); n != 0 {
			t.Errorf("hides %v: %v allocations a packet", hides, n)
		}
	}
}

func TestOffer(t *testing.T) {
	h := half{newKey(), newKey()}
	for _, hides := range []bool{false, true} {
		b := h.offer(hides).append(nil)
		o, rest, err := parseOffer(append(b, "rest"...))
		if err != nil || string(rest) != "rest" || o.hides != hides || !o.static.Equal(h.static.PublicKey()) || !o.ephemeral.Equal(h.ephemeral.PublicKey()) {
			t.Errorf("%+v, %q, %v", o, rest, err)
		}
		if _, _, err := parseOffer(b[:len(b)-1]); !errors.Is(err, transport.ErrProtocol) {
			t.Errorf("a cut offer: %v", err)
		}
	}
	key, err := keyOf(Address(h.static.PublicKey()))
	if err != nil || !key.Equal(h.static.PublicKey()) {
		t.Errorf("read back from an address: %v, %v", key, err)
	}
}

// FuzzSealed gives an end of a link what a hostile bus can make of true packets. It accepts nothing that
// was not sent.
func FuzzSealed(f *testing.F) {
	a, b := agreed(f, false)
	hidingA, hidingB := agreed(f, true)
	sent := map[string]bool{}
	for _, s := range []*sealer{a[0], hidingA[0]} {
		for _, p := range []packet{
			{kind: packetData, fromDialler: true, number: 1, payload: []byte("frames")}, {kind: packetClose, payload: []byte("reason")},
			{kind: packetConfirm}, {kind: packetAsk, number: 1}, {kind: packetAnswer, number: 1},
		} {
			sealed := s.seal(nil, make([]byte, nonceSize), p)
			sent[string(sealed)] = true
			f.Add(sealed, uint16(0), byte(0))
			f.Add(sealed, uint16(len(sealed)-1), byte(1))
		}
	}
	f.Add(half{newKey(), newKey()}.offer(true).append(nil), uint16(3), byte(255))
	f.Fuzz(func(t *testing.T, in []byte, at uint16, flip byte) {
		in = bytes.Clone(in)
		if int(at) < len(in) {
			in[at] ^= flip
		}
		for _, s := range []*sealer{b[0], hidingB[0]} {
			if p, ok := s.opens(in); ok && !sent[string(in)] {
				t.Fatalf("%+v opens, and nobody sent it", p)
			}
		}
		if o, rest, err := parseOffer(in); err == nil {
			if again := o.append(nil); !bytes.Equal(again[1:], in[1:offerSize]) || len(rest) != len(in)-offerSize {
				t.Fatalf("offer read and written again: %x, was %x", again, in)
			}
		}
		if key, err := keyOf(string(in)); err == nil && Address(key) != string(in) {
			t.Fatalf("address %q is also %q", in, Address(key))
		}
	})
}
