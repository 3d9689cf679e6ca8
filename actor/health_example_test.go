package actor_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/tandem-go/tandem/actor"
)

func ExampleSystem_Health() {
	sys, err := actor.NewSystem(actor.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(sys.Health().Stage, sys.Health().Ready())
	_ = sys.Shutdown(context.Background())
	fmt.Println(sys.Health().Ready())
	// Output:
	// serving <nil>
	// actor: the node is not ready: it is down
}
