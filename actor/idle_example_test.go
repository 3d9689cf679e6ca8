package actor_test

import (
	"context"
	"fmt"
	"time"

	"github.com/tandem-go/tandem/actor"
)

// An actor that gets nothing for a while is stopped. Who needs it again gets it with GetOrSpawn.
func ExampleIdle() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	kind := IndexKind.With(actor.Idle(10 * time.Millisecond))
	events := sys.Events(ctx, actor.ActorStopped)
	must(sys.Spawn("index", kind))
	fmt.Println((<-events).Type)
	index := must(sys.GetOrSpawn("index", kind))
	fmt.Println(actor.Call(ctx, index, Lookup{Word: "one"}))
	fmt.Println((<-events).Type)
	// Output:
	// index has started
	// index stops: the actor got no message for a while
	// actor stopped
	// index has started
	// 1 <nil>
	// index stops: the actor got no message for a while
	// actor stopped
}
