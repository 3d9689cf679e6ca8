package actor_test

import (
	"context"
	"fmt"
	"time"

	"github.com/tandem-go/tandem/actor"
)

// A reliable message waits for an actor that does not exist yet.
func ExampleTellReliably() {
	ctx := context.Background()
	sys, err := actor.NewSystem(actor.Config{})
	if err != nil {
		panic(err)
	}
	defer sys.Shutdown(ctx)

	alice := sys.Ref("alice@local")
	for _, amount := range []int64{5, 7} {
		if err := actor.TellReliably(ctx, alice, Deposit{amount}, actor.KeepFor(time.Minute)); err != nil {
			fmt.Println("not kept:", err)
		}
	}
	if _, err := sys.Spawn("alice", AccountKind); err != nil {
		panic(err)
	}
	for sys.Stats().Outbox.Waiting > 0 {
		time.Sleep(time.Millisecond)
	}
	balance, err := actor.Call(ctx, alice, Balance{})
	fmt.Println(balance, err)
	// Output: 12 <nil>
}
