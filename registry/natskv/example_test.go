package natskv_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// A name belongs to one epoch at a time. A system does all of this by itself.
func ExampleNew() {
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
	js, err := jetstream.New(nc)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	reg, err := natskv.New(ctx, js, natskv.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	defer reg.Close()
	events, err := reg.Watch(ctx)
	if err != nil {
		log.Fatal(err)
	}

	fmt.Println(reg.Register(ctx, registry.Node{Name: "till", Epoch: "e1"}))
	e := <-events
	fmt.Println(e.Node.Name, e.Change)
	err = reg.Register(ctx, registry.Node{Name: "till", Epoch: "e2"})
	fmt.Println(errors.Is(err, registry.ErrTaken))

	fmt.Println(reg.Deregister(ctx, "till", "e1", []byte("all is booked")))
	_, err = reg.Lookup(ctx, "till")
	fmt.Println(errors.Is(err, registry.ErrAway))
	d, err := reg.Departed(ctx, "till")
	fmt.Println(d.Epoch, d.Change, string(d.Last), err)
	// Output:
	// <nil>
	// till joined
	// true
	// <nil>
	// true
	// e1 left all is booked <nil>
}
