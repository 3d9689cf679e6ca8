package actor_test

import (
	"context"
	"fmt"
	"log"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/inspect"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Guard is told when the actor that it watches has ended.
type Guard struct{ told chan actor.Terminated }

// OnTerminated handles the end.
func (g *Guard) OnTerminated(_ *actor.Context, m actor.Terminated) error { g.told <- m; return nil }

// Started watches an actor of another node.
func (g *Guard) Started(ctx *actor.Context) error {
	return ctx.Watch(ctx.System().Ref("alice@bank"))
}

func ExampleContext_Watch_otherNode() {
	net, reg := memnet.New(memnet.Config{}), static.New()
	start := func(name string) *actor.System {
		sys, err := actor.NewSystem(actor.Config{Name: name, Registry: reg, Logger: quiet, Transports: []transport.Transport{net.Transport("mem", true)}})
		if err != nil {
			log.Fatal(err)
		}
		return sys
	}
	shop, bank := start("shop"), start("bank")
	defer func() { _ = shop.Shutdown(context.Background()) }()
	if _, err := bank.Spawn("alice", AccountKind); err != nil {
		log.Fatal(err)
	}

	told := make(chan actor.Terminated, 1)
	guard := actor.Define("shop.guard", func() *Guard { return &Guard{told} }, actor.Handle((*Guard).OnTerminated))
	if _, err := shop.Spawn("guard", guard); err != nil {
		log.Fatal(err)
	}
	for a, err := range shop.ActorsOf(context.Background(), "bank", inspect.Filter{Kind: "bank.account"}) {
		fmt.Println(a.Name, a.Stage, err)
	}
	_ = bank.Shutdown(context.Background())
	fmt.Println((<-told).Ref)
	// Output:
	// alice working <nil>
	// alice@bank
}

func ExampleSystem_Inspect() {
	sys, err := actor.NewSystem(actor.Config{Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = sys.Shutdown(context.Background()) }()
	alice, err := sys.Spawn("alice", AccountKind)
	if err != nil {
		log.Fatal(err)
	}
	a, err := sys.Inspect(context.Background(), alice)
	fmt.Println(a.Name, a.Kind, a.Stage, a.Waiting, err)
	for a := range sys.Actors(inspect.Filter{Prefix: "al"}) {
		fmt.Println(a.Name)
	}
	// Output:
	// alice bank.account working 0 <nil>
	// alice
}
