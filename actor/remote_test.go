package actor_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/tcp"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func natsURL(t testing.TB) string {
	t.Helper()
	srv, err := embedded.Start(embedded.Config{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Shutdown)
	return srv.URL()
}

func overNATS(t testing.TB, url string) transport.Transport {
	t.Helper()
	nc, err := natsbus.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return natsbus.New(nc, natsbus.Config{})
}

func overTCP() transport.Transport { return tcp.New(tcp.Config{Listen: "127.0.0.1:0"}) }

// pair starts two systems, a and b, over the given roads.
func pair(t testing.TB, roads func() []transport.Transport) (a, b *actor.System) {
	t.Helper()
	reg := static.New()
	a = newSystem(t, actor.Config{Name: "a", Transports: roads(), Registry: reg, Logger: quiet})
	b = newSystem(t, actor.Config{Name: "b", Transports: roads(), Registry: reg, Logger: quiet, Kinds: []*actor.Kind{AccountKind}})
	return a, b
}

func eachRoad(t *testing.T, fn func(t *testing.T, roads func() []transport.Transport)) {
	t.Run("tcp", func(t *testing.T) {
		fn(t, func() []transport.Transport { return []transport.Transport{overTCP()} })
	})
	t.Run("nats", func(t *testing.T) {
		url := natsURL(t)
		fn(t, func() []transport.Transport { return []transport.Transport{overNATS(t, url)} })
	})
	t.Run("both", func(t *testing.T) {
		url := natsURL(t)
		fn(t, func() []transport.Transport { return []transport.Transport{overTCP(), overNATS(t, url)} })
	})
}

func TestRemotePatterns(t *testing.T) {
	eachRoad(t, func(t *testing.T, roads func() []transport.Transport) {
		a, b := pair(t, roads)
		ctx := t.Context()
		if _, err := b.Spawn("alice", AccountKind); err != nil {
			t.Fatal(err)
		}
		ref := a.Ref("alice@b")
		if err := actor.Tell(ctx, ref, Deposit{5}); err != nil {
			t.Fatal(err)
		}
		if err := actor.Tell(ctx, ref, Deposit{6}, rpc.Acked()); err != nil {
			t.Fatal(err)
		}
		if n, err := actor.Call(ctx, ref, Balance{}); n != 11 || err != nil {
			t.Fatalf("balance %d, %v", n, err)
		}
		if n, err := actor.Ask(ctx, ref, Withdraw{Amount: 2}).Await(ctx); n != 9 || err != nil {
			t.Fatalf("withdraw %d, %v", n, err)
		}
		_, err := actor.Call(ctx, ref, Withdraw{Amount: 100})
		if !errors.Is(err, errFunds) || rpc.Ran(err) != rpc.HasRun {
			t.Fatalf("withdraw: %v, ran: %v", err, rpc.Ran(err))
		}
		if _, err := actor.Call(ctx, a.Ref("bob@b"), Balance{}); rpc.CodeOf(err) != rpc.NotFound || rpc.Ran(err) != rpc.NotRun {
			t.Fatalf("unknown actor: %v", err)
		}
		if _, err := actor.Call(ctx, a.Ref("bob@c"), Balance{}); rpc.CodeOf(err) != rpc.NotFound || rpc.Ran(err) != rpc.NotRun {
			t.Fatalf("unknown node: %v", err)
		}
	})
}

func BenchmarkRemote(b *testing.B) {
	url := natsURL(b)
	for _, road := range []struct {
		name string
		make func() []transport.Transport
	}{
		{"tcp", func() []transport.Transport { return []transport.Transport{overTCP()} }},
		{"nats", func() []transport.Transport { return []transport.Transport{overNATS(b, url)} }},
	} {
		for _, callers := range []int{1, 64} {
			b.Run(road.name+"/callers="+map[int]string{1: "1", 64: "64"}[callers], func(b *testing.B) {
				a, sys := pair(b, road.make)
				if _, err := sys.Spawn("alice", AccountKind); err != nil {
					b.Fatal(err)
				}
				ref := a.Ref("alice@b")
				ctx := context.Background()
				b.ReportAllocs()
				b.SetParallelism(max(callers/2, 1))
				if callers == 1 {
					for b.Loop() {
						if _, err := actor.Call(ctx, ref, Balance{}); err != nil {
							b.Fatal(err)
						}
					}
					return
				}
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if _, err := actor.Call(ctx, ref, Balance{}); err != nil {
							b.Fatal(err)
						}
					}
				})
			})
		}
	}
}
