package intercept_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/intercept"
	"github.com/tandem-go/tandem/rpc"
)

// tenant adds a header to what is sent, and refuses what has none where it arrives.
func tenant(ctx context.Context, op *intercept.Operation, next func(context.Context) error) error {
	if op.Side == intercept.Outgoing {
		op.SetHeader("tenant", "acme")
	} else if op.Header("tenant") == "" {
		return errors.New("no tenant")
	}
	return next(ctx)
}

// Run is what package actor does with each message.
func ExampleRun() {
	ctx, fns := context.Background(), []intercept.Func{tenant}
	send := func(context.Context) error { return nil }

	sent := intercept.Operation{Side: intercept.Outgoing, Op: access.Send}
	fmt.Println(intercept.Run(ctx, fns, &sent, send))

	arrived := intercept.Operation{Side: intercept.Incoming, Op: access.Send}
	err := intercept.Run(ctx, fns, &arrived, send)
	fmt.Println(rpc.CodeOf(err), rpc.Ran(err))

	sent.Added(func(key, value string) { arrived.Came(key, value) })
	fmt.Println(intercept.Run(ctx, fns, &arrived, send))
	// Output:
	// <nil>
	// rpc: denied not run
	// <nil>
}
