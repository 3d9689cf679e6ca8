package rpc_test

import (
	"context"
	"fmt"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// says returns the future of an actor's reply; fails of an error; hangs of one that comes
// when the request is cancelled.
func says(sys *actor.System, text string) *rpc.Future[string] {
	return ask(sys, func(*actor.Context) (string, error) { return text, nil })
}

func fails(sys *actor.System, text string) *rpc.Future[string] {
	return ask(sys, func(*actor.Context) (string, error) { return "", rpc.NewError("example.fails", text) })
}

func hangs(sys *actor.System) *rpc.Future[string] {
	return ask(sys, func(ctx *actor.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() })
}

// ask asks a new actor, so that nobody waits for another one's handler.
func ask(sys *actor.System, f func(*actor.Context) (string, error)) *rpc.Future[string] {
	ref, err := sys.Spawn("", doerKind)
	if err != nil {
		panic(err)
	}
	return actor.Ask(context.Background(), ref, Do{F: f})
}

func ExampleFuture() {
	ctx := context.Background()
	sys, _ := doer()
	defer sys.Shutdown(ctx)
	future := says(sys, "hello")
	called := make(chan string)
	future.Then(func(reply string, err error) { called <- reply }) // in a goroutine of its own
	fmt.Println(<-called)

	<-future.Done()
	fmt.Println(future.Await(ctx)) // any number of times
	// Output:
	// hello
	// hello <nil>
}

// Cancel ends the request: its future fails, and its handler's context ends.
func ExampleFuture_Cancel() {
	ctx := context.Background()
	sys, _ := doer()
	defer sys.Shutdown(ctx)
	future := hangs(sys)
	future.Cancel()
	_, err := future.Await(ctx)
	fmt.Println(rpc.CodeOf(err))
	// Output: rpc: canceled
}

func ExampleAll() {
	ctx := context.Background()
	sys, _ := doer()
	defer sys.Shutdown(ctx)
	fmt.Println(rpc.All(says(sys, "a"), says(sys, "b")).Await(ctx))

	// The first error ends the whole, and cancels the rest.
	_, err := rpc.All(says(sys, "a"), hangs(sys), fails(sys, "no paper")).Await(ctx)
	fmt.Println(err)
	// Output:
	// [a b] <nil>
	// no paper
}

// The first result counts. It may come after errors.
func ExampleAny() {
	ctx := context.Background()
	sys, _ := doer()
	defer sys.Shutdown(ctx)
	fmt.Println(rpc.Any(fails(sys, "no paper"), says(sys, "a"), hangs(sys)).Await(ctx))
	// Output: a <nil>
}

// The first outcome counts, even if it is an error.
func ExampleRace() {
	ctx := context.Background()
	sys, _ := doer()
	defer sys.Shutdown(ctx)
	_, err := rpc.Race(fails(sys, "no paper"), hangs(sys)).Await(ctx)
	fmt.Println(err)
	// Output: no paper
}

// A job that runs says how far it is, and can be cancelled.
func ExampleToken() {
	ctx := context.Background()
	sys, ref := doer()
	defer sys.Shutdown(ctx)
	running := make(chan bool)
	token, err := actor.Submit(ctx, ref, Do{F: func(ctx *actor.Context) (string, error) {
		ctx.Progress(30, 100)
		close(running)
		<-ctx.Done()
		return "", ctx.Err()
	}})
	if err != nil {
		panic(err)
	}
	<-running
	status, err := token.Poll(ctx)
	fmt.Println(status.State, status.Done, status.Total, status.State.Over(), err)
	if _, err := token.Cancel(ctx); err != nil {
		panic(err)
	}
	_, err = token.Await(ctx) // what the handler returned
	fmt.Println(rpc.Ran(err))
	status, err = token.Poll(ctx)
	fmt.Println(status.State, status.State.Over(), err)
	// Output:
	// running 30 100 false <nil>
	// ran
	// cancelled true <nil>
}
