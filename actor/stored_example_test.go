package actor_test

import (
	"context"
	"fmt"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/state/memory"
)

// Purse is the state of a virtual actor that is kept in a store.
type Purse struct{ Coins int }

type (
	// Give moves coins to another purse.
	Give struct {
		actor.Returns[int]
		To    actor.Ref
		Coins int
	}
	// Coins asks how many there are.
	Coins struct{ actor.Returns[int] }
	// Received are coins that have come from another purse.
	Received struct{ Coins int }
)

func (Give) WireName() string     { return "purse.give" }
func (Coins) WireName() string    { return "purse.coins" }
func (Received) WireName() string { return "purse.received" }

// ErrTooFew is the error of a Give for which there are not enough coins.
var ErrTooFew = rpc.NewError("purse.too_few", "not enough coins")

func (p *Purse) Give(ctx *actor.Context, m Give) (int, error) {
	p.Coins -= m.Coins
	if err := actor.Tell(ctx, m.To, Received{m.Coins}); err != nil {
		return 0, err
	}
	if p.Coins < 0 {
		return 0, ErrTooFew // the coins are back, and the message is dropped
	}
	return p.Coins, nil
}

func (p *Purse) Received(_ *actor.Context, m Received) error {
	p.Coins += m.Coins
	return nil
}

func (p *Purse) Count(*actor.Context, Coins) (int, error) { return p.Coins, nil }

// PurseKind keeps all of a Purse.
var PurseKind = actor.Define("purse", func() *Purse { return &Purse{Coins: 10} },
	actor.Answer((*Purse).Give), actor.Handle((*Purse).Received), actor.Read((*Purse).Count)).
	With(actor.Virtual(), actor.Stored(func(p *Purse) *Purse { return p }))

// The new state, the reply and the message are kept in one write, and leave after it.
func ExampleStored() {
	ctx := context.Background()
	states := memory.New(memory.Config{}) // in production: state/jetstream or state/sql
	start := func() *actor.System {
		sys, err := actor.NewSystem(actor.Config{Kinds: []*actor.Kind{PurseKind}, States: states, Logger: quiet})
		if err != nil {
			panic(err)
		}
		return sys
	}
	sys := start()
	left, err := actor.Call(ctx, sys.Virtual(PurseKind, "ann"), Give{To: sys.Virtual(PurseKind, "bob"), Coins: 3})
	fmt.Println(left, err)
	_, err = actor.Call(ctx, sys.Virtual(PurseKind, "ann"), Give{To: sys.Virtual(PurseKind, "bob"), Coins: 30})
	fmt.Println(err)
	_ = sys.Shutdown(ctx)

	sys = start() // what was kept is there
	n, err := actor.Call(ctx, sys.Virtual(PurseKind, "ann"), Coins{})
	fmt.Println("ann", n, err)
	for n < 13 { // until the message has arrived, also if it had not been sent yet
		n, _ = actor.Call(ctx, sys.Virtual(PurseKind, "bob"), Coins{})
	}
	fmt.Println("bob", n)
	_ = sys.Shutdown(ctx)
	// Output:
	// 7 <nil>
	// not enough coins
	// ann 7 <nil>
	// bob 13
}

// A handler that only reads is made with Read. It waits for no write but that of what it has seen.
func ExampleRead() {
	kind := actor.Define("greeter", func() string { return "hello" },
		actor.Read(func(greeting string, _ *actor.Context, _ Salutation) (string, error) { return greeting, nil }))
	sys, err := actor.NewSystem(actor.Config{Logger: quiet})
	if err != nil {
		panic(err)
	}
	defer sys.Shutdown(context.Background())
	ref, _ := sys.Spawn("greeter", kind) // at kinds that are not Stored it is Answer
	fmt.Println(actor.Call(context.Background(), ref, Salutation{}))
	// Output: hello <nil>
}

// Salutation asks for a greeting.
type Salutation struct{ actor.Returns[string] }

// OldPurse is what version 1 of the program has kept.
type OldPurse struct{ Gold, Silver int }

// When what is kept gets another type, Migrate converts what the store has.
func ExampleMigrate() {
	ctx := context.Background()
	states := memory.New(memory.Config{})
	start := func(kind *actor.Kind) *actor.System {
		sys, err := actor.NewSystem(actor.Config{Kinds: []*actor.Kind{kind}, States: states, Logger: quiet})
		if err != nil {
			panic(err)
		}
		return sys
	}
	old := actor.Define("purse", func() *OldPurse { return new(OldPurse) },
		actor.Handle(func(p *OldPurse, _ *actor.Context, m Received) error { p.Silver += m.Coins; return nil })).
		With(actor.Virtual(), actor.Stored(func(p *OldPurse) *OldPurse { return p }))
	sys := start(old)
	_ = actor.Tell(ctx, sys.Virtual(old, "ann"), Received{5})
	_ = sys.Shutdown(ctx)

	sys = start(PurseKind.With(actor.Migrate(1, func(p OldPurse) Purse { return Purse{Coins: p.Gold + p.Silver} })))
	fmt.Println(actor.Call(ctx, sys.Virtual(PurseKind, "ann"), Coins{}))
	_ = sys.Shutdown(ctx)
	// Output: 5 <nil>
}
