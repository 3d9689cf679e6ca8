package natsapi_test

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/gateway"
	"github.com/tandem-go/tandem/natsapi"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// Greet is answered with a greeting.
type Greet struct {
	actor.Returns[string]
	Name string
}

// WireName implements codec.Named.
func (Greet) WireName() string { return "hall.Greet" }

// Porter greets.
type Porter struct{ greeted int }

func (p *Porter) greet(ctx *actor.Context, m Greet) (string, error) {
	p.greeted++
	return fmt.Sprintf("good day %s of %s, you are number %d", m.Name, ctx.Principal(), p.greeted), nil
}

// A client that knows plain NATS only sends a request twice, under one key. It runs once.
func ExampleServe() {
	ctx := context.Background()
	srv, err := embedded.Start(embedded.Config{}) // a real one has users, see the package's documentation
	if err != nil {
		panic(err)
	}
	defer srv.Shutdown()
	sys, err := actor.NewSystem(actor.Config{})
	if err != nil {
		panic(err)
	}
	defer sys.Shutdown(ctx)
	porter := actor.Define("porter", func() *Porter { return new(Porter) }, actor.Answer((*Porter).greet))
	ref, err := sys.Spawn("porter", porter)
	if err != nil {
		panic(err)
	}
	table, err := gateway.New(sys, gateway.Actor("porter", ref, porter))
	if err != nil {
		panic(err)
	}
	api, err := natsapi.Serve(ctx, natsapi.Config{
		Table:   table,
		Connect: func(context.Context) (*nats.Conn, error) { return nats.Connect(srv.URL()) },
	})
	if err != nil {
		panic(err)
	}
	defer api.Close(ctx)

	client, err := nats.Connect(srv.URL())
	if err != nil {
		panic(err)
	}
	defer client.Close()
	for range 2 {
		answer, err := client.RequestMsg(&nats.Msg{
			Subject: "tandem.api.desk-3.porter.Greet",
			Header:  nats.Header{"Idempotency-Key": {"5f0a"}},
			Data:    []byte(`{"Name": "Ann"}`),
		}, 10*time.Second)
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s replayed: %q\n", answer.Data, answer.Header.Get("Tandem-Replayed"))
	}
	// Output:
	// "good day Ann of nats:desk-3, you are number 1" replayed: ""
	// "good day Ann of nats:desk-3, you are number 1" replayed: "true"
}

// An id that has dots stands in a subject in escaped form.
func ExampleEscape() {
	fmt.Println("tandem.api.ann.account." + natsapi.Escape("eu.ann") + ".Deposit")
	// Output: tandem.api.ann.account.eu%2Eann.Deposit
}
