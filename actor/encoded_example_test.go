package actor_test

import (
	"context"
	"fmt"
	"iter"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc/codec"
)

// Ping and Beats are messages whose Go types the senders of this file do not use.
type (
	Ping struct {
		actor.Returns[string]
		From string
	}
	Beats struct{ actor.Streams[int] }
)

func (Ping) WireName() string  { return "example.Ping" }
func (Beats) WireName() string { return "example.Beats" }

var pingKind = actor.Define("example.pings", func() *Adder { return new(Adder) },
	actor.Answer(func(_ *Adder, _ *actor.Context, m Ping) (string, error) { return "hello, " + m.From, nil }),
	actor.Produce(func(a *Adder, ctx *actor.Context, _ Beats) (iter.Seq2[int, error], error) {
		return a.CountTo(ctx, CountTo{N: 2})
	}))

// ofType is a message in JSON.
func ofType(name, body string) actor.Encoded {
	return actor.Encoded{Type: name, Codec: codec.IDJSON, Body: []byte(body)}
}

func ExampleEncoded_Call() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	pings := must(sys.Spawn("pings", pingKind))
	reply, err := ofType("example.Ping", `{"From": "ann"}`).Call(ctx, pings)
	fmt.Println(string(reply.Body), err)
	// Output: "hello, ann" <nil>
}

func ExampleEncoded_Tell() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	pings := must(sys.Spawn("pings", pingKind))
	fmt.Println(ofType("example.Ping", `{"From": "ann"}`).Tell(ctx, pings)) // it is in the mailbox
	// Output: <nil>
}

func ExampleEncoded_Submit() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	pings := must(sys.Spawn("pings", pingKind))
	token, err := ofType("example.Ping", `{"From": "ann"}`).Submit(ctx, pings)
	if err != nil {
		fmt.Println(err)
		return
	}
	again, err := actor.Redeem[actor.Encoded](sys, token.String()) // perhaps elsewhere
	if err != nil {
		fmt.Println(err)
		return
	}
	reply, err := again.Await(ctx)
	fmt.Println(string(reply.Body), err)
	// Output: "hello, ann" <nil>
}

func ExampleEncoded_Stream() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	pings := must(sys.Spawn("pings", pingKind))
	for item, err := range ofType("example.Beats", `{}`).Stream(ctx, pings) {
		fmt.Println(string(item.Body), err)
	}
	// Output:
	// 1 <nil>
	// 2 <nil>
}
