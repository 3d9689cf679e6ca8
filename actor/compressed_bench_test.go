//go:build unix

package actor_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/compress"
)

// jsonOf returns n bytes of JSON, as services exchange them.
func jsonOf(n int) string {
	random := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for enc := json.NewEncoder(&b); b.Len() < n; {
		_ = enc.Encode(map[string]any{"id": random.Uint64(), "customer": fmt.Sprintf("customer-%d", random.IntN(5000)), "amount": random.IntN(100_000),
			"currency": "EUR", "status": []string{"open", "paid", "sent"}[random.IntN(3)], "note": "deliver to the door of the neighbours"})
	}
	return b.String()[:n]
}

// BenchmarkCompressed is the table of docs/performance.md: a call over TCP whose request and reply have the
// same text. "wire-B/op" is the bytes of both bodies on the way, and "cpu-ns/op" the time of processors in
// both nodes, which are in this process.
func BenchmarkCompressed(b *testing.B) {
	random := make([]byte, 10<<20)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(random)
	for _, size := range []int{1 << 10, 100 << 10, 10 << 20} {
		for content, text := range map[string]string{"json": jsonOf(size), "random": string(random[:size])} {
			for name, algorithm := range map[string]transport.Algorithm{"off": 0, "s2": transport.S2, "zstd": transport.Zstd} {
				b.Run(fmt.Sprintf("%s/%d/%s", content, size, name), func(b *testing.B) { benchmarkCompressed(b, text, algorithm) })
			}
		}
	}
}

// weighed is a Compressor that adds up what is sent.
type weighed struct {
	*compress.Compressor
	sent int
}

func (w *weighed) Pack(codec uint8, typeID uint64, body []byte) *transport.Packed {
	p := w.Compressor.Pack(codec, typeID, body)
	if p == nil {
		w.sent += len(body)
	} else {
		w.sent += len(p.Blocks)
	}
	return p
}

func benchmarkCompressed(b *testing.B, text string, algorithm transport.Algorithm) {
	reg := static.New()
	ours, theirs := actor.Config{Name: "a", Transports: []transport.Transport{overTCP()}, Registry: reg, Logger: quiet}, actor.Config{Name: "b", Transports: []transport.Transport{overTCP()}, Registry: reg, Logger: quiet}
	var weights []*weighed
	if algorithm != 0 {
		for range 2 {
			weights = append(weights, &weighed{Compressor: compress.New(compress.Config{Algorithm: algorithm})})
		}
		ours.Compression, theirs.Compression = weights[0], weights[1]
	}
	sys, other := newSystem(b, ours), newSystem(b, theirs)
	kind := actor.Define("bench.pager", func() *pager { return new(pager) }, actor.Answer((*pager).Mirror))
	if _, err := other.Spawn("book", kind); err != nil {
		b.Fatal(err)
	}
	ref := sys.Ref("book@b")
	call := func() {
		if got, err := actor.Call(b.Context(), ref, Mirror{Text: text}); err != nil || len(got) != len(text) {
			b.Fatal(len(got), err)
		}
	}
	call()
	for _, w := range weights {
		w.sent = 0
	}
	b.SetBytes(int64(2 * len(text)))
	b.ReportAllocs()
	before := processors(b)
	for b.Loop() {
		call()
	}
	b.ReportMetric(float64((processors(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
	sent := 2 * len(text) * b.N
	if len(weights) > 0 {
		sent = weights[0].sent + weights[1].sent
	}
	b.ReportMetric(float64(sent)/float64(b.N), "wire-B/op")
}

// processors returns the time of processors that this process has used.
func processors(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
