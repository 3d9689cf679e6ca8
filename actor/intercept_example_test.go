package actor_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/intercept"
	"github.com/tandem-go/tandem/rpc"
)

// Greeting is a question that the examples of interceptors send.
type Greeting struct {
	actor.Returns[string]
	Name string
}

// greeter answers a Greeting for the tenant that its sender belongs to.
type greeter struct{}

type tenantKey struct{}

func (greeter) Greet(ctx *actor.Context, m Greeting) (string, error) {
	return fmt.Sprintf("hello %s of %v", m.Name, ctx.Value(tenantKey{})), nil
}

// The sender's interceptor adds a header; that of the receiving side checks it and puts it into
// the handler's context.
func ExampleIncoming() {
	add := func(ctx context.Context, op *intercept.Operation, next func(context.Context) error) error {
		if tenant, ok := ctx.Value(tenantKey{}).(string); ok {
			op.SetHeader("tenant", tenant)
		}
		return next(ctx)
	}
	read := func(ctx context.Context, op *intercept.Operation, next func(context.Context) error) error {
		tenant := op.Header("tenant")
		if tenant == "" {
			return rpc.Errorf(rpc.Denied, rpc.NotRun, "a message without a tenant")
		}
		return next(context.WithValue(ctx, tenantKey{}, tenant))
	}
	kind := actor.Define("example.greeter", func() greeter { return greeter{} }, actor.Answer(greeter.Greet)).With(actor.Incoming(read))
	sys, err := actor.NewSystem(actor.Config{Logger: slog.New(slog.DiscardHandler), Outgoing: []intercept.Func{add}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sys.Shutdown(context.Background())
	ref, err := sys.Spawn("greeter", kind)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.WithValue(context.Background(), tenantKey{}, "acme")
	fmt.Println(actor.Call(ctx, ref, Greeting{Name: "ann"}))
	_, err = actor.Call(context.Background(), ref, Greeting{Name: "bob"})
	fmt.Println(errors.Is(err, rpc.Denied), rpc.Ran(err))
	// Output:
	// hello ann of acme <nil>
	// true not run
}

// An interceptor of the sender counts what leaves, and refuses what must not.
func ExampleConfig_outgoing() {
	sent := map[string]int{} // safe here, because only this goroutine sends
	count := func(ctx context.Context, op *intercept.Operation, next func(context.Context) error) error {
		err := next(ctx)
		sent[fmt.Sprintf("%v to %s: %v", op.Op, op.To(), op.Verdict)]++
		return err
	}
	noTells := func(ctx context.Context, op *intercept.Operation, next func(context.Context) error) error {
		if op.Op == access.Send {
			return errors.New("nothing is sent one-way here")
		}
		return next(ctx)
	}
	sys, err := actor.NewSystem(actor.Config{Logger: slog.New(slog.DiscardHandler), Outgoing: []intercept.Func{count, noTells}})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	defer sys.Shutdown(ctx)
	ref, err := sys.Spawn("greeter", actor.Define("example.greeter", func() greeter { return greeter{} }, actor.Answer(greeter.Greet)))
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		if _, err := actor.Call(ctx, ref, Greeting{}); err != nil {
			fmt.Println(err)
		}
	}
	err = actor.Tell(ctx, ref, Greeting{})
	fmt.Println(rpc.CodeOf(err), rpc.Ran(err))
	fmt.Println(sent)
	// Output:
	// rpc: denied not run
	// map[call to greeter@local: ran:2 send to greeter@local: not run:1]
}
