package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/breaker"
	"github.com/tandem-go/tandem/intercept"
	"github.com/tandem-go/tandem/rpc"
)

type Price struct {
	actor.Returns[int]
	Item string
}

func (Price) WireName() string { return "example.price" }

// A shop hangs until it is closed.
type Shop struct{ closed chan struct{} }

func (s *Shop) Price(*actor.Context, Price) (int, error) {
	<-s.closed
	return 0, nil
}

// A shop that hangs is not asked again for a while.
func ExampleBreaker_Outgoing() {
	b, err := breaker.New(breaker.Config{InRow: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	sys, err := actor.NewSystem(actor.Config{Outgoing: []intercept.Func{b.Outgoing}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sys.Shutdown(context.Background())
	s := &Shop{closed: make(chan struct{})}
	defer close(s.closed)
	ref, _ := sys.Spawn("shop", actor.Define("example.shop", func() *Shop { return s }, actor.Answer((*Shop).Price)))
	for range 3 {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		_, err := actor.Call(ctx, ref, Price{Item: "tea"})
		fmt.Println(err != nil, errors.Is(err, breaker.ErrOpen))
		cancel()
	}
	// Output:
	// true false
	// true false
	// true true
}

// What to do without an answer.
func ExampleFallback() {
	lastKnown := func(error) (int, error) { return 42, nil }
	ask := func() (int, error) { return 0, rpc.Errorf(rpc.Unavailable, rpc.NotRun, "nobody is there") }
	price, err := breaker.Fallback(lastKnown)(ask())
	fmt.Println(price, err)
	// Output: 42 <nil>
}

// A failure speaks of the target, not of what was asked of it.
func ExampleIsFailure() {
	fmt.Println(breaker.IsFailure(rpc.Errorf(rpc.Unavailable, rpc.NotRun, "nobody is there")))
	fmt.Println(breaker.IsFailure(rpc.NewError("shop.sold_out", "sold out")))
	// Output:
	// true
	// false
}
