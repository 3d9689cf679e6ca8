package compress

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/tandem-go/tandem/transport"
)

// orders returns about n bytes of JSON, as services exchange them.
func orders(n int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for enc := json.NewEncoder(&b); b.Len() < n; {
		_ = enc.Encode(map[string]any{"id": random.Uint64(), "customer": fmt.Sprintf("customer-%d", random.IntN(5000)), "amount": random.IntN(100000),
			"currency": "EUR", "status": []string{"open", "paid", "sent"}[random.IntN(3)], "note": "deliver to the door of the neighbours"})
	}
	return b.Bytes()[:n]
}

// BenchmarkPack compresses and inflates one body, without the pauses after those that did not pay; "ratio" is the size of the body, divided by that of its
// compressed form, 1 where it is sent as it is.
func BenchmarkPack(b *testing.B) {
	for _, size := range []int{1 << 10, 100 << 10, 10 << 20} {
		for _, content := range []struct {
			name string
			body []byte
		}{{"json", orders(size)}, {"random", noise(size)}} {
			for name, a := range map[string]transport.Algorithm{"s2": transport.S2, "zstd": transport.Zstd} {
				c := New(Config{Algorithm: a})
				b.Run(fmt.Sprintf("pack/%s/%d/%s", content.name, size, name), func(b *testing.B) {
					b.SetBytes(int64(size))
					b.ReportAllocs()
					sent := size
					for b.Loop() {
						if blocks := c.pack(content.body); blocks != nil {
							sent = len(blocks)
						}
					}
					b.ReportMetric(float64(size)/float64(sent), "ratio")
				})
				p := c.Pack(1, 2, content.body)
				if p == nil {
					continue
				}
				b.Run(fmt.Sprintf("inflate/%s/%d/%s", content.name, size, name), func(b *testing.B) {
					b.SetBytes(int64(size))
					b.ReportAllocs()
					body := make([]byte, size)
					for b.Loop() {
						if err := inflate(c, a, body, p.Blocks); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}

func inflate(c *Compressor, a transport.Algorithm, body, blocks []byte) error {
	for len(body) > 0 {
		n := int(blocks[0])<<16 | int(blocks[1])<<8 | int(blocks[2])
		size := min(len(body), transport.BlockSize)
		if err := c.Inflate(a, body[:size:size], blocks[3:3+n]); err != nil {
			return err
		}
		body, blocks = body[size:], blocks[3+n:]
	}
	return nil
}
