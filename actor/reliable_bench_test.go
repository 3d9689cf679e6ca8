package actor_test

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/ledger/storetest"
	"github.com/tandem-go/tandem/outbox"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// BenchmarkReliable compares a reliable one-way message with Tell and with a Call under a key: within a
// node and over TCP, to one actor and to 64. The time is that of one message, its handler included.
func BenchmarkReliable(b *testing.B) {
	for _, far := range []bool{false, true} {
		for _, actors := range []int{1, 64} {
			for _, verb := range []string{"tell", "reliably", "durably", "keyed-call"} {
				road := "local"
				if far {
					road = "tcp"
				}
				b.Run(fmt.Sprintf("%s/%d/%s", road, actors, verb), func(b *testing.B) { benchmarkReliable(b, far, actors, verb) })
			}
		}
	}
}

func benchmarkReliable(b *testing.B, far bool, actors int, verb string) {
	var n atomic.Int64
	kind := actor.Define("test.counter", func() *atomic.Int64 { return &n },
		actor.Handle(func(n *atomic.Int64, _ *actor.Context, m Entry) error { n.Add(1); return nil }),
		actor.Answer(func(n *atomic.Int64, _ *actor.Context, m Count) (int, error) { return int(n.Add(1)), nil }))
	reg, box := static.New(), outbox.Config{Messages: 4096, TargetMessages: 4096, Policy: outbox.Wait}
	cfg := actor.Config{Name: "a", Logger: quiet, Outbox: box, RPC: rpc.Limits{KeyLife: 1, KeyBytes: 1 << 30, MemoryBytes: 4 << 30}}
	if verb == "durably" {
		cfg.Outbox.Durable, cfg.Store = true, new(storetest.Memory)
	}
	if far {
		cfg.Registry, cfg.Transports = reg, []transport.Transport{overTCP()}
	}
	a := newSystem(b, cfg)
	at := a
	if far {
		at = newSystem(b, actor.Config{Name: "b", Logger: quiet, Registry: reg, Transports: []transport.Transport{overTCP()}, RPC: cfg.RPC})
	}
	refs := make([]actor.Ref, actors)
	for i := range refs {
		refs[i] = a.Ref(spawn(b, at, strconv.Itoa(i), kind).String())
	}
	b.ReportAllocs()
	b.ResetTimer()
	if verb == "keyed-call" {
		b.SetParallelism(actors)
		var next atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				i := next.Add(1)
				if _, err := actor.Call(b.Context(), refs[int(i)%actors], Count{}, rpc.Key(strconv.FormatInt(i, 10))); err != nil {
					b.Error(err)
				}
			}
		})
		return
	}
	for i := range b.N {
		var err error
		switch {
		case verb == "tell":
			err = actor.Tell(b.Context(), refs[i%actors], Entry{1})
		default:
			err = actor.TellReliably(b.Context(), refs[i%actors], Entry{1})
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	awaitCount(&n, int64(b.N))
}
