package compress_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/compress"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Two nodes compress what they say to each other; each decides for itself how.
func ExampleNew() {
	net, reg := memnet.New(memnet.Config{}), static.New()
	start := func(name string, c compress.Config) *actor.System {
		sys, err := actor.NewSystem(actor.Config{Name: name, Registry: reg, Transports: []transport.Transport{net.Transport("mem", true)},
			Compression: compress.New(c), Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
		if err != nil {
			panic(err)
		}
		return sys
	}
	here := start("here", compress.Config{})
	there := start("there", compress.Config{Algorithm: transport.Zstd, Threshold: 4 << 10})
	defer here.Shutdown(context.Background())
	defer there.Shutdown(context.Background())
	count := actor.Define("example.count", func() *counter { return nil }, actor.Answer((*counter).Count))
	if _, err := there.Spawn("counter", count); err != nil {
		fmt.Println(err)
		return
	}
	n, err := actor.Call(context.Background(), here.Ref("counter@there"), Count{Text: strings.Repeat("one two three ", 100_000)})
	fmt.Println(n, err)
	fmt.Println(net.Frames() < 40) // the message as it is would have 43 frames, and as many answers
	// Output:
	// 1400000 <nil>
	// true
}

type Count struct {
	actor.Returns[int]
	Text string
}

type counter struct{}

func (*counter) Count(_ *actor.Context, m Count) (int, error) { return len(m.Text), nil }

// A body that is large enough, and that becomes smaller by a sixteenth, is sent in compressed form.
func ExampleCompressor_Pack() {
	c := compress.New(compress.Config{Algorithm: transport.Zstd})
	const json = 2 // a codec
	fmt.Println(c.Pack(json, 1, []byte("short")) != nil)
	body := []byte(strings.Repeat(`{"name":"value"}`, 1000))
	p := c.Pack(json, 1, body)
	fmt.Println(p.Algorithm == c.Packs(), len(p.Blocks)*100 < len(body))
	again := make([]byte, len(body))
	const length = 3 // bytes, before the only block
	err := c.Inflate(p.Algorithm, again, p.Blocks[length:])
	fmt.Println(string(again) == string(body), err, c.Inflates().Has(transport.S2))
	// Output:
	// false
	// true true
	// true <nil> true
}
