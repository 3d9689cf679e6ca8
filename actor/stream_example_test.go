package actor_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log"
	"strings"

	"github.com/tandem-go/tandem/actor"
)

type (
	CountTo struct { // answered with a stream of ints
		actor.Streams[int]
		N int
	}
	AddUp struct{ actor.Collects[int, int] } // opens a stream of ints, answered with one int
	Shout struct {
		actor.Converses[string, string]
	} // opens a stream of strings each way
	Adder  struct{ largest int }
	summed struct{ Sum int }
)

// The handler runs in the actor's turn. The sequence that it returns runs beside the
// actor, as fast as the reader reads.
func (a *Adder) CountTo(ctx *actor.Context, m CountTo) (iter.Seq2[int, error], error) {
	return func(yield func(int, error) bool) {
		for i := range m.N {
			if !yield(i+1, nil) {
				return // the reader has left
			}
		}
	}, nil
}

// AddUp tells its own actor what the sum was, because it runs beside it.
func (a *Adder) AddUp(ctx *actor.Context, m AddUp, in iter.Seq2[int, error]) (func() (int, error), error) {
	return func() (sum int, err error) {
		for n, err := range in {
			if err != nil {
				return sum, err // the sender broke off, or was lost
			}
			sum += n
		}
		return sum, actor.Tell(ctx, ctx.Self(), summed{sum})
	}, nil
}

func (a *Adder) summed(ctx *actor.Context, m summed) error {
	a.largest = max(a.largest, m.Sum)
	return nil
}

func (a *Adder) Shout(ctx *actor.Context, m Shout, in iter.Seq2[string, error]) (iter.Seq2[string, error], error) {
	return func(yield func(string, error) bool) {
		for line, err := range in {
			if err != nil || !yield(strings.ToUpper(line), nil) {
				return
			}
		}
	}, nil
}

var AdderKind = actor.Define("example.adder", func() *Adder { return new(Adder) },
	actor.Produce((*Adder).CountTo),
	actor.Collect((*Adder).AddUp),
	actor.Handle((*Adder).summed),
	actor.Converse((*Adder).Shout))

// Server streaming: one request, many items back.
func ExampleStream() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	adder := must(sys.Spawn("adder", AdderKind))
	for n, err := range actor.Stream(ctx, adder, CountTo{N: 1_000_000}) {
		if err != nil {
			log.Fatal(err) // the stream did not come to its end
		}
		fmt.Println(n)
		if n == 3 {
			break // this ends the producer
		}
	}
	// Output:
	// 1
	// 2
	// 3
}

// Client streaming: many items there, one result back.
func ExampleOpen() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	adder := must(sys.Spawn("adder", AdderKind))
	sink, err := actor.Open(ctx, adder, AddUp{})
	if err != nil {
		log.Fatal(err)
	}
	for _, n := range []int{20, 21, 1} {
		if err := sink.Send(ctx, n); err != nil { // waits while the actor does not keep up
			log.Fatal(err)
		}
	}
	fmt.Println(sink.CloseAndReceive(ctx))
	// Output: 42 <nil>
}

// A sender that breaks off gets no result, and the handler gets an error.
func ExampleSink_Cancel() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	sink := must(actor.Open(ctx, must(sys.Spawn("adder", AdderKind)), AddUp{}))
	sink.Cancel()
	_, err := sink.CloseAndReceive(ctx)
	fmt.Println(errors.Is(err, context.Canceled))
	// Output: true
}

// Bidirectional streaming: each direction at its own pace.
func ExampleTalk() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	talk, err := actor.Talk(ctx, must(sys.Spawn("adder", AdderKind)), Shout{})
	if err != nil {
		log.Fatal(err)
	}
	defer talk.Cancel() // does nothing after the end
	go func() {
		for _, line := range []string{"hello", "world"} {
			if err := talk.Send(ctx, line); err != nil {
				log.Print(err)
			}
		}
		if err := talk.CloseSend(ctx); err != nil {
			log.Print(err)
		}
	}()
	for line, err := range talk.Items() {
		fmt.Println(line, err)
	}
	// Output:
	// HELLO <nil>
	// WORLD <nil>
}
