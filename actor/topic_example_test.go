package actor_test

import (
	"context"
	"fmt"
	"sync/atomic"

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
type Teller struct{ n *atomic.Int64 }

func (t Teller) Started(ctx *actor.Context) error {
	return ctx.Subscribe(Rates, topic.Group("tellers"), topic.WhenFull(topic.DropOldest))
}

func (t Teller) OnRate(ctx *actor.Context, m Rate) error { t.n.Add(1); return nil }

// Attend is answered by a Teller that has started. Leave has it leave its group.
type Attend struct {
	actor.Returns[bool]
	Leave bool
}

func (t Teller) Attend(ctx *actor.Context, m Attend) (bool, error) {
	if m.Leave {
		ctx.Unsubscribe(Rates)
	}
	return true, nil
}

func ExampleContext_Subscribe() {
	sys, err := actor.NewSystem(actor.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	var n atomic.Int64
	kind := actor.Define("example.teller", func() Teller { return Teller{&n} }, actor.Handle(Teller.OnRate), actor.Answer(Teller.Attend))
	var tellers []actor.Ref
	for range 3 {
		r, _ := sys.Spawn("", kind)
		_, _ = actor.Call(ctx, r, Attend{})
		tellers = append(tellers, r)
	}
	_, _ = actor.Call(ctx, tellers[0], Attend{Leave: true})
	_, _ = actor.Call(ctx, tellers[1], Attend{Leave: true}) // one is left in the group
	for range 10 {
		_ = actor.Publish(ctx, Rates.At("rates.eur").Bind(sys), Rate{1})
	}
	_, _ = actor.Call(ctx, tellers[2], Attend{Leave: true})
	_ = actor.Publish(ctx, Rates.At("rates.eur").Bind(sys), Rate{1}) // nobody is
	_ = sys.Shutdown(ctx)
	fmt.Println(n.Load())
	// Output: 10
}

func ExampleNewTopic() {
	fmt.Println(Rates, Rates.At("rates.eur"))
	fmt.Println(actor.Publish(context.Background(), Rates.At("weather"), Rate{}))
	// Output:
	// rates.> rates.eur
	// rpc: invalid: topic weather is not one of rates.> [not run]
}
