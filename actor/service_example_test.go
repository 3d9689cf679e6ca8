package actor_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/balance"
	"github.com/tandem-go/tandem/rpc"
)

// RenderPage is answered by whichever instance of the service gets it.
type RenderPage struct {
	actor.Returns[string]
	Site string
}

type pageRenderer struct{}

func (pageRenderer) Render(ctx *actor.Context, m RenderPage) (string, error) {
	return ctx.Self().Name(), nil
}

var pageKind = actor.Define("example.pages", func() pageRenderer { return pageRenderer{} },
	actor.Answer(pageRenderer.Render))

// A service is any number of actors, on any nodes, that were exposed under one name.
func ExampleSystem_Service() {
	sys, err := actor.NewSystem(actor.Config{Logger: slog.New(slog.DiscardHandler),
		Balance: map[string]balance.Policy{"pages": balance.RoundRobin()}}) // the default is balance.LeastLoaded
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	defer sys.Shutdown(ctx)
	for _, name := range []string{"one", "two", "three"} {
		if _, err := sys.Spawn(name, pageKind, actor.Expose("pages")); err != nil {
			fmt.Println(err)
			return
		}
	}
	served := map[string]int{}
	for range 6 {
		who, err := actor.Call(ctx, sys.Service("pages"), RenderPage{})
		if err != nil {
			fmt.Println(err)
			return
		}
		served[who]++
	}
	fmt.Println(served)

	// All requests for one site go to one instance, which may have it in its cache.
	warm := map[string]bool{}
	for range 6 {
		who, err := actor.Call(ctx, sys.Service("pages"), RenderPage{Site: "a.example"}, rpc.Affinity("a.example"))
		if err != nil {
			fmt.Println(err)
			return
		}
		warm[who] = true
	}
	fmt.Println(len(warm), "instance has a.example")
	// Output:
	// map[one:2 three:2 two:2]
	// 1 instance has a.example
}

// Instance fixes which instance of a service gets what is sent.
func ExampleSystem_Instance() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	must(sys.Spawn("one", pageKind, actor.Expose("pages")))
	ref, err := sys.Instance("pages", "ann")
	fmt.Println(ref.Name(), err)
	_, err = sys.Instance("papers", "")
	fmt.Println(errors.Is(err, rpc.NotFound))
	// Output:
	// one <nil>
	// true
}
