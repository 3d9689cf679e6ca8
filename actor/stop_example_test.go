package actor_test

import (
	"context"
	"fmt"
	"log"

	"github.com/tandem-go/tandem/actor"
)

// When StopAndWait has returned, the name is free for the next actor.
func ExampleSystem_StopAndWait() {
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
	if err := sys.StopAndWait(ctx, ref); err != nil {
		log.Fatal(err)
	}
	_, err = sys.Spawn("ada", AccountKind)
	fmt.Println(err)
	// Output: <nil>
}
