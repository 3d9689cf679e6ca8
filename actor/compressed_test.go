package actor_test

import (
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/compress"
	"github.com/tandem-go/tandem/transport/memnet"
)

// The messages of an actor that keeps pages of text.
type (
	Scroll struct{ Text string }
	Turn   struct{ Text string } // one-way
	Turned struct{ actor.Returns[[]string] }
	Mirror struct { // the answer is what was asked
		actor.Returns[string]
		Text string
	}
	Scrolls struct {
		actor.Streams[Scroll]
		Text string
		N    int
	}
)

type pager struct{ turned []string }

func (b *pager) Turn(_ *actor.Context, m Turn) error { b.turned = append(b.turned, m.Text); return nil }
func (b *pager) Turned(*actor.Context, Turned) ([]string, error) {
	t := b.turned
	b.turned = nil
	return t, nil
}
func (b *pager) Mirror(_ *actor.Context, m Mirror) (string, error) { return m.Text, nil }
func (b *pager) Scrolls(_ *actor.Context, m Scrolls) (iter.Seq2[Scroll, error], error) {
	return func(yield func(Scroll, error) bool) {
		for i := range m.N {
			if !yield(Scroll{fmt.Sprint(i, m.Text)}, nil) {
				return
			}
		}
	}, nil
}

// counted is a Compressor that counts what it does.
type counted struct {
	*compress.Compressor
	packed, inflated atomic.Int64
}

func (c *counted) Pack(codec uint8, typeID uint64, body []byte) *transport.Packed {
	p := c.Compressor.Pack(codec, typeID, body)
	if p != nil {
		c.packed.Add(1)
	}
	return p
}

func (c *counted) Inflate(a transport.Algorithm, block, packed []byte) error {
	c.inflated.Add(1)
	return c.Compressor.Inflate(a, block, packed)
}

// Every pattern works with bodies that travel compressed, of all sizes, on every road.
func TestCompressedPatterns(t *testing.T) {
	algorithms := map[string]transport.Algorithm{"s2": transport.S2, "zstd": transport.Zstd}
	try := func(t *testing.T, roads func() []transport.Transport) {
		for name, algorithm := range algorithms {
			t.Run(name, func(t *testing.T) {
				ours, theirs := &counted{Compressor: compress.New(compress.Config{Algorithm: algorithm})}, &counted{Compressor: compress.New(compress.Config{Algorithm: algorithm})}
				reg := static.New()
				compact := name == "s2" // in one of them also without names
				a := newSystem(t, actor.Config{Name: "a", Transports: roads(), Registry: reg, Logger: quiet, Compression: ours, Compact: compact})
				b := newSystem(t, actor.Config{Name: "b", Transports: roads(), Registry: reg, Logger: quiet, Compression: theirs, Compact: compact})
				kind := actor.Define("test.book", func() *pager { return new(pager) }, actor.Handle((*pager).Turn), actor.Answer((*pager).Turned), actor.Answer((*pager).Mirror), actor.Produce((*pager).Scrolls))
				if _, err := b.Spawn("book", kind); err != nil {
					t.Fatal(err)
				}
				if _, err := b.Spawn("pages", actor.QueueKind[Scroll]("test.pages", queue.Config{})); err != nil {
					t.Fatal(err)
				}
				compressedPatterns(t, a.Ref("book@b"), a.Ref("pages@b"), func(t *testing.T, sent, answered bool) {
					t.Helper()
					p, q := ours.packed.Swap(0), theirs.packed.Swap(0)
					in, out := theirs.inflated.Swap(0), ours.inflated.Swap(0)
					if sent && (p == 0 || in == 0) || answered && (q == 0 || out == 0) {
						t.Errorf("a compressed %d and b inflated %d, b compressed %d and a inflated %d", p, in, q, out)
					}
				})
			})
		}
	}
	eachRoad(t, try)
	for _, direct := range []bool{true, false} {
		t.Run(fmt.Sprintf("memnet, direct %v", direct), func(t *testing.T) {
			net := memnet.New(memnet.Config{Seed: 1, PackTells: true})
			try(t, func() []transport.Transport { return []transport.Transport{net.Transport("mem", direct)} })
		})
	}
}

func compressedPatterns(t *testing.T, book, pages actor.Ref, check func(t *testing.T, sent, answered bool)) {
	ctx := t.Context()
	page := strings.Repeat("It was the best of times, it was the worst of times. ", 100)
	for _, size := range []int{100, 5000, 200 << 10, 10 << 20} {
		text := strings.Repeat(page, size/len(page)+1)[:size]
		got, err := actor.Call(ctx, book, Mirror{Text: text})
		if got != text || err != nil {
			t.Errorf("call with %d bytes: %d bytes, %v", size, len(got), err)
		}
		check(t, size > 1000, size > 1000)
		token, err := actor.Submit(ctx, book, Mirror{Text: text})
		if err != nil {
			t.Fatal(err)
		}
		if got, err = token.Await(ctx); got != text || err != nil {
			t.Errorf("job with %d bytes: %d bytes, %v", size, len(got), err)
		}
		check(t, size > 1000, size > 1000)
	}
	var want []string
	for i := range 40 {
		text := fmt.Sprint(i, page[:[]int{50, 600, 1500, 5000}[i%4]])
		want = append(want, text)
		var opts []rpc.Option
		if i%5 == 0 {
			opts = append(opts, rpc.Acked())
		}
		if err := actor.Tell(ctx, book, Turn{text}, opts...); err != nil {
			t.Fatal(err)
		}
	}
	got, err := actor.Call(ctx, book, Turned{})
	if strings.Join(got, "|") != strings.Join(want, "|") || err != nil {
		t.Errorf("told %d messages, %d have arrived, or not in their order: %v", len(want), len(got), err)
	}
	check(t, true, true)
	next := 0
	for p, err := range actor.Stream(ctx, book, Scrolls{Text: page, N: 300}) {
		if err != nil || p.Text != fmt.Sprint(next, page) {
			t.Fatalf("item %d: %d bytes, %v", next, len(p.Text), err)
		}
		next++
	}
	if next != 300 {
		t.Errorf("%d items", next)
	}
	check(t, true, true)
	for i := range 50 {
		if err := actor.Push(ctx, pages, Scroll{fmt.Sprint(i, page)}); err != nil {
			t.Fatal(err)
		}
	}
	check(t, true, false)
	for pulled := 0; pulled < 50; {
		all, err := actor.Pull[Scroll](ctx, pages, actor.Max(20))
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range all {
			if d.Message.Text != fmt.Sprint(pulled, page) {
				t.Errorf("item %d: %d bytes", pulled, len(d.Message.Text))
			}
			pulled++
		}
		if err := actor.AckAll(ctx, all); err != nil {
			t.Fatal(err)
		}
	}
	check(t, false, true)
}
