package rpc_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// Who is answered with the name of the actor that got it.
type Who struct{ actor.Returns[string] }

var hostKind = actor.Define("example.host", func() int { return 0 },
	actor.Answer(func(_ int, ctx *actor.Context, _ Who) (string, error) { return ctx.Self().Name(), nil }))

// guests starts a system with a service of three instances.
func guests() *actor.System {
	sys, err := actor.NewSystem(actor.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	for _, name := range []string{"one", "two", "three"} {
		if _, err := sys.Spawn(name, hostKind, actor.Expose("hosts")); err != nil {
			panic(err)
		}
	}
	return sys
}

// Requests with one key go to one instance of the service.
func ExampleAffinity() {
	ctx, sys := context.Background(), guests()
	defer sys.Shutdown(ctx)
	first, err := actor.Call(ctx, sys.Service("hosts"), Who{}, rpc.Affinity("ann"))
	if err != nil {
		fmt.Println(err)
	}
	for range 5 {
		who, err := actor.Call(ctx, sys.Service("hosts"), Who{}, rpc.Affinity("ann"))
		if err != nil || who != first {
			fmt.Println(who, err)
		}
	}
	fmt.Println("ann has always been at one host")
	// Output: ann has always been at one host
}

// A request that cannot be sent within a second is not sent at all.
func ExampleLinkWait() {
	ctx, sys := context.Background(), guests()
	defer sys.Shutdown(ctx)
	who, err := actor.Call(ctx, sys.Ref("two"), Who{}, rpc.LinkWait(time.Second), rpc.WithRetry(rpc.Retry{Attempts: 1}))
	fmt.Println(who, err)
	// Output: two <nil>
}
