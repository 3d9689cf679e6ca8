package jetstream_test

import (
	"context"
	"fmt"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/topic/jetstream"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

func ExampleOpen() {
	server, err := embedded.Start(embedded.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Shutdown()
	nc, _ := server.Connect()
	defer nc.Close()
	js, _ := natsjs.New(nc)
	ctx := context.Background()
	store, err := jetstream.Open(ctx, js, jetstream.Config{Cluster: "shop"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	sys, _ := actor.NewSystem(actor.Config{Topics: store})
	defer sys.Shutdown(ctx)
	fmt.Println(actor.Publish(ctx, Orders.Bind(sys).At("orders.eu"), Order{1}), store.Err())
	// Output: <nil> <nil>
}
