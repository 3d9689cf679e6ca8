package actor_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandem-go/tandem/actor"
)

// A process that is one node. In main, the context is context.Background(), and the process is asked to
// end by a signal.
func ExampleRun() {
	ctx, asked := context.WithCancel(context.Background())
	err := actor.Run(ctx, actor.Config{
		Logger: quiet,
		Setup: func(s *actor.System) error {
			fmt.Println("node", s.Name(), "starts")
			asked()
			return nil
		},
	})
	fmt.Println(err, actor.ExitCode(err))
	// Output:
	// node local starts
	// <nil> 0
}

// What is wrong with a Config is for whoever wrote it: a service manager need not start it again.
func ExampleExitCode() {
	err := actor.Run(context.Background(), actor.Config{Name: "shop", Weight: -1})
	fmt.Println(errors.Is(err, actor.ErrConfig), actor.ExitCode(err) == actor.ExitConfig)
	// Output: true true
}
