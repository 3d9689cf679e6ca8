package actor_test

import (
	"context"
	"fmt"
	"log"

	"github.com/tandem-go/tandem/actor"
)

// Add is a one-way message. Total is a request: it is answered with an int.
type Add struct{ N int }
type Total struct{ actor.Returns[int] }

// Counter is the state of an actor. Its methods handle one message at a time.
type Counter struct{ total int }

func (c *Counter) Add(ctx *actor.Context, m Add) error            { c.total += m.N; return nil }
func (c *Counter) Total(ctx *actor.Context, m Total) (int, error) { return c.total, nil }

// CounterKind says how the state of such an actor is made, and what it handles.
var CounterKind = actor.Define("example.counter", func() *Counter { return new(Counter) },
	actor.Handle((*Counter).Add),
	actor.Answer((*Counter).Total))

func Example() {
	ctx := context.Background()
	sys, err := actor.NewSystem(actor.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer sys.Shutdown(ctx)
	visits, err := sys.Spawn("visits", CounterKind)
	if err != nil {
		log.Fatal(err)
	}
	if err := actor.Tell(ctx, visits, Add{N: 2}); err != nil {
		log.Fatal(err)
	}
	total, err := actor.Call(ctx, visits, Total{})
	fmt.Println(total, err)
	// Output: 2 <nil>
}
