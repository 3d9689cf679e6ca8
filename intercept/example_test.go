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

// payment is what an operation is about.
type payment struct{ amount int }

func (p payment) To() string   { return "till@shop" }
func (p payment) Type() string { return "shop.Payment" }
func (p payment) Message() any { return p.amount }
func (p payment) From() string { return "alice@shop" }

// A log line says what every message is about.
func ExampleOperation() {
	line := func(ctx context.Context, op *intercept.Operation, next func(context.Context) error) error {
		err := next(ctx)
		fmt.Println(op.Op, op.Type(), op.Message(), "from", op.From(), "to", op.To()+":", op.Verdict, err)
		return err
	}
	op := intercept.Operation{Side: intercept.Outgoing, Op: access.Call}
	op.About(payment{5})
	intercept.Run(context.Background(), []intercept.Func{line}, &op, func(context.Context) error { return nil })
	// Output: call shop.Payment 5 from alice@shop to till@shop: ran <nil>
}

// till is an Action.
type till struct{ sum int }

func (t *till) Do(context.Context) error { t.sum++; return nil }

// The memory of a Passage and of an Operation serves one message after the other.
func ExamplePassage() {
	var passage intercept.Passage
	op, t := intercept.Operation{Side: intercept.Outgoing, Op: access.Send}, new(till)
	for range 3 {
		op.Reset()
		if err := passage.Run(context.Background(), []intercept.Func{tenant}, &op, t); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(t.sum)
	// Output: 3
}

// An interceptor that has something to say to operators raises an event of the system.
func ExampleOperation_Raise() {
	loud := func(ctx context.Context, op *intercept.Operation, next func(context.Context) error) error {
		err := next(ctx)
		if err != nil {
			op.Raise("payment failed", err)
		}
		return err
	}
	err := intercept.Run(context.Background(), []intercept.Func{loud}, new(intercept.Operation), func(context.Context) error { return nil })
	fmt.Println(err)
	// Output: <nil>
}

// The road that a request has taken, and how often it was sent: here nowhere, because it stayed within the process.
func ExampleOperation_Follow() {
	follow := func(ctx context.Context, op *intercept.Operation, next func(context.Context) error) error {
		op.Follow()
		err := next(ctx)
		for _, s := range op.Steps().Steps {
			fmt.Println(s.At, s.Attempt, s.What, s.Node, s.Road, s.Err)
		}
		fmt.Println(len(op.Steps().Steps), "steps")
		return err
	}
	op := intercept.Operation{Side: intercept.Outgoing, Op: access.Call}
	err := intercept.Run(context.Background(), []intercept.Func{follow}, &op, func(context.Context) error { return nil })
	fmt.Println(err)
	// Output:
	// 0 steps
	// <nil>
}
