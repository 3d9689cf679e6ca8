package admin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"log/slog"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/admin"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// pair is two nodes, each of which lets everybody read: on roads in memory, nobody proves who he is.
func pair() (shop *actor.System, end func()) {
	net, reg, quiet := memnet.New(memnet.Config{}), static.New(), slog.New(slog.DiscardHandler)
	start := func(name string) *actor.System {
		sys, err := actor.NewSystem(actor.Config{Name: name, Registry: reg, Logger: quiet, Transports: []transport.Transport{net.Transport("mem", true)},
			Setup: func(sys *actor.System) error {
				return admin.Open(sys, admin.Config{Read: []string{transport.Anonymous}, Logger: quiet})
			}})
		if err != nil {
			log.Fatal(err)
		}
		return sys
	}
	bank := start("bank")
	if _, err := bank.Spawn("alice", accountKind, actor.Expose("accounts")); err != nil {
		log.Fatal(err)
	}
	shop = start("shop")
	return shop, func() { _ = bank.Shutdown(context.Background()); _ = shop.Shutdown(context.Background()) }
}

func ExampleAll() {
	shop, end := pair()
	defer end()
	for _, a := range admin.All(context.Background(), admin.Of(shop), admin.Actors{Kind: "account"}) {
		fmt.Println(a.Node, len(a.Reply.Actors), a.Err)
	}
	// Output:
	// bank 1 <nil>
	// shop 0 <nil>
}

func ExampleAsk() {
	shop, end := pair()
	defer end()
	ctx, cluster := context.Background(), admin.Of(shop)
	info, err := admin.Ask(ctx, cluster, "bank", admin.Services{Name: "accounts"})
	fmt.Println(info.Services[0].Instances[0].Address, err)
	_, err = admin.Ask(ctx, cluster, "bank", admin.StopActor{Name: "alice"})
	fmt.Println(err)
	fmt.Println(cluster.Nodes(ctx))

	right, _ := admin.RightFor("Actors") // by name, with JSON, as tools do
	answer, err := cluster.AskJSON(ctx, "bank", "Actors", json.RawMessage(`{"Prefix": "nobody"}`))
	fmt.Println(right, string(answer), err)
	// Output:
	// alice@bank <nil>
	// rpc: denied (node bank): anonymous may not operate node bank [not run]
	// [bank shop] <nil>
	// read {"Actors":null,"Next":"","Seen":0} <nil>
}
