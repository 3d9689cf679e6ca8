package actor_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// What an actor does not handle reaches nobody. The sender does not wait to hear so.
func ExampleSystem_DeadLetters() {
	sys, err := actor.NewSystem(actor.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	defer sys.Shutdown(ctx)
	letters := sys.DeadLetters(ctx)
	ref, err := sys.Spawn("one", pageKind)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := actor.Tell(ctx, ref, 42); err != nil {
		fmt.Println(err)
		return
	}
	d := <-letters
	fmt.Println(d.To, d.Type, rpc.CodeOf(d.Reason), d.Lost)
	// Output: one@local int rpc: unhandled 0
}

// A reader can choose the types of events that it wants.
func ExampleSystem_Events() {
	sys, err := actor.NewSystem(actor.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	defer sys.Shutdown(ctx)
	events := sys.Events(ctx, actor.ActorStopped, rpc.PeerDown, rpc.PeerUp)
	ref, err := sys.Spawn("one", pageKind)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := sys.Stop(ctx, ref); err != nil {
		fmt.Println(err)
	}
	e := <-events
	fmt.Println(e.Type, e.Actor)
	// Output: actor stopped one@local
}
