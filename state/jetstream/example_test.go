package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/state"
	"github.com/tandem-go/tandem/state/jetstream"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// A record is there for the next process, and a store that an operator has deleted is not taken for
// an empty one.
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
	cfg := jetstream.Config{Cluster: "shop", Logger: slog.New(slog.DiscardHandler)}
	alice := state.Key{Kind: "bank.account", ID: "alice"}

	store, err := jetstream.Open(ctx, js, cfg)
	if err != nil {
		log.Fatal(err)
	}
	if _, err = store.Commit(ctx, alice, state.Record{Token: 1, State: []byte("5 €")}, state.Revision{}); err != nil {
		log.Fatal(err)
	}

	store, err = jetstream.Open(ctx, js, cfg) // in the next process
	if err != nil {
		log.Fatal(err)
	}
	rec, _, err := store.Load(ctx, alice)
	fmt.Println(string(rec.State), err)
	for id, err := range store.Walk(ctx, "bank.account") {
		fmt.Println(id, err)
	}
	fmt.Println(store.Check(ctx))

	if err := js.DeleteStream(ctx, "shop_state"); err != nil {
		log.Fatal(err)
	}
	_, err = jetstream.Open(ctx, js, cfg)
	fmt.Println(errors.Is(err, state.ErrLost))
	// Output:
	// 5 € <nil>
	// alice <nil>
	// <nil>
	// true
}
