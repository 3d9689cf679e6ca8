package actor_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/placement/memory"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Three nodes host accounts. Whoever asks for Alice's reaches the same one, and nobody has to know
// on which node it is.
func ExampleSystem_Virtual() {
	kind := AccountKind.With(actor.Virtual(), actor.Idle(5*time.Minute))
	network, nodes, claims := memnet.New(memnet.Config{}), static.New(), memory.New() // in earnest: NATS, registry/natskv and placement/natskv
	var systems []*actor.System
	for _, name := range []string{"berlin", "paris", "rome"} {
		sys, err := actor.NewSystem(actor.Config{Name: name, Registry: nodes, Claims: claims, Kinds: []*actor.Kind{kind},
			Transports: []transport.Transport{network.Transport("direct", true)}, Logger: quiet})
		if err != nil {
			log.Fatal(err)
		}
		defer sys.Shutdown(context.Background())
		systems = append(systems, sys)
	}
	for _, sys := range systems {
		alice := sys.Virtual(kind, "alice")
		if err := actor.Tell(context.Background(), alice, Deposit{Amount: 5}); err != nil {
			log.Fatal(err)
		}
		balance, err := actor.Call(context.Background(), alice, Balance{})
		fmt.Println(alice, balance, err)
	}
	// Output:
	// bank.account/alice@~ 5 <nil>
	// bank.account/alice@~ 10 <nil>
	// bank.account/alice@~ 15 <nil>
}

// An activation numbers what it writes elsewhere.
func ExampleContext_FencingToken() {
	kind := actor.Define("numbered", func() struct{} { return struct{}{} },
		actor.Answer(func(_ struct{}, ctx *actor.Context, _ Balance) (int64, error) { return int64(ctx.FencingToken()), nil })).With(actor.Virtual())
	sys, err := actor.NewSystem(actor.Config{Kinds: []*actor.Kind{kind}, Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	defer sys.Shutdown(context.Background())
	token, err := actor.Call(context.Background(), sys.Virtual(kind, "x"), Balance{})
	fmt.Println(token, err)
	// Output: 1 <nil>
}

// A kind is made virtual once, where it is defined. On a single node nothing else is needed.
func ExampleVirtual() {
	kind := AccountKind.With(actor.Virtual())
	sys, err := actor.NewSystem(actor.Config{Kinds: []*actor.Kind{kind}, Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	defer sys.Shutdown(context.Background())
	balance, err := actor.Call(context.Background(), sys.Virtual(kind, "bob"), Balance{})
	fmt.Println(balance, err)
	// Output: 0 <nil>
}
