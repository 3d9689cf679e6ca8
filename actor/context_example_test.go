package actor_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
)

// WhoAmI is answered with what its handler finds in its context.
type WhoAmI struct{ actor.Returns[string] }

func ExampleContext() {
	kind := actor.Define("example.who", func() int { return 0 },
		actor.Answer(func(_ int, ctx *actor.Context, m WhoAmI) (string, error) {
			_, limited := ctx.Deadline()
			return fmt.Sprintf("%v of %s, from node %s, sender %q, lang %s, deadline %v",
				ctx.Self(), ctx.System().Name(), ctx.Node(), ctx.Sender(), ctx.Header("lang"), limited), nil
		}))
	sys := quietSystem()
	defer sys.Shutdown(context.Background())
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	fmt.Println(actor.Call(ctx, must(sys.Spawn("one", kind)), WhoAmI{}, rpc.WithHeader("lang", "en")))
	// Output: one@local of local, from node local, sender "", lang en, deadline true <nil>
}

// The context of a request ends when its caller gives up.
func ExampleContext_Done() {
	ended := make(chan error)
	kind := actor.Define("example.slow", func() int { return 0 },
		actor.Answer(func(_ int, ctx *actor.Context, m WhoAmI) (string, error) {
			<-ctx.Done()
			ended <- ctx.Err()
			return "", ctx.Err()
		}))
	sys := quietSystem()
	defer sys.Shutdown(context.Background())
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err := actor.Call(ctx, must(sys.Spawn("", kind)), WhoAmI{})
	fmt.Println(rpc.CodeOf(err), rpc.Ran(err))
	fmt.Println(<-ended != nil)
	// Output:
	// rpc: expired unknown
	// true
}

// AfterFunc calls a function when the request ends: here, when its handler has returned.
func ExampleContext_AfterFunc() {
	done := make(chan string)
	kind := actor.Define("example.after", func() int { return 0 },
		actor.Answer(func(_ int, ctx *actor.Context, m WhoAmI) (string, error) {
			ctx.AfterFunc(func() { done <- "cleaned up" })
			return "an answer", nil
		}))
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	fmt.Println(actor.Call(ctx, must(sys.Spawn("", kind)), WhoAmI{}))
	fmt.Println(<-done)
	// Output:
	// an answer <nil>
	// cleaned up
}

// An actor that has done its work ends itself.
func ExampleContext_Stop() {
	kind := actor.Define("example.once", func() int { return 0 },
		actor.Answer(func(_ int, ctx *actor.Context, m WhoAmI) (string, error) {
			ctx.Stop()
			return ctx.Self().Name(), nil
		}))
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	ref := must(sys.Spawn("once", kind))
	fmt.Println(actor.Call(ctx, ref, WhoAmI{}))
	_, err := actor.Call(ctx, ref, WhoAmI{})
	fmt.Println(rpc.Ran(err))
	// Output:
	// once <nil>
	// not run
}

// Handlers find the trace that a message was sent under, and pass it on with what they send.
func ExampleContext_Trace() {
	kind := actor.Define("example.traced", func() int { return 0 },
		actor.Answer(func(_ int, ctx *actor.Context, m WhoAmI) (string, error) {
			t := ctx.Trace()
			return fmt.Sprintf("trace %d", t[1]), nil
		}))
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	traced := rpc.WithTrace(ctx, rpc.Trace{1: 7})
	fmt.Println(actor.Call(traced, must(sys.Spawn("", kind)), WhoAmI{}))
	// Output: trace 7 <nil>
}

// Echoer takes messages of any type. It answers requests and ignores the rest.
type Echoer struct{}

func (Echoer) Receive(ctx *actor.Context) error {
	switch m := ctx.Message().(type) {
	case Greet:
		return ctx.Reply("you said " + m.Name)
	default:
		return nil
	}
}

// Accepts lists the types that other nodes may send, because they have to be decoded.
func ExampleReceiver() {
	kind := actor.Define("example.echoer", func() Echoer { return Echoer{} },
		actor.Accepts[Echoer, Greet]())
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	fmt.Println(actor.Call(ctx, must(sys.Spawn("", kind)), Greet{Name: "hi"}))
	// Output: you said hi <nil>
}

// The handler returns at once, and the actor handles other messages. The answer comes from
// a goroutine.
func ExampleDefer() {
	kind := actor.Define("example.later", func() int { return 0 },
		actor.Answer(func(_ int, ctx *actor.Context, m Greet) (string, error) {
			later := actor.Defer[string](ctx)
			go func() {
				var err error
				switch m.Name {
				case "":
					err = later.Fail(ErrNobody) // as a handler that returns an error
				case "stranger":
					err = later.Refuse(rpc.Overloaded, nil) // it did not run
				default:
					err = later.Answer("hello, " + m.Name)
				}
				if err != nil {
					log.Print(err) // the caller has given up
				}
			}()
			return "", nil // does not count
		}))
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	ref := must(sys.Spawn("", kind))
	fmt.Println(actor.Call(ctx, ref, Greet{Name: "ann"}))
	_, err := actor.Call(ctx, ref, Greet{})
	fmt.Println(err, rpc.Ran(err))
	_, err = actor.Call(ctx, ref, Greet{Name: "stranger"})
	fmt.Println(rpc.CodeOf(err), rpc.Ran(err))
	// Output:
	// hello, ann <nil>
	// there is nobody to greet ran
	// rpc: overloaded not run
}

type (
	// Welcome has the host ask the greeter.
	Welcome struct{ Name string }
	// welcomed is what the greeter has answered.
	welcomed struct {
		text string
		err  error
	}
)

// A handler that needs a reply does not wait for it: it comes back as a message, which
// another handler of the same actor takes.
func ExamplePipe() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	greeter := must(sys.Spawn("greeter", GreeterKind))
	done := make(chan welcomed)
	kind := actor.Define("example.host", func() int { return 0 },
		actor.Handle(func(_ int, ctx *actor.Context, m Welcome) error {
			// Detached outlives this handler, which returns before the reply comes.
			reply := actor.Ask(ctx.Detached(), greeter, Greet{Name: m.Name})
			actor.Pipe(ctx, reply, func(text string, err error) welcomed { return welcomed{text, err} })
			return nil
		}),
		actor.Handle(func(_ int, ctx *actor.Context, m welcomed) error { done <- m; return nil }))
	if err := actor.Tell(ctx, must(sys.Spawn("host", kind)), Welcome{Name: "ann"}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-done)
	// Output: {hello, ann <nil>}
}

// A full mailbox that refuses: the sender learns it at once, and the message did not run.
func ExampleMailbox() {
	started, gate := make(chan bool, 2), make(chan bool)
	kind := actor.Define("example.busy", func() int { return 0 },
		actor.Answer(func(_ int, ctx *actor.Context, m WhoAmI) (string, error) {
			started <- true
			<-gate
			return "done", nil
		}))
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	busy := must(sys.Spawn("busy", kind, actor.Mailbox(mailbox.Config{Capacity: 1, Policy: mailbox.Refuse})))
	first := actor.Ask(ctx, busy, WhoAmI{})
	<-started
	second := actor.Ask(ctx, busy, WhoAmI{}) // it waits in the mailbox
	_, err := actor.Call(ctx, busy, WhoAmI{})
	fmt.Println(rpc.CodeOf(err), rpc.Ran(err))
	close(gate)
	fmt.Println(first.Await(ctx))
	fmt.Println(second.Await(ctx))
	// Output:
	// rpc: overloaded not run
	// done <nil>
	// done <nil>
}
