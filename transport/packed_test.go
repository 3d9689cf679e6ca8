package transport_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/compress"
)

var (
	viaS2   = compress.New(compress.Config{})
	viaZstd = compress.New(compress.Config{Algorithm: transport.Zstd})
)

// text returns n bytes that compress well.
func text(n int) []byte {
	return []byte(strings.Repeat("the quick brown fox jumps over the lazy dog; ", n/45+1)[:n])
}

// noise returns n bytes that do not compress.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

// between returns the queue of a link to a peer that inflates with theirs, nil for one without the
// feature, from a system that compresses with ours.
func between(ours, theirs transport.Compression) *transport.Outbox {
	o := transport.NewOutbox(transport.MaxFrame)
	peer := transport.Greet(transport.Local{Compression: theirs}, transport.Endpoint{})
	o.Agree(transport.Local{Compression: ours}, peer.Terms())
	return o
}

// carry moves everything that is in the queue to the receiver, whose answers to chunks come back, and
// returns how many bytes that were.
func carry(t *testing.T, o *transport.Outbox, a *transport.Assembly, to transport.Receiver) (moved int) {
	t.Helper()
	back := transport.NewOutbox(transport.MaxFrame)
	mine := transport.NewAssembly(transport.DefaultMaxMessage, false)
	for {
		frames, _, _ := o.Take(nil)
		if len(frames) == 0 {
			return moved
		}
		moved += len(frames)
		for _, e := range envelopes(t, frames) {
			if err := a.Deliver(e, back, to); err != nil {
				t.Fatal(err)
			}
		}
		answers, _, _ := back.Take(nil)
		for _, e := range envelopes(t, answers) {
			if err := mine.Deliver(e, o, &purse{}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func envelopes(t *testing.T, frames []byte) (all []*transport.Envelope) {
	t.Helper()
	for len(frames) > 0 {
		n := 4 + int(binary.BigEndian.Uint32(frames))
		e := new(transport.Envelope)
		if err := e.Parse(frames[4:n]); err != nil {
			t.Fatal(err)
		}
		all, frames = append(all, e), frames[n:]
	}
	return all
}

// A body arrives as it was sent, whatever its size and verb; it takes less on the way if it compresses
// and the peer inflates, and exactly what it took before if not.
func TestPackedOnTheWay(t *testing.T) {
	for name, c := range map[string]*compress.Compressor{"s2": viaS2, "zstd": viaZstd} {
		for _, size := range []int{1 << 10, 5000, transport.LargeBody, transport.BlockSize, transport.BlockSize + 1, 10 << 20} {
			for _, verb := range []transport.Verb{transport.VerbRequest, transport.VerbReply, transport.VerbTell} {
				plain := 0
				for _, peer := range []transport.Compression{nil, viaS2} {
					o := between(c, peer)
					o.PackTells()
					p := &purse{limit: 1 << 40}
					a := transport.NewAssembly(transport.DefaultMaxMessage, false)
					a.InflateWith(peer)
					body := text(size)
					e := transport.Envelope{Verb: verb, Codec: 1, Seq: 5, TypeID: 9, Target: "t", Body: body, Packed: c.Pack(1, 9, body)}
					if verb == transport.VerbReply {
						e.Target = ""
					}
					before := e.Clone()
					if _, err := o.Append(&e); err != nil {
						t.Fatal(err)
					}
					if e.Packing != 0 || e.Packed == nil || !bytes.Equal(e.Body, body) {
						t.Fatal("the sender's envelope was changed")
					}
					moved := carry(t, o, a, p)
					if len(p.got) != 1 || !bytes.Equal(p.got[0].Body, body) || p.held != 0 {
						t.Fatalf("%s, %v of %d bytes: %d received, %d bytes held", name, verb, size, len(p.got), p.held)
					}
					got := p.got[0]
					if got.Packing != 0 || got.Size != 0 {
						t.Errorf("the receiver sees how the body travelled: %+v", got)
					}
					got.Owned, before.Packed = false, nil
					if !same(got, before) {
						t.Errorf("%s: changed:\n%+v\n%+v", name, got.Verb, before.Verb)
					}
					if peer == nil {
						plain = moved
					} else if moved > plain/5 {
						t.Errorf("%s, %v of %d bytes: %d on the way, of %d", name, verb, size, moved, plain)
					}
				}
			}
		}
	}
}

// A message that the peer would refuse when it is inflated is not sent in compressed form either.
func TestPackedTooLarge(t *testing.T) {
	o := transport.NewOutbox(transport.MaxFrame)
	o.Agree(transport.Local{Compression: viaS2}, transport.Terms{Largest: 1 << 20, Inflates: viaS2.Inflates()})
	body := text(1 << 20)
	if _, err := o.Append(&transport.Envelope{Verb: transport.VerbRequest, Seq: 1, Body: body, Packed: viaS2.Pack(1, 1, body)}); !errors.Is(err, transport.ErrTooLarge) {
		t.Errorf("%v, want ErrTooLarge", err)
	}
}

// The hello of an older peer on a TCP road ends with four bytes that belong to no field, and that of one
// on a bus has no nonce. Neither says that it inflates anything.
func TestOlderGreetings(t *testing.T) {
	for _, name := range []string{"hello", "hello-large", "hello-nonce", "hello-nonce-alone"} {
		for _, end := range []string{"", "\r\n\r\n"} {
			h, err := transport.ParseHello(append(goldenHellos[name].Append(nil), end...))
			if err != nil || h.Inflates != 0 || !between(viaS2, viaZstd).Packs() {
				t.Errorf("%s%q: inflates %b, %v", name, end, h.Inflates, err)
			}
			o := transport.NewOutbox(transport.MaxFrame)
			o.Agree(transport.Local{Compression: viaS2}, h.Terms())
			if o.Packs() {
				t.Errorf("%s%q: compressed bodies are sent", name, end)
			}
		}
	}
	// A peer that inflates another algorithm only gets bodies as they are.
	o := transport.NewOutbox(transport.MaxFrame)
	o.Agree(transport.Local{Compression: viaS2}, transport.Terms{Largest: 1 << 20, Inflates: transport.AlgorithmsOf(transport.Zstd)})
	if o.Packs() {
		t.Error("S2 for a peer that inflates Zstandard")
	}
	if w := transport.Answer(transport.Local{Cluster: "x", Compression: viaS2}, transport.Hello{MinVersion: 1, MaxVersion: 1, Cluster: "y"}); w.Inflates != 0 || w.Largest != 0 {
		t.Errorf("a refusal says %+v", w.Terms())
	}
}

// Compressed bodies that lie are malformed, which ends the link; nothing is held for them any more.
func TestPackedLies(t *testing.T) {
	body := text(2*transport.BlockSize + 1000)
	blocks := viaS2.Pack(1, 1, body).Blocks
	size := uint64(len(body))
	first := 3 + (int(blocks[0])<<16 | int(blocks[1])<<8 | int(blocks[2]))
	empty := transport.AppendBlock(nil, nil)
	for what, e := range map[string]transport.Envelope{
		"longer than announced":       {Packing: transport.S2, Size: size - 1, Body: blocks},
		"a block longer":              {Packing: transport.S2, Size: size - transport.BlockSize, Body: blocks},
		"shorter than announced":      {Packing: transport.S2, Size: size + 1, Body: blocks},
		"a block shorter":             {Packing: transport.S2, Size: size + transport.BlockSize, Body: blocks},
		"cut":                         {Packing: transport.S2, Size: size, Body: blocks[:len(blocks)-1]},
		"cut behind a block":          {Packing: transport.S2, Size: size, Body: blocks[:first]},
		"cut in a length":             {Packing: transport.S2, Size: size, Body: blocks[:first+2]},
		"more behind the end":         {Packing: transport.S2, Size: size, Body: append(bytes.Clone(blocks), 0)},
		"an empty block":              {Packing: transport.S2, Size: size, Body: append(empty, blocks...)},
		"nothing":                     {Packing: transport.S2, Size: size},
		"a block of the wrong length": {Packing: transport.S2, Size: size, Body: append([]byte{0, 0, 1}, blocks[3:]...)},
		"another algorithm":           {Packing: transport.Zstd, Size: size, Body: blocks},
		"unknown algorithm":           {Packing: 63, Size: size, Body: blocks},
		"an algorithm beyond the set": {Packing: 200, Size: size, Body: blocks},
		"of no bytes":                 {Packing: transport.S2, Size: 0, Body: blocks},
		"noise":                       {Packing: transport.S2, Size: size, Body: transport.AppendBlock(nil, noise(1000))},
		"noise, zstd":                 {Packing: transport.Zstd, Size: size, Body: transport.AppendBlock(nil, noise(1000))},
		"above the limit":             {Packing: transport.S2, Size: 8<<20 + 1, Body: blocks},
		"far above it":                {Packing: transport.Zstd, Size: 1<<64 - 1, Body: blocks},
	} {
		p := &purse{limit: 1 << 40}
		a := transport.NewAssembly(8<<20, false)
		a.InflateWith(viaS2)
		e.Verb, e.Seq, e.Target = transport.VerbRequest, 1, "t"
		if err := a.Deliver(&e, transport.NewOutbox(transport.MaxFrame), p); !errors.Is(err, transport.ErrProtocol) || len(p.got) != 0 || p.held != 0 {
			t.Errorf("%s: %v, %d received, %d bytes held", what, err, len(p.got), p.held)
		}
	}
	a := transport.NewAssembly(8<<20, false)
	e := transport.Envelope{Verb: transport.VerbRequest, Packing: transport.S2, Size: size, Body: blocks}
	if err := a.Deliver(&e, transport.NewOutbox(transport.MaxFrame), &purse{limit: 1 << 40}); !errors.Is(err, transport.ErrProtocol) {
		t.Errorf("to a system that inflates nothing: %v", err)
	}
}

// Only verbs with bodies of the user's may have a compressed one.
func TestPackedVerbs(t *testing.T) {
	for v := transport.VerbOpen; v <= transport.VerbTells; v++ {
		b, err := (&transport.Envelope{Verb: v, Packing: transport.S2, Size: 5}).Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		var e transport.Envelope
		err = e.Parse(b)
		if want := v == transport.VerbRequest || v == transport.VerbReply || v == transport.VerbTell; want != (err == nil) {
			t.Errorf("%v: %v", v, err)
		}
	}
}

// What inflates to much is counted before memory is taken for it. If there is no room, the message comes
// without its body, as a large one that comes in chunks does, and no memory is taken.
func TestPackedBomb(t *testing.T) {
	const size = 32 << 20
	for name, c := range map[string]*compress.Compressor{"s2": viaS2, "zstd": viaZstd} {
		packed := c.Pack(1, 1, make([]byte, size))
		for _, limit := range []int{size, size + len(packed.Blocks)} {
			p := &peak{purse: purse{limit: limit}}
			a := transport.NewAssembly(transport.DefaultMaxMessage, false)
			a.InflateWith(c)
			e := transport.Envelope{Verb: transport.VerbRequest, Seq: 7, Target: "t", Packing: packed.Algorithm, Size: size, Body: packed.Blocks}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if err := a.Deliver(&e, transport.NewOutbox(transport.MaxFrame), p); err != nil {
				t.Fatal(err)
			}
			runtime.ReadMemStats(&after)
			fits := limit > size
			if len(p.got) != 1 || p.got[0].Cut == fits || p.got[0].Seq != 7 || len(p.got[0].Body) != map[bool]int{true: size}[fits] || p.held != 0 {
				t.Fatalf("%s, room for %d: %d received, %d bytes held", name, limit, len(p.got), p.held)
			}
			if took := after.TotalAlloc - before.TotalAlloc; !fits && took > 256<<10 {
				t.Errorf("%s: %d bytes were taken for a message that was refused", name, took)
			}
			if fits && p.most != limit {
				t.Errorf("%s: %d bytes were counted, want %d", name, p.most, limit)
			}
		}
	}
}

// peak is a purse that knows the most bytes that it ever held.
type peak struct {
	purse
	most int
}

func (p *peak) Hold(n int) bool {
	ok := p.purse.Hold(n)
	p.most = max(p.most, p.held)
	return ok
}

// FuzzInflate checks that whatever a peer sends is inflated to what was announced, or refused, and
// that no memory grows with what it announces.
func FuzzInflate(f *testing.F) {
	for _, n := range []int{1 << 10, 5000, transport.BlockSize + 1} {
		f.Add(uint8(transport.S2), uint64(n), viaS2.Pack(1, 1, text(n)).Blocks)
		f.Add(uint8(transport.Zstd), uint64(n), viaZstd.Pack(1, 1, text(n)).Blocks)
	}
	f.Add(uint8(transport.S2), uint64(1<<10), transport.AppendBlock(nil, noise(100)))
	f.Add(uint8(transport.Zstd), uint64(1<<10), transport.AppendBlock(nil, noise(100)))
	f.Fuzz(func(t *testing.T, algorithm uint8, size uint64, blocks []byte) {
		const most = 1 << 20
		p := &purse{limit: most / 2}
		a := transport.NewAssembly(most, false)
		a.InflateWith(viaS2)
		e := transport.Envelope{Verb: transport.VerbTell, Packing: transport.Algorithm(algorithm), Size: size, Body: blocks}
		if e.Packing == 0 {
			return
		}
		err := a.Deliver(&e, transport.NewOutbox(transport.MaxFrame), p)
		switch {
		case p.held != 0:
			t.Fatalf("%d bytes are still held", p.held)
		case err != nil:
			if !errors.Is(err, transport.ErrProtocol) || len(p.got) > 0 {
				t.Fatalf("%v, and %d received", err, len(p.got))
			}
		case len(p.got) != 1 || !p.got[0].Cut && uint64(len(p.got[0].Body)) != size || p.got[0].Cut && len(p.got[0].Body) > 0:
			t.Fatalf("%d received for %d bytes", len(p.got), size)
		}
	})
}
