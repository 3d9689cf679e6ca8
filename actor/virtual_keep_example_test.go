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

// Sweeper is to run once in the whole cluster, whatever nodes come and go.
type Sweeper struct{}

// Sweep is what a timer tells it.
type Sweep struct{}

func (Sweep) WireName() string { return "example.sweep" }

func (*Sweeper) Started(ctx *actor.Context) error {
	_, err := actor.Every(ctx, time.Hour, Sweep{})
	return err
}

func (*Sweeper) Sweep(*actor.Context, Sweep) error { return nil }

// One node has the sweeper, without a message to it. When that node leaves, another one has it.
func ExampleKeepActive() {
	kind := actor.Define("sweeper", func() *Sweeper { return new(Sweeper) }, actor.Handle((*Sweeper).Sweep)).
		With(actor.Virtual(), actor.KeepActive("main"))
	network, nodes, claims := memnet.New(memnet.Config{}), static.New(), memory.New() // in earnest: NATS, registry/natskv and placement/natskv
	start := func(name string) (*actor.System, <-chan actor.Event) {
		var events <-chan actor.Event
		sys, err := actor.NewSystem(actor.Config{Name: name, Registry: nodes, Claims: claims, Kinds: []*actor.Kind{kind},
			Transports: []transport.Transport{network.Transport("direct", true)}, Logger: quiet,
			Setup: func(sys *actor.System) error {
				events = sys.Events(context.Background(), actor.KeptActive)
				return nil
			}})
		if err != nil {
			log.Fatal(err)
		}
		return sys, events
	}
	berlin, events := start("berlin")
	e := <-events
	fmt.Println(e.Actor, e.Type, "at", e.Peer)
	paris, events := start("paris")
	defer paris.Shutdown(context.Background())
	if err := berlin.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	e = <-events
	fmt.Println(e.Actor, e.Type, "at", e.Peer)
	// Output:
	// sweeper/main@~ kept actor active at berlin
	// sweeper/main@~ kept actor active at paris
}
