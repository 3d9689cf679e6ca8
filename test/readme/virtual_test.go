// What the README says of virtual actors runs.
package main_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	claimskv "github.com/tandem-go/tandem/placement/natskv"
	"github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

type Put struct {
	actor.Returns[int]
	Item string
}

type Basket struct{ items []string }

func (b *Basket) Put(ctx *actor.Context, m Put) (int, error) {
	if !slices.Contains(b.items, m.Item) {
		b.items = append(b.items, m.Item)
	}
	return len(b.items), nil
}

var BasketKind = actor.Define("shop.basket", func() *Basket { return new(Basket) },
	actor.Answer((*Basket).Put)).With(actor.Virtual(), actor.Idle(30*time.Minute))

func put(ctx context.Context, sys *actor.System, customer, item string) (int, error) {
	basket := sys.Virtual(BasketKind, customer) // shop.basket/alice@~, wherever it is
	return actor.Call(ctx, basket, Put{Item: item})
}

func hosting(ctx context.Context, name string, nc *nats.Conn) (*actor.System, error) {
	js, err := natsjs.New(nc)
	if err != nil {
		return nil, err
	}
	nodes, err := natskv.New(ctx, js, natskv.Config{})
	if err != nil {
		return nil, err
	}
	claims, err := claimskv.Open(ctx, js, claimskv.Config{})
	if err != nil {
		return nil, err
	}
	return actor.NewSystem(actor.Config{
		Name:       name,
		Transports: []transport.Transport{natsbus.New(nc, natsbus.Config{})},
		Registry:   nodes,
		Kinds:      []*actor.Kind{BasketKind},
		Claims:     claims,
	})
}

func TestBaskets(t *testing.T) {
	srv, err := embedded.Start(embedded.Config{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Shutdown()
	for i, name := range []string{"a", "b", "c"} {
		nc, err := natsbus.Connect(t.Context(), srv.URL())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		sys, err := hosting(t.Context(), name, nc)
		if err != nil {
			t.Fatal(err)
		}
		defer sys.Shutdown(context.Background())
		if n, err := put(t.Context(), sys, "alice", name); n != i+1 || err != nil {
			t.Errorf("from %s: %d, %v", name, n, err)
		}
	}
}
