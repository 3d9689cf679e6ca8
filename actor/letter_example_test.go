package actor_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/deadletter"
	"github.com/tandem-go/tandem/rpc"
)

// A message was sent before its actor was there. It was kept, and is sent again, once.
func ExampleSystem_ResendLetter() {
	sys, err := actor.NewSystem(actor.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	defer sys.Shutdown(ctx)
	if err := actor.Tell(ctx, sys.Ref("late"), "a page"); err != nil {
		fmt.Println(err)
		return
	}
	for _, l := range sys.KeptLetters(deadletter.Filter{Actor: "late"}) {
		fmt.Println(l.To, l.Type, rpc.CodeOf(l.Reason), l.Message, l.State)

		err := sys.ResendLetter(ctx, l.ID, actor.Ref{})
		fmt.Println(rpc.CodeOf(err), rpc.Ran(err)) // it is still kept

		handled := make(chan string)
		reader, err := sys.Spawn("reader", actor.Define("example.reader", func() chan string { return handled },
			actor.Handle(func(to chan string, ctx *actor.Context, m string) error { to <- strings.ToUpper(m); return nil })))
		if err != nil {
			fmt.Println(err)
			return
		}
		if err := sys.ResendLetter(ctx, l.ID, reader); err != nil { // to another actor
			fmt.Println(err)
			return
		}
		fmt.Println(<-handled, sys.Stats().LettersKept)
	}
	// Output:
	// late@local string rpc: not found a page undelivered
	// rpc: not found not run
	// A PAGE 0
}

// Old letters are discarded; the page after the last letter of a page begins behind it.
func ExampleSystem_KeptLetters() {
	sys, err := actor.NewSystem(actor.Config{Logger: slog.New(slog.DiscardHandler), DeadLetters: deadletter.Limits{Letters: 4}})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	defer sys.Shutdown(ctx)
	for n := range 6 {
		if err := actor.Tell(ctx, sys.Ref("nobody"), n); err != nil {
			fmt.Println(err)
			return
		}
	}
	f := deadletter.Filter{NewestFirst: true, Limit: 3}
	for page := sys.KeptLetters(f); len(page) > 0; page = sys.KeptLetters(f) {
		for _, l := range page {
			fmt.Println(l.Message)
		}
		fmt.Println("--")
		f.After = page[len(page)-1].ID
	}
	fmt.Println(sys.DiscardLetters(deadletter.Filter{Type: "int"}), "discarded,", sys.Stats().LettersDropped, "had been pushed out")
	// Output:
	// 5
	// 4
	// 3
	// --
	// 2
	// --
	// 4 discarded, 2 had been pushed out
}
