package rpc_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Do is a request that runs a function of the example. It stays within a process.
type Do struct {
	actor.Returns[string]
	F func(*actor.Context) (string, error) `msgpack:"-" json:"-"`
}

var doerKind = actor.Define("example.doer", func() int { return 0 },
	actor.Answer(func(_ int, ctx *actor.Context, m Do) (string, error) { return m.F(ctx) }))

// doer starts a system with one actor.
func doer() (*actor.System, actor.Ref) {
	sys, err := actor.NewSystem(actor.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	ref, err := sys.Spawn("doer", doerKind)
	if err != nil {
		panic(err)
	}
	return sys, ref
}

// Visit is answered with how many visits there were.
type Visit struct{ actor.Returns[int] }

// twoNodes starts two nodes with two roads between them. An actor "door" on the second
// runs handle for each visit.
func twoNodes(handle func(ctx *actor.Context, visits int) error) (door actor.Ref, end func()) {
	network, nodes := memnet.New(memnet.Config{}), static.New()
	start := func(name string, setup func(*actor.System) error) *actor.System {
		sys, err := actor.NewSystem(actor.Config{Name: name, Registry: nodes, Setup: setup, Logger: slog.New(slog.DiscardHandler),
			Transports: []transport.Transport{network.Transport("direct", true), network.Transport("bus", false)}})
		if err != nil {
			panic(err)
		}
		return sys
	}
	kind := actor.Define("example.door", func() *int { return new(int) },
		actor.Answer(func(visits *int, ctx *actor.Context, _ Visit) (int, error) {
			*visits++
			return *visits, handle(ctx, *visits)
		}))
	host := start("host", func(sys *actor.System) error { _, err := sys.Spawn("door", kind); return err })
	guest := start("guest", nil)
	return guest.Ref("door@host"), func() {
		_ = guest.Shutdown(context.Background())
		_ = host.Shutdown(context.Background())
	}
}

// With Acked, an error of Tell says whether the message may be in the mailbox.
func ExampleAcked() {
	ctx := context.Background()
	sys, ref := doer()
	defer sys.Shutdown(ctx)
	fmt.Println(actor.Tell(ctx, sys.Ref("nobody"), "hello")) // a dead letter
	err := actor.Tell(ctx, sys.Ref("nobody"), "hello", rpc.Acked())
	fmt.Println(rpc.CodeOf(err), rpc.Ran(err))
	nothing := func(*actor.Context) (string, error) { return "", nil }
	fmt.Println(actor.Tell(ctx, ref, Do{F: nothing}, rpc.Acked()))
	// Output:
	// <nil>
	// rpc: not found not run
	// <nil>
}

// A request under a key runs once, whoever sends it and however often.
func ExampleKey() {
	door, end := twoNodes(func(*actor.Context, int) error { return nil })
	defer end()
	ctx := context.Background()
	fmt.Println(actor.Call(ctx, door, Visit{}, rpc.Key("ann, monday")))
	fmt.Println(actor.Call(ctx, door, Visit{}, rpc.Key("ann, monday"))) // the outcome of the first
	fmt.Println(actor.Call(ctx, door, Visit{}, rpc.Key("ann, tuesday")))
	// Output:
	// 1 <nil>
	// 1 <nil>
	// 2 <nil>
}

// If no answer has come after a millisecond, a second copy is sent over the other road. The
// server runs the request once.
func ExampleHedge() {
	door, end := twoNodes(func(*actor.Context, int) error { time.Sleep(10 * time.Millisecond); return nil })
	defer end()
	fmt.Println(actor.Call(context.Background(), door, Visit{}, rpc.Hedge(time.Millisecond)))
	// Output: 1 <nil>
}

// Without a second attempt, a request that was refused ends at once.
func ExampleWithRetry() {
	ctx := context.Background()
	sys, _ := doer()
	defer sys.Shutdown(ctx)
	_, err := actor.Call(ctx, sys.Ref("doer@nowhere"), Do{}, rpc.WithRetry(rpc.Retry{Attempts: 1}))
	fmt.Println(rpc.CodeOf(err), rpc.Ran(err))
	// Output: rpc: unavailable not run
}

// A request that only reads may run twice. It is then retried also when nobody can know
// whether it ran. Nothing goes wrong here, so it runs once.
func ExampleIdempotent() {
	door, end := twoNodes(func(*actor.Context, int) error { return nil })
	defer end()
	fmt.Println(actor.Call(context.Background(), door, Visit{}, rpc.Idempotent()))
	// Output: 1 <nil>
}

// One message can be sent in another codec than the system's own, with a header.
func ExampleWithCodec() {
	var language atomic.Value
	door, end := twoNodes(func(ctx *actor.Context, _ int) error { language.Store(ctx.Header("lang")); return nil })
	defer end()
	fmt.Println(actor.Call(context.Background(), door, Visit{}, rpc.WithCodec(codec.JSON(codec.Limits{})), rpc.WithHeader("lang", "en")))
	fmt.Println(language.Load())
	// Output:
	// 1 <nil>
	// en
}

// A trace context travels with what is sent under it.
func ExampleWithTrace() {
	var trace atomic.Value
	door, end := twoNodes(func(ctx *actor.Context, _ int) error { trace.Store(rpc.TraceOf(ctx)); return nil })
	defer end()
	ctx := rpc.WithTrace(context.Background(), rpc.Trace{1, 2, 3})
	fmt.Println(actor.Call(ctx, door, Visit{}))
	fmt.Println(trace.Load() == rpc.Trace{1, 2, 3})
	// Output:
	// 1 <nil>
	// true
}

// Without a trace there is the zero Trace.
func ExampleTraceOf() {
	fmt.Println(rpc.TraceOf(context.Background()) == rpc.Trace{})
	// Output: true
}

// The limits of a system are a part of its configuration, actor.Config.RPC.
func ExampleLimits() {
	limits := rpc.Limits{MemoryBytes: 1 << 30}.WithDefaults()
	fmt.Println(limits.MemoryBytes>>20, "MiB,", limits.Window, "requests,", limits.KeyLife)
	// Output: 1024 MiB, 4096 requests, 10m0s
}
