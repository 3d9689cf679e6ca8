package actor_test

import (
	"context"
	"fmt"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
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

// Urgent items come first. A push under a known id adds nothing.
func ExamplePush() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	pages := must(sys.Spawn("pages", actor.QueueKind[Page]("pages", queue.Config{Capacity: 2})))
	fmt.Println(actor.Push(ctx, pages, Page{"/a"}, actor.PushID("a")))
	fmt.Println(actor.Push(ctx, pages, Page{"/a"}, actor.PushID("a")))
	fmt.Println(actor.Push(ctx, pages, Page{"/urgent"}, actor.Priority(1)))
	err := actor.Push(ctx, pages, Page{"/b"}, actor.Delay(time.Minute)) // not before a minute has passed
	fmt.Println(rpc.CodeOf(err), rpc.Ran(err))
	for range 2 {
		ds := must(actor.Pull[Page](ctx, pages))
		fmt.Println(ds[0].Message.URL)
	}
	// Output:
	// <nil>
	// <nil>
	// <nil>
	// rpc: overloaded not run
	// /urgent
	// /a
}

func ExampleQueueKind() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	pages := must(sys.Spawn("pages", actor.QueueKind[Page]("pages", queue.Config{Lease: time.Minute})))
	fmt.Println(actor.Push(ctx, pages, Page{"/a"}))
	st, err := actor.QueueStats[Page](ctx, pages)
	fmt.Println(st.Depth, err)
	// Output:
	// <nil>
	// 1 <nil>
}

// One request acks a whole batch.
func ExampleAckAll() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	pages := must(sys.Spawn("pages", actor.QueueKind[Page]("pages", queue.Config{})))
	for _, url := range []string{"/a", "/b", "/c"} {
		if err := actor.Push(ctx, pages, Page{url}); err != nil {
			panic(err)
		}
	}
	batch := must(actor.Pull[Page](ctx, pages, actor.Max(3)))
	fmt.Println(len(batch), actor.AckAll(ctx, batch))
	// Output: 3 <nil>
}

// A consumer that needs longer than the lease extends it. One that gives an item back as
// failed has it delivered again, until it becomes a dead letter.
func ExampleDelivery() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	pages := must(sys.Spawn("pages", actor.QueueKind[Page]("pages", queue.Config{Attempts: 2})))
	if err := actor.Push(ctx, pages, Page{"/broken"}); err != nil {
		panic(err)
	}
	for range 2 {
		d := must(actor.Pull[Page](ctx, pages))[0]
		fmt.Println("attempt", d.Attempt, d.Extend(ctx, time.Minute), d.Nack(ctx, 0))
	}
	rest := must(actor.Pull[Page](ctx, pages, actor.Wait(0)))
	fmt.Println(len(rest), must(actor.QueueStats[Page](ctx, pages)).Dead)
	// Output:
	// attempt 1 <nil> <nil>
	// attempt 2 <nil> <nil>
	// 0 1
}

// Dead letters are listed, and put back or discarded.
func ExampleDeadItems() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	pages := must(sys.Spawn("pages", actor.QueueKind[Page]("pages", queue.Config{Attempts: 1})))
	for _, url := range []string{"/broken", "/fixed"} {
		if err := actor.Push(ctx, pages, Page{url}); err != nil {
			panic(err)
		}
		if err := must(actor.Pull[Page](ctx, pages))[0].Nack(ctx, 0); err != nil {
			panic(err)
		}
	}
	for _, dead := range must(actor.DeadItems[Page](ctx, pages, actor.Max(16))) {
		fmt.Print(dead.Message.URL, ": ", dead.Reason, ", ")
		if dead.Message.URL == "/fixed" {
			fmt.Println("revive:", dead.Revive(ctx))
		} else {
			fmt.Println("discard:", dead.Discard(ctx))
		}
	}
	fmt.Println(must(actor.Pull[Page](ctx, pages))[0].Message.URL)
	// Output:
	// /broken: nacked, discard: <nil>
	// /fixed: nacked, revive: <nil>
	// /fixed
}

// Site is an actor with a queue of pages in its state.
type Site struct{ pages *actor.Offer[Page] }

// Discover is a one-way message of the site's own.
type Discover struct{ URL string }

func (s *Site) Discover(ctx *actor.Context, m Discover) error {
	return s.pages.Push(ctx, Page(m), actor.PushID(m.URL))
}

func (s *Site) Queue() *actor.Offer[Page] { return s.pages }

var SiteKind = actor.Define("example.site", func() *Site { return &Site{actor.NewOffer[Page](queue.Config{})} },
	actor.Handle((*Site).Discover),
	actor.ServePull((*Site).Queue), // others may Pull from it
	actor.ServePush((*Site).Queue)) // and Push to it

// The queue is a part of the actor's state, and its consumers use the ordinary verbs.
func ExampleServePull() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	site := must(sys.Spawn("site", SiteKind))
	for _, url := range []string{"/a", "/a"} {
		if err := actor.Tell(ctx, site, Discover{url}); err != nil {
			panic(err)
		}
	}
	fmt.Println(actor.Push(ctx, site, Page{"/b"}))
	for _, d := range must(actor.Pull[Page](ctx, site, actor.Max(9))) {
		fmt.Println(d.Message.URL, d.Ack(ctx))
	}
	// Output:
	// <nil>
	// /a <nil>
	// /b <nil>
}
