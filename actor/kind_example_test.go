package actor_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// With makes a kind with further properties. The one that it was made of stays as it was.
func ExampleKind_With() {
	kind := GreeterKind.With(
		actor.KeptLocal(),                     // no other node can send to its actors
		actor.Retries(rpc.Retry{Attempts: 1})) // what its actors ask of other nodes is not retried
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	fmt.Println(actor.Call(ctx, must(sys.Spawn("greeter", kind)), Greet{Name: "ann"}))
	// Output: hello, ann <nil>
}

// Split is answered with the name of a new actor of the same kind.
type Split struct{ actor.Returns[string] }

type Cell struct{}

// Split cannot name CellKind, whose initialisation names Split.
func (Cell) Split(ctx *actor.Context, m Split) (string, error) {
	ref, err := ctx.System().Spawn(ctx.Self().Name()+"'", actor.KindNamed("example.cell"))
	return ref.Name(), err
}

var CellKind = actor.Define("example.cell", func() Cell { return Cell{} }, actor.Answer(Cell.Split))

func ExampleKindNamed() {
	sys, err := actor.NewSystem(actor.Config{Kinds: []*actor.Kind{CellKind}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer sys.Shutdown(ctx)
	fmt.Println(actor.Call(ctx, must(sys.Spawn("a", CellKind)), Split{}))
	// Output: a' <nil>
}

func ExampleSystem_Stats() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	must(sys.Spawn("greeter", GreeterKind))
	if err := actor.Tell(ctx, sys.Ref("nobody"), Remember{}); err != nil {
		log.Fatal(err)
	}
	st := sys.Stats()
	fmt.Println(st.Actors, "actor,", st.DeadLetters, "dead letter")
	fmt.Println(sys.Name(), sys.Epoch() != "") // the epoch is another one at each start
	// Output:
	// 1 actor, 1 dead letter
	// local true
}

// An instance of a service is any actor that was exposed under the service's name.
func ExampleExpose() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	must(sys.Spawn("one", GreeterKind, actor.Expose("greeters")))
	must(sys.Spawn("two", GreeterKind, actor.Expose("greeters")))
	fmt.Println(actor.Call(ctx, sys.Service("greeters"), Greet{Name: "ann"}))
	// Output: hello, ann <nil>
}

// A system knows more of a kind's messages than the kind: what its codecs call them.
func ExampleSystem_Messages() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	for _, m := range sys.Messages(GreeterKind) {
		fmt.Println(m.Type, m.Reply, m.Asked == nil) // no codec has a form in JSON of its own for it
	}
	// Output:
	// actor_test.Greet string true
	// actor_test.Remember <nil> true
}

// Messages tells what can be sent to the actors of a kind.
func ExampleKind_Messages() {
	for _, m := range AdderKind.Messages() {
		if m.Items != nil && m.Inputs == nil {
			fmt.Println(m.Type, "is answered with a stream of", m.Items, "and needs", m.Op)
		}
	}
	fmt.Println(AdderKind.IsVirtual(), AdderKind.IsStored())
	// Output:
	// actor_test.CountTo is answered with a stream of int and needs stream
	// false false
}
