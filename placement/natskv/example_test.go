package natskv_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/placement/natskv"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// Of two nodes that want an actor one gets it. When its epoch is gone, the other one takes the actor
// over, under a greater token. Claims that an operator has deleted are not taken for none.
func ExampleOpen() {
	srv, err := embedded.Start(embedded.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Shutdown()
	nc, err := srv.Connect()
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	js, err := natsjs.New(nc)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	cfg := natskv.Config{Cluster: "shop", Logger: slog.New(slog.DiscardHandler)}
	claims, err := natskv.Open(ctx, js, cfg)
	if err != nil {
		log.Fatal(err)
	}

	alice := placement.Key{Kind: "bank.account", ID: "alice"}
	first, err := claims.Create(ctx, alice, placement.Claim{Node: "east", Epoch: "e1", ID: placement.NewID()})
	if err != nil {
		log.Fatal(err)
	}
	west := placement.Claim{Node: "west", Epoch: "w1", ID: placement.NewID()}
	_, err = claims.Create(ctx, alice, west)
	fmt.Println(errors.Is(err, placement.ErrConflict), placement.After(err))
	second, err := claims.Replace(ctx, alice, west, first) // the registry says that e1 is gone
	fmt.Println(second > first, err)
	fmt.Println(claims.Release(ctx, alice, first)) // east wakes up: this is not its claim any more
	held, err := claims.Get(ctx, alice)
	fmt.Println(held.Node, held.Token == second, err)

	if err := js.DeleteStream(ctx, "KV_shop_claims"); err != nil {
		log.Fatal(err)
	}
	_, err = natskv.Open(ctx, js, cfg)
	fmt.Println(errors.Is(err, placement.ErrLost))
	// Output:
	// true read again
	// true <nil>
	// <nil>
	// west true <nil>
	// true
}
