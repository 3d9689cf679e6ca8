package actor_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Greet is a request that is answered with a string.
type Greet struct {
	actor.Returns[string]
	Name string
}

// Remember is a one-way message.
type Remember struct{ Name string }

// Greeter is the state of an actor: whom it knows.
type Greeter struct{ known map[string]bool }

var ErrNobody = rpc.NewError("greeter.nobody", "there is nobody to greet")

func (g *Greeter) Remember(ctx *actor.Context, m Remember) error {
	g.known[m.Name] = true
	return nil
}

func (g *Greeter) Greet(ctx *actor.Context, m Greet) (string, error) {
	switch {
	case m.Name == "":
		return "", ErrNobody
	case g.known[m.Name]:
		return "hello again, " + m.Name, nil
	}
	return "hello, " + m.Name, nil
}

// The kind is made once, at the program's start. A handler whose result is not the reply
// that its message declares does not compile.
var GreeterKind = actor.Define("example.greeter", func() *Greeter { return &Greeter{known: map[string]bool{}} },
	actor.Handle((*Greeter).Remember),
	actor.Answer((*Greeter).Greet))

// must returns v, or ends the program: what an example is not about.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// quietSystem starts a system that does not log.
func quietSystem() *actor.System {
	return must(actor.NewSystem(actor.Config{Logger: slog.New(slog.DiscardHandler)}))
}

func ExampleDefine() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	greeter := must(sys.Spawn("greeter", GreeterKind))
	fmt.Println(greeter, GreeterKind.Name())
	// Output: greeter@local example.greeter
}

// A handler of a one-way message answers nothing. An error that it returns is logged and
// counted.
func ExampleHandle() {
	type ping struct{ N int }
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	handled := make(chan int)
	kind := actor.Define("example.ping", func() int { return 0 },
		actor.Handle(func(_ int, ctx *actor.Context, m ping) error { handled <- m.N; return nil }))
	ref := must(sys.Spawn("", kind)) // a name that nobody has
	if err := actor.Tell(ctx, ref, ping{N: 7}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-handled)
	// Output: 7
}

// A handler of a request returns the reply, or an error.
func ExampleAnswer() {
	type double struct {
		actor.Returns[int]
		N int
	}
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	kind := actor.Define("example.double", func() int { return 0 },
		actor.Answer(func(_ int, ctx *actor.Context, m double) (int, error) { return 2 * m.N, nil }))
	n, err := actor.Call(ctx, must(sys.Spawn("", kind)), double{N: 21})
	fmt.Println(n, err)
	// Output: 42 <nil>
}

// Tell does not wait for the message to be handled. Messages of one sender are handled in
// the order in which they were sent.
func ExampleTell() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	greeter := must(sys.Spawn("greeter", GreeterKind))
	err := actor.Tell(ctx, greeter, Remember{Name: "ann"})
	fmt.Println(err, must(actor.Call(ctx, greeter, Greet{Name: "ann"})))

	// Nobody has this name. Without rpc.Acked that is a dead letter, and no error.
	fmt.Println(actor.Tell(ctx, sys.Ref("nobody"), Remember{Name: "ann"}))
	fmt.Println(rpc.CodeOf(actor.Tell(ctx, sys.Ref("nobody"), Remember{Name: "ann"}, rpc.Acked())))
	// Output:
	// <nil> hello again, ann
	// <nil>
	// rpc: not found
}

func ExampleCall() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	greeter := must(sys.Spawn("greeter", GreeterKind))

	reply, err := actor.Call(ctx, greeter, Greet{Name: "ann"})
	fmt.Println(reply, err)

	_, err = actor.Call(ctx, greeter, Greet{})
	fmt.Println(err, errors.Is(err, ErrNobody), rpc.Ran(err)) // the handler ran

	_, err = actor.Call(ctx, sys.Ref("nobody"), Greet{Name: "ann"})
	fmt.Println(rpc.CodeOf(err), rpc.Ran(err)) // it did not run, and never will
	// Output:
	// hello, ann <nil>
	// there is nobody to greet true ran
	// rpc: not found not run
}

// Ask does not wait: several requests are under way at a time.
func ExampleAsk() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	greeter := must(sys.Spawn("greeter", GreeterKind))
	ann := actor.Ask(ctx, greeter, Greet{Name: "ann"})
	bob := actor.Ask(ctx, greeter, Greet{Name: "bob"})
	fmt.Println(must(ann.Await(ctx)))
	fmt.Println(must(bob.Await(ctx)))
	// Output:
	// hello, ann
	// hello, bob
}

// Two nodes in one process, which reach each other over a network in memory. Programs use
// the transports tcp and natsbus, and the registry natskv, in their place.
func ExampleNewSystem() {
	network, nodes := memnet.New(memnet.Config{}), static.New()
	start := func(name string, setup func(*actor.System) error) *actor.System {
		return must(actor.NewSystem(actor.Config{
			Name:       name,
			Transports: []transport.Transport{network.Transport("tcp", true)},
			Registry:   nodes,
			Setup:      setup,
			Logger:     slog.New(slog.DiscardHandler),
		}))
	}
	ctx := context.Background()
	office := start("office", func(sys *actor.System) error {
		_, err := sys.Spawn("greeter", GreeterKind)
		return err
	})
	defer office.Shutdown(ctx)
	home := start("home", nil)
	defer home.Shutdown(ctx)

	fmt.Println(actor.Call(ctx, home.Ref("greeter@office"), Greet{Name: "ann"}))
	// Output: hello, ann <nil>
}

// Shutdown lets actors finish what is in their mailboxes. When its context ends first,
// it hands back what still waits, and says so.
func ExampleSystem_Shutdown() {
	sys := quietSystem()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ref := must(sys.Spawn("greeter", GreeterKind))
	fmt.Println(sys.Shutdown(ctx))
	<-sys.Done()
	fmt.Println(sys.Err())

	_, err := actor.Call(ctx, ref, Greet{Name: "ann"})
	fmt.Println(rpc.Ran(err))
	// Output:
	// <nil>
	// <nil>
	// not run
}

// Refs are values: they can be compared, kept in maps and sent in messages. One that came
// in a message is bound to the system that is to send to it.
func ExampleRef() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	greeter := must(sys.Spawn("greeter", GreeterKind))
	fmt.Println(greeter.Name(), greeter.Node(), greeter == sys.Ref("greeter"), greeter.IsZero())

	var received actor.Ref
	if err := received.UnmarshalText([]byte(greeter.String())); err != nil {
		log.Fatal(err)
	}
	fmt.Println(received.Bound(), received == greeter, received.Equal(greeter))
	_, err := actor.Call(ctx, received, Greet{Name: "ann"})
	fmt.Println(errors.Is(err, actor.ErrUnbound))
	fmt.Println(actor.Call(ctx, sys.Bind(received), Greet{Name: "ann"}))
	// Output:
	// greeter local true false
	// false false true
	// true
	// hello, ann <nil>
}
