package actor_test

import (
	"context"
	"fmt"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/queue"
)

type Page struct{ URL string }

func ExamplePull() {
	ctx := context.Background()
	sys, err := actor.NewSystem(actor.Config{})
	if err != nil {
		panic(err)
	}
	pages, err := sys.Spawn("pages", actor.QueueKind[Page]("pages", queue.Config{}))
	if err != nil {
		panic(err)
	}
	for _, url := range []string{"/a", "/b", "/a"} {
		if err := actor.Push(ctx, pages, Page{url}, actor.PushID(url)); err != nil {
			panic(err)
		}
	}
	ds, err := actor.Pull[Page](ctx, pages, actor.Max(16))
	if err != nil {
		panic(err)
	}
	for _, d := range ds {
		fmt.Println(d.Message.URL, "attempt", d.Attempt, "ack:", d.Ack(ctx))
	}
	fmt.Println("again:", ds[0].Ack(ctx))
	if err := sys.Shutdown(ctx); err != nil {
		panic(err)
	}
	// Output:
	// /a attempt 1 ack: <nil>
	// /b attempt 1 ack: <nil>
	// again: the item of this delivery is done
}
