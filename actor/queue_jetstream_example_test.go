package actor_test

import (
	"context"
	"fmt"
	"log/slog"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/queue/jetstream"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// A queue whose items are in NATS has the verbs of any other; its items outlive the system.
func ExampleStoredQueueKind() {
	ctx := context.Background()
	check := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	srv, err := embedded.Start(embedded.Config{}) // a real one has a StoreDir
	check(err)
	defer srv.Shutdown()
	nc, err := srv.Connect()
	check(err)
	defer nc.Close()
	js, err := natsjs.New(nc)
	check(err)

	pages, err := jetstream.Open(ctx, js, jetstream.Config{Name: "pages", Logger: slog.New(slog.DiscardHandler)})
	check(err)
	sys, err := actor.NewSystem(actor.Config{Logger: slog.New(slog.DiscardHandler)})
	check(err)
	ref, err := sys.Spawn("pages", actor.StoredQueueKind[Page]("pages", pages))
	check(err)
	check(actor.Push(ctx, ref, Page{"/a"}))
	ds, err := actor.Pull[Page](ctx, ref)
	check(err)
	fmt.Println(ds[0].Message.URL, "ack:", ds[0].Ack(ctx))
	check(sys.Shutdown(ctx))
	// Output: /a ack: <nil>
}
