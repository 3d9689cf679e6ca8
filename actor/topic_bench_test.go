package actor_test

import (
	"context"
	"flag"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

var manySubscribers = flag.Int("subscribers", 100_000, "the largest number of subscribers in BenchmarkFanOut")

// counting is a subscriber that counts what all of them get.
type counting struct{ n *atomic.Int64 }

func (c counting) Started(ctx *actor.Context) error              { return ctx.Subscribe(prices) }
func (c counting) OnPrice(ctx *actor.Context, m Price) error     { c.n.Add(1); return nil }
func (c counting) Here(ctx *actor.Context, m Here) (bool, error) { return true, nil }

// Here is answered by a subscriber that has subscribed.
type Here struct{ actor.Returns[bool] }

// countingKind counts in n.
func countingKind(n *atomic.Int64) *actor.Kind {
	return actor.Define("test.counting", func() counting { return counting{n} }, actor.Handle(counting.OnPrice), actor.Answer(counting.Here))
}

func awaitCount(n *atomic.Int64, want int64) {
	for n.Load() < want {
		runtime.Gosched()
	}
}

// BenchmarkFanOut publishes to many subscribers of one node. The time is that of one delivery,
// handlers included.
func BenchmarkFanOut(b *testing.B) {
	for _, subscribers := range []int{1, 1_000, *manySubscribers} {
		b.Run(fmt.Sprint(subscribers), func(b *testing.B) {
			var n atomic.Int64
			sys, kind := newSystem(b, actor.Config{Logger: quiet}), countingKind(&n)
			refs := make([]actor.Ref, subscribers)
			var before, after runtime.MemStats
			for i := range refs {
				refs[i] = spawn(b, sys, fmt.Sprint(i), PuppetKind)
			}
			runtime.GC()
			runtime.ReadMemStats(&before)
			for i := range refs {
				refs[i] = spawn(b, sys, fmt.Sprint("s", i), kind)
			}
			for _, r := range refs {
				if _, err := actor.Call(b.Context(), r, Here{}); err != nil {
					b.Fatal(err)
				}
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			at := euro.Bind(sys)
			b.ReportAllocs()
			b.ResetTimer()
			published := int64(0)
			for range b.N {
				if published++; published%512 == 0 || subscribers > 1_000 { // no mailbox is full
					awaitCount(&n, (published-1)*int64(subscribers))
				}
				if err := actor.Publish(context.Background(), at, Price{"p", 1}); err != nil {
					b.Fatal(err)
				}
			}
			awaitCount(&n, published*int64(subscribers))
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(published)/float64(subscribers), "ns/delivery")
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(subscribers), "B/subscriber")
		})
	}
}

// BenchmarkPublishToThreeNodes publishes to one subscriber on each of three other nodes.
func BenchmarkPublishToThreeNodes(b *testing.B) {
	url := ""
	for name, road := range map[string]func(net *memnet.Network) transport.Transport{
		"memory": func(net *memnet.Network) transport.Transport { return net.Transport("direct", true) },
		"tcp":    func(*memnet.Network) transport.Transport { return overTCP() },
		"nats": func(*memnet.Network) transport.Transport {
			if url == "" {
				url = natsURL(b)
			}
			return overNATS(b, url)
		},
	} {
		b.Run(name, func(b *testing.B) {
			var n atomic.Int64
			reg, net, kind := static.New(), memnet.New(memnet.Config{Seed: 1}), countingKind(&n)
			start := func(name string) *actor.System {
				return newSystem(b, actor.Config{Name: name, Registry: reg, Logger: quiet, Transports: []transport.Transport{road(net)}})
			}
			from := start("from")
			for _, name := range []string{"x", "y", "z"} {
				sys := start(name)
				if _, err := actor.Call(b.Context(), spawn(b, sys, "s", kind), Here{}); err != nil {
					b.Fatal(err)
				}
			}
			at := euro.Bind(from)
			for all, deadline := int64(0), time.Now().Add(10*time.Second); all < 3; { // until all nodes are known
				before := n.Load()
				if err := actor.Publish(context.Background(), at, Price{"p", 1}); err != nil {
					b.Fatal(err)
				}
				for wait := time.Now().Add(50 * time.Millisecond); n.Load() < before+3 && time.Now().Before(wait); {
					runtime.Gosched()
				}
				if all = n.Load() - before; time.Now().After(deadline) {
					b.Fatal("not all nodes are known")
				}
			}
			base, published := n.Load(), int64(0)
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if published++; published%512 == 0 {
					awaitCount(&n, base+(published-1)*3)
				}
				if err := actor.Publish(context.Background(), at, Price{"p", 1}); err != nil {
					b.Fatal(err)
				}
			}
			awaitCount(&n, base+published*3)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(published)/3, "ns/delivery")
		})
	}
}
