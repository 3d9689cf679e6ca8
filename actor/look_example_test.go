package actor_test

import (
	"context"
	"fmt"
	"log"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// What a node knows of the others, and what it has beside its actors.
func ExampleSystem_Members() {
	net, reg := memnet.New(memnet.Config{}), static.New()
	start := func(name string) *actor.System {
		sys, err := actor.NewSystem(actor.Config{Name: name, Registry: reg, Logger: quiet, Transports: []transport.Transport{net.Transport("mem", true)}})
		if err != nil {
			log.Fatal(err)
		}
		return sys
	}
	bank := start("bank")
	if _, err := bank.Spawn("alice", AccountKind, actor.Expose("accounts")); err != nil {
		log.Fatal(err)
	}
	shop := start("shop")
	defer func() { _ = bank.Shutdown(context.Background()); _ = shop.Shutdown(context.Background()) }()
	ctx := context.Background()
	if _, err := actor.Call(ctx, shop.Service("accounts"), Balance{}); err != nil {
		log.Fatal(err)
	}
	if _, err := actor.Submit(ctx, shop.Ref("alice@bank"), Balance{}); err != nil {
		log.Fatal(err)
	}

	for _, m := range shop.Members() {
		fmt.Println(m.Name, m.Services)
	}
	for _, p := range shop.Peers() {
		fmt.Println(p.Node, p.Up, p.Road)
	}
	for _, s := range shop.Services() {
		fmt.Println(s.Name, s.Policy, s.Instances[0].Address, s.Instances[0].Ejected)
	}
	for _, s := range bank.Sessions() {
		fmt.Println(s.Node, s.Principal)
	}
	fmt.Println(len(bank.Jobs("", 10)), len(bank.Topics()), bank.KindOf("alice") == AccountKind)
	// Output:
	// bank map[accounts:[alice]]
	// shop map[]
	// bank true mem
	// accounts least loaded alice@bank false
	// shop anonymous
	// 1 0 true
}

// Whoami is answered with who asks.
type Whoami struct{ actor.Returns[string] }

// Porter tells the node's own program from others.
type Porter struct{}

// Whoami says who asks.
func (Porter) Whoami(ctx *actor.Context, _ Whoami) (string, error) {
	if ctx.Local() {
		return "the node itself", nil
	}
	return ctx.Principal(), nil
}

func ExampleContext_Local() {
	sys, err := actor.NewSystem(actor.Config{Name: "a", Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = sys.Shutdown(context.Background()) }()
	ref, err := sys.Spawn("porter", actor.Define("porter", func() Porter { return Porter{} }, actor.Answer(Porter.Whoami)))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(actor.Call(context.Background(), ref, Whoami{}))
	// Output:
	// the node itself <nil>
}

// Wind is what weather stations publish.
type Wind struct{ Speed int }

// WireName is its name on the wire.
func (Wind) WireName() string { return "weather.Wind" }

// Vane hears of wind.
type Vane struct{ heard chan Wind }

// Started subscribes.
func (v Vane) Started(ctx *actor.Context) error {
	return ctx.Subscribe(actor.NewTopic[Wind]("weather.>"))
}

// Wind tells what it has heard.
func (v Vane) Wind(_ *actor.Context, w Wind) error { v.heard <- w; return nil }

// A tool that does not have the Go type publishes a message.
func ExampleEncoded_Publish() {
	sys, err := actor.NewSystem(actor.Config{Name: "a", Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = sys.Shutdown(context.Background()) }()
	heard := make(chan Wind, 1)
	vane, err := sys.Spawn("vane", actor.Define("vane", func() Vane { return Vane{heard} }, actor.Handle(Vane.Wind)))
	if err != nil {
		log.Fatal(err)
	}
	_ = actor.Tell(context.Background(), vane, Wind{Speed: 1}) // it is handled when Started has returned
	<-heard
	m := actor.Encoded{Type: "weather.Wind", Codec: codec.IDJSON, Body: []byte(`{"Speed": 7}`)}
	fmt.Println(m.Publish(context.Background(), sys, "weather.north"))
	fmt.Println((<-heard).Speed)
	// Output:
	// <nil>
	// 7
}
