package actor_test

import (
	"context"
	"errors"
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

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
