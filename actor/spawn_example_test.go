package actor_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// When Stop has returned, the name is free for the next actor.
func ExampleSystem_Stop() {
	sys, err := actor.NewSystem(actor.Config{Name: "solo"})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer sys.Shutdown(ctx)
	ref, err := sys.Spawn("ada", AccountKind)
	if err != nil {
		log.Fatal(err)
	}
	if err := sys.Stop(ctx, ref); err != nil {
		log.Fatal(err)
	}
	_, err = sys.Spawn("ada", AccountKind)
	fmt.Println(err)
	// Output: <nil>
}

// A name belongs to one live actor.
func ExampleSystem_Spawn() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	_, err := sys.Spawn("greeter", GreeterKind)
	fmt.Println(err)
	_, err = sys.Spawn("greeter", GreeterKind)
	fmt.Println(errors.Is(err, actor.ErrNameTaken))
	// Output:
	// <nil>
	// true
}

// StopNow hands back what waits in the mailbox; here nothing does.
func ExampleSystem_StopNow() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	greeter := must(sys.Spawn("greeter", GreeterKind))
	if err := sys.StopNow(ctx, greeter); err != nil {
		log.Fatal(err)
	}
	_, err := actor.Call(ctx, greeter, Greet{Name: "ann"})
	fmt.Println(rpc.Ran(err))
	// Output: not run
}
