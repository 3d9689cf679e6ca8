package natsadmin_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"

	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/admin"
	"github.com/tandem-go/tandem/admin/natsadmin"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// A node whose admin actor is asked by a program that is no node.
func ExampleServe() {
	ctx, quiet := context.Background(), slog.New(slog.DiscardHandler)
	server, err := embedded.Start(embedded.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Shutdown()
	sys, err := actor.NewSystem(actor.Config{Name: "till-1", Logger: quiet, Setup: func(sys *actor.System) error {
		return admin.Open(sys, admin.Config{Read: []string{"nats:ann"}, Logger: quiet})
	}})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = sys.Shutdown(ctx) }()
	api, err := natsadmin.Serve(ctx, sys, natsadmin.Config{Cluster: "shop", Logger: quiet, Connect: func(context.Context) (*nats.Conn, error) { return server.Connect() }})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = api.Close(ctx) }()

	nc, err := server.Connect() // with a real server, as the NATS user ann
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	cluster, err := natsadmin.Connect(nc, natsadmin.Client{Cluster: "shop", User: "ann"})
	if err != nil {
		log.Fatal(err)
	}
	for _, a := range admin.All(ctx, cluster, admin.Actors{Prefix: "adm"}) {
		fmt.Println(a.Node, a.Reply.Actors[0].Name, a.Err)
	}
	// Output:
	// till-1 admin <nil>
}
