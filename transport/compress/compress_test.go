package compress

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/tandem-go/tandem/transport"
)

func text(n int) []byte {
	return []byte(strings.Repeat("the quick brown fox jumps over the lazy dog; ", n/45+1)[:n])
}

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

// A body is compressed from the threshold on, and raw bytes only if that is wanted.
func TestThreshold(t *testing.T) {
	for _, a := range []transport.Algorithm{transport.S2, transport.Zstd} {
		for _, threshold := range []int{0, 1, 300, 5000} {
			c := New(Config{Algorithm: a, Threshold: threshold})
			from := threshold
			if from == 0 {
				from = DefaultThreshold
			}
			for _, n := range []int{from - 1, from, from + 1} {
				p := c.Pack(1, 1, text(n))
				if want := n >= from && n > 100; (p != nil) != want { // a text of one byte does not become smaller
					t.Errorf("threshold %d, %d bytes: %v", threshold, n, p != nil)
				}
				if p != nil && p.Algorithm != a {
					t.Errorf("algorithm %d, want %d", p.Algorithm, a)
				}
			}
		}
		if New(Config{Algorithm: a}).Pack(codecRaw, 1, text(5000)) != nil || New(Config{Algorithm: a, Raw: true}).Pack(codecRaw, 1, text(5000)) == nil {
			t.Error("raw bytes are not as Config.Raw says")
		}
	}
}

// What does not save a sixteenth is not sent in compressed form, and a large body is given up after its
// first block.
func TestWorthWhile(t *testing.T) {
	for _, a := range []transport.Algorithm{transport.S2, transport.Zstd} {
		c := New(Config{Algorithm: a})
		for id, size := range []int{1 << 10, 100 << 10, 10 << 20} {
			if c.Pack(1, uint64(id), noise(size)) != nil {
				t.Errorf("%d bytes of noise were compressed", size)
			}
		}
		for percent := range 100 {
			body := append(noise(10_000*(100-percent)/100), text(10_000*percent/100)...)
			p := New(Config{Algorithm: a}).Pack(1, 1, body)
			if p != nil && len(p.Blocks)*16 > len(body)*15 || p == nil && percent >= 50 { // in between the algorithms may not find it
				t.Errorf("%d %% of text: compressed: %v", percent, p != nil)
			}
		}
		if p := c.Pack(1, 50, append(text(transport.BlockSize), noise(20*transport.BlockSize)...)); p != nil {
			t.Errorf("much noise behind a little text: %d bytes", len(p.Blocks))
		}
	}
}

// Messages of a type that does not compress are tried less and less often, and those of others are as
// before.
func TestPays(t *testing.T) {
	var p pays
	var skipped []int
	skips := 0
	for range 1200 {
		if !p.try(5) {
			skips++
			continue
		}
		skipped = append(skipped, skips)
		skips = 0
		p.tried(5, false)
		if !p.try(6) || !p.try(7) {
			t.Fatal("other types suffer")
		}
		p.tried(7, true)
	}
	want := []int{0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 256, 256}
	if len(skipped) < len(want) || !equal(skipped[:len(want)], want) {
		t.Errorf("skipped %v, want %v", skipped, want)
	}
	for !p.try(5) {
	}
	p.tried(5, true) // it pays again
	for range 10 {
		if !p.try(5) {
			t.Fatal("skipped although the latest attempt has paid")
		}
		p.tried(5, true)
	}
	for range 10 { // two types in one slot: the later one takes the place of the other
		p.tried(5, false)
	}
	p.tried(5+64, true)
	if p.try(5) {
		t.Error("another type's success made a type be tried")
	}
	p.tried(5+64, false)
	if !p.try(5) || !p.try(5+64) {
		t.Error("a type that was displaced is skipped")
	}
}

func equal(a, b []int) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return len(a) == len(b)
}

// A Compressor may be used concurrently.
func TestConcurrent(t *testing.T) {
	for _, a := range []transport.Algorithm{transport.S2, transport.Zstd} {
		c := New(Config{Algorithm: a})
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for n := range 30 {
					body := text(2000 + 5000*n + i)
					p := c.Pack(1, uint64(i), body)
					got := make([]byte, len(body))
					size := len(p.Blocks) - 3
					if err := c.Inflate(a, got, p.Blocks[3:3+size]); err != nil || !bytes.Equal(got, body) {
						t.Errorf("%d bytes: %v", len(body), err)
					}
					c.Pack(1, 99, noise(2000))
				}
			})
		}
		all.Wait()
	}
}

// A Config that makes no sense is a programmer's error.
func TestBadConfig(t *testing.T) {
	for _, cfg := range []Config{{Algorithm: 3}, {Threshold: -1}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v was accepted", cfg)
				}
			}()
			New(cfg)
		}()
	}
	if err := New(Config{}).Inflate(9, make([]byte, 5), nil); err == nil {
		t.Error("an unknown algorithm inflates")
	}
}
