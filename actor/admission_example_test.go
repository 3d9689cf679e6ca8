package actor_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/admission"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Query is a request to an archive.
type Query struct {
	actor.Returns[string]
	Text string
}

// A node that takes two requests of each client at once, and then one a minute. With the default of
// rpc.Retry, the caller would wait for its turn.
func ExampleConfig_admission() {
	net, reg := memnet.New(memnet.Config{}), static.New()
	roads := func() []transport.Transport { return []transport.Transport{net.Transport("direct", true)} }
	server := must(actor.NewSystem(actor.Config{Name: "server", Registry: reg, Transports: roads(), Logger: quiet,
		Admission: admission.Rules{List: []admission.Limit{
			{Name: "each client", Per: admission.PerPrincipal, Rate: 1.0 / 60, Burst: 2},
		}}}))
	client := must(actor.NewSystem(actor.Config{Name: "client", Registry: reg, Transports: roads(), Logger: quiet}))
	archive := actor.Define("example.archive", func() int { return 0 },
		actor.Answer(func(_ int, _ *actor.Context, q Query) (string, error) { return "found " + q.Text, nil }))
	must(server.Spawn("archive", archive))

	ctx := context.Background()
	for range 3 {
		answer, err := actor.Call(ctx, client.Ref("archive@server"), Query{Text: "it"}, rpc.WithRetry(rpc.Retry{Attempts: 1}))
		var e *rpc.Error
		if errors.As(err, &e) {
			fmt.Println(e.Code, e.Verdict, e.RetryAfter.Seconds() > 55)
			continue
		}
		fmt.Println(answer)
	}
	fmt.Println("refused:", server.Stats().Limited)
	_ = client.Shutdown(ctx)
	_ = server.Shutdown(ctx)
	// Output:
	// found it
	// found it
	// rpc: overloaded not run true
	// refused: 1
}

// A sender says which of its messages matter less.
func ExampleOfClass() {
	ctx, sys := context.Background(), quietSystem()
	warm := make(chan struct{})
	kind := actor.Define("example.desk", func() int { return 0 }, actor.Handle(func(_ int, _ *actor.Context, m Skip) error {
		<-warm
		fmt.Println("page", m.Page)
		return nil
	}))
	desk := must(sys.Spawn("desk", kind, actor.Mailbox(mailbox.Config{Fair: true}))) // a mailbox with an order
	_ = actor.Tell(ctx, desk, Skip{1}, actor.OfClass(mailbox.High))
	_ = actor.Tell(ctx, desk, Skip{4}, actor.OfClass(mailbox.Low))
	_ = actor.Tell(ctx, desk, Skip{3})
	_ = actor.Tell(ctx, desk, Skip{2}, actor.OfClass(mailbox.High))
	close(warm)
	_ = sys.Stop(ctx, desk)
	_ = sys.Shutdown(ctx)
	// Unordered output:
	// page 1
	// page 2
	// page 3
	// page 4
}
