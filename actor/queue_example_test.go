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

func ExampleWaitingItems() {
	ctx := context.Background()
	sys, err := actor.NewSystem(actor.Config{})
	if err != nil {
		panic(err)
	}
	pages, err := sys.Spawn("pages", actor.QueueKind[Page]("pages", queue.Config{}))
	if err != nil {
		panic(err)
	}
	check := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	var known bool
	for _, url := range []string{"/a", "/b", "/a", "/c"} {
		check(actor.Push(ctx, pages, Page{url}, actor.PushID(url), actor.Duplicate(&known)))
		fmt.Println(url, "known:", known)
	}
	waiting, err := actor.WaitingItems[Page](ctx, pages, actor.Max(16))
	check(err)
	for _, w := range waiting {
		if w.Message.URL == "/b" {
			fmt.Println("cancel /b:", w.Cancel(ctx))
		}
	}
	n, err := actor.PurgeQueue[Page](ctx, pages)
	fmt.Println("purged:", n, err)
	check(sys.Shutdown(ctx))
	// Output:
	// /a known: false
	// /b known: false
	// /a known: true
	// /c known: false
	// cancel /b: <nil>
	// purged: 2 <nil>
}

func ExamplePauseQueue() {
	ctx := context.Background()
	sys, err := actor.NewSystem(actor.Config{})
	if err != nil {
		panic(err)
	}
	pages, err := sys.Spawn("pages", actor.QueueKind[Page]("pages", queue.Config{}))
	if err != nil {
		panic(err)
	}
	check := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	check(actor.Push(ctx, pages, Page{"/a"}))
	check(actor.PauseQueue[Page](ctx, pages))
	none, err := actor.Pull[Page](ctx, pages, actor.Wait(0))
	check(err)
	fmt.Println("paused:", len(none))
	check(actor.ResumeQueue[Page](ctx, pages))
	for range 2 { // given back without a failure, it is the same attempt
		ds, err := actor.Pull[Page](ctx, pages)
		check(err)
		fmt.Println(ds[0].Message.URL, "attempt", ds[0].Attempt, "release:", ds[0].Release(ctx, 0))
	}
	check(sys.Shutdown(ctx))
	// Output:
	// paused: 0
	// /a attempt 1 release: <nil>
	// /a attempt 1 release: <nil>
}
