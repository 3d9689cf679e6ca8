package actor_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/inspect"
	"github.com/tandem-go/tandem/rpc"
)

// withOrders calls fn with a client and a server that hosts the actor orders.
func withOrders(fn func(ctx context.Context, client *actor.System)) {
	kind := actor.Define("example.orders", func() *Orders { return new(Orders) }, actor.Answer((*Orders).Place))
	ctx, client, start := clientAndServer(kind, func(*actor.Config) {})
	server := start()
	fn(ctx, client)
	if err := errors.Join(client.Shutdown(ctx), server.Shutdown(ctx)); err != nil {
		log.Fatal(err)
	}
}

// A request was refused. The error has its name, by which all nodes are asked what became of it.
func ExampleSystem_WhyAll() {
	withOrders(func(ctx context.Context, client *actor.System) {
		_, err := actor.Call(ctx, client.Ref("nobody@server"), PlaceOrder{})
		var e *rpc.Error
		if !errors.As(err, &e) {
			log.Fatal(err)
		}
		life, err := client.WhyAll(ctx, e.Request.String())
		for _, s := range life.Steps {
			if s.What == inspect.Decided {
				fmt.Println(s.Node, s.Target, s.What, s.Code, s.Ran)
			}
		}
		fmt.Println(len(life.Unasked), err)
	})
	// Output:
	// server nobody decided not found not run
	// 0 <nil>
}

// What this node knows of a request is found by its key, too.
func ExampleSystem_Why() {
	withOrders(func(ctx context.Context, client *actor.System) {
		_, _ = actor.Call(ctx, client.Ref("orders@server"), PlaceOrder{}, rpc.Key("order-17"))
		steps, err := client.Why(ctx, "order-17")
		for _, s := range steps {
			fmt.Println(s.Side, s.What, s.Peer)
		}
		fmt.Println(err)
	})
	// Output:
	// client asked server
	// client sent server
	// client answered server
	// <nil>
}

// Another node is asked what it knows of a request.
func ExampleSystem_WhyOf() {
	withOrders(func(ctx context.Context, client *actor.System) {
		_, _ = actor.Call(ctx, client.Ref("orders@server"), PlaceOrder{}, rpc.Key("order-17"))
		steps, err := client.WhyOf(ctx, "server", "order-17")
		for _, s := range steps[:3] {
			fmt.Println(s.Side, s.What)
		}
		fmt.Println(err)
	})
	// Output:
	// server received
	// server started
	// server decided
	// <nil>
}

// The requests of a node are listed, here those that were refused.
func ExampleSystem_RequestsOf() {
	withOrders(func(ctx context.Context, client *actor.System) {
		_, _ = actor.Call(ctx, client.Ref("orders@server"), PlaceOrder{})
		_, _ = actor.Call(ctx, client.Ref("nobody@server"), PlaceOrder{})
		for r, err := range client.RequestsOf(ctx, "server", inspect.RequestFilter{Unusual: true}) {
			fmt.Println(r.Target, r.Peer, r.Code, err)
		}
		for r := range client.Requests(inspect.RequestFilter{Target: "orders"}) {
			fmt.Println(r.Target, r.Peer, r.Side)
		}
	})
	// Output:
	// nobody client not found <nil>
	// orders server client
}

// A handler logs the name of its request, by which System.Why finds what became of it.
func ExampleContext_RequestID() {
	kind := actor.Define("example.named", func() int { return 0 }, actor.Answer(func(_ int, ctx *actor.Context, _ PlaceOrder) (string, error) {
		return ctx.RequestID().String(), nil
	}))
	ctx, client, start := clientAndServer(kind, func(*actor.Config) {})
	server := start()
	text, _ := actor.Call(ctx, client.Ref("orders@server"), PlaceOrder{})
	id, err := rpc.ParseRequestID(text)
	fmt.Println(id.IsZero(), id.Seq, err)
	_, _ = client.Shutdown(ctx), server.Shutdown(ctx)
	// Output: false 1 <nil>
}
