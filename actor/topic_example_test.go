package actor_test

import (
	"context"
	"fmt"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/topic"
)

// Rate is what is published on Rates.
type Rate struct{ Cents int }

// Rates are all rates. A program that publishes them and one that subscribes share this variable.
var Rates = actor.NewTopic[Rate]("rates.>")

// Board shows rates.
type Board struct{ last int }

func (b *Board) Started(ctx *actor.Context) error { return ctx.Subscribe(Rates.At("rates.eur")) }

func (b *Board) OnRate(ctx *actor.Context, m Rate) error { b.last = m.Cents; return nil }

// Last asks a Board for the latest rate.
type Last struct{ actor.Returns[int] }

func (b *Board) Last(ctx *actor.Context, m Last) (int, error) { return b.last, nil }

var BoardKind = actor.Define("example.board", func() *Board { return new(Board) },
	actor.Handle((*Board).OnRate), actor.Answer((*Board).Last))

func ExamplePublish() {
	sys, err := actor.NewSystem(actor.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	defer sys.Shutdown(ctx)
	board, _ := sys.Spawn("board", BoardKind)
	_, _ = actor.Call(ctx, board, Last{}) // it has started

	rates := Rates.Bind(sys)
	fmt.Println(actor.Publish(ctx, rates.At("rates.eur"), Rate{108}), actor.Publish(ctx, rates.At("rates.usd"), Rate{100}))
	fmt.Println(actor.Call(ctx, board, Last{}))
	// Output:
	// <nil> <nil>
	// 108 <nil>
}

// Teller takes turns with other members of its group.
type Teller struct{}

func (Teller) Started(ctx *actor.Context) error {
	return ctx.Subscribe(Rates, topic.Group("tellers"), topic.WhenFull(topic.DropOldest))
}

func (Teller) OnRate(ctx *actor.Context, m Rate) error {
	if m.Cents == 0 {
		ctx.Unsubscribe(Rates) // the bank closes
		return nil
	}
	fmt.Println("a teller got", m.Cents)
	return nil
}

func ExampleContext_Subscribe() {
	sys, err := actor.NewSystem(actor.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	kind := actor.Define("example.teller", func() Teller { return Teller{} }, actor.Handle(Teller.OnRate))
	for range 3 {
		r, _ := sys.Spawn("", kind)
		defer sys.Stop(ctx, r)
		_ = actor.Tell(ctx, r, Rate{1}) // an actor can be told the same message without a topic
	}
	_ = sys.Shutdown(ctx)
	// Output:
	// a teller got 1
	// a teller got 1
	// a teller got 1
}

func ExampleNewTopic() {
	fmt.Println(Rates, Rates.At("rates.eur"))
	fmt.Println(actor.Publish(context.Background(), Rates.At("weather"), Rate{}))
	// Output:
	// rates.> rates.eur
	// invalid: topic weather is not one of rates.> (not run)
}
