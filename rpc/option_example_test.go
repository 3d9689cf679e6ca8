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

// Asker is answered with the principal who asks.
type Asker struct{ actor.Returns[string] }

// A gateway sends what its clients ask for on behalf of them. Their keys are theirs alone.
func ExampleOnBehalfOf() {
	ctx, sys := context.Background(), guests()
	defer sys.Shutdown(ctx)
	desk, err := sys.Spawn("desk", actor.Define("example.desk", func() int { return 0 },
		actor.Answer(func(_ int, ctx *actor.Context, _ Asker) (string, error) { return ctx.Principal(), nil })))
	if err != nil {
		fmt.Println(err)
	}
	who, err := actor.Call(ctx, desk, Asker{}, rpc.OnBehalfOf("web:ann"), rpc.Key("order 17"))
	fmt.Println(who, err)
	who, err = actor.Call(ctx, desk, Asker{}, rpc.OnBehalfOf("web:bob"), rpc.Key("order 17"))
	fmt.Println(who, err)
	// Output:
	// web:ann <nil>
	// web:bob <nil>
}

// A Report tells whether an answer is the recorded one of an earlier request under the same key.
func ExampleReportTo() {
	ctx, sys := context.Background(), guests()
	defer sys.Shutdown(ctx)
	for range 2 {
		var r rpc.Report
		who, err := actor.Call(ctx, sys.Ref("two"), Who{}, rpc.Key("order 17"), rpc.ReportTo(&r))
		fmt.Println(who, err, r.Replayed)
	}
	// Output:
	// two <nil> false
	// two <nil> true
}
