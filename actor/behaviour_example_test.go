package actor_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandem-go/tandem/actor"
)

type (
	Knock struct{ actor.Returns[string] }
	Lock  struct {
		actor.Returns[bool]
		Lock bool
	}
)

// Door is locked and unlocked at run time.
type Door struct{}

func (Door) Enter(*actor.Context, Knock) (string, error) { return "come in", nil }
func (Door) Wait(*actor.Context, Knock) (string, error)  { return "nobody is in", nil }
func (Door) Turn(ctx *actor.Context, m Lock) (bool, error) {
	if m.Lock {
		return true, ctx.Become("locked")
	}
	return ctx.Unbecome(), nil
}

var DoorKind = actor.Define("example.door", func() Door { return Door{} },
	actor.Answer(Door.Enter),
	actor.Answer(Door.Turn),
	actor.Behaviour("locked", actor.Answer(Door.Wait)))

// A locked door handles a Knock in another way. Lock has no handler there, so it goes to the kind's own.
func ExampleBehaviour() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	door := must(sys.Spawn("door", DoorKind))
	fmt.Println(actor.Call(ctx, door, Knock{}))
	fmt.Println(actor.Call(ctx, door, Lock{Lock: true}))
	fmt.Println(actor.Call(ctx, door, Knock{}))
	a, _ := sys.Inspect(ctx, door)
	fmt.Println("its behaviour is", a.Behaviour)
	// Output:
	// come in <nil>
	// true <nil>
	// nobody is in <nil>
	// its behaviour is locked
}

// A kind has the behaviours that its Define names.
func ExampleContext_Become() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	kind := actor.Define("example.window", func() Door { return Door{} }, actor.Answer(Door.Turn))
	_, err := actor.Call(ctx, must(sys.Spawn("window", kind)), Lock{Lock: true})
	fmt.Println(errors.Is(err, actor.ErrNoBehaviour))
	// Output: true
}

// Behaviours are on top of each other. Unbecome takes the one on top off.
func ExampleContext_Unbecome() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	door := must(sys.Spawn("door", DoorKind))
	for _, lock := range []bool{true, true, false} {
		_, _ = actor.Call(ctx, door, Lock{Lock: lock})
	}
	fmt.Println(actor.Call(ctx, door, Knock{}))
	fmt.Println(actor.Call(ctx, door, Lock{}))
	fmt.Println(actor.Call(ctx, door, Lock{}))
	fmt.Println(actor.Call(ctx, door, Knock{}))
	// Output:
	// nobody is in <nil>
	// true <nil>
	// false <nil>
	// come in <nil>
}

type (
	Meal struct {
		actor.Returns[string]
		Dish string
	}
	OpenKitchen struct{ actor.Returns[int] }
)

// Kitchen takes orders before it opens, and answers them afterwards.
type Kitchen struct{}

func (Kitchen) Started(ctx *actor.Context) error { return ctx.Become("closed") }
func (Kitchen) Cook(_ *actor.Context, m Meal) (string, error) {
	return m.Dish + " is served", nil
}
func (Kitchen) Keep(ctx *actor.Context, _ Meal) (string, error) { return "", ctx.Stash() }
func (Kitchen) Open(ctx *actor.Context, _ OpenKitchen) (int, error) {
	ctx.Unbecome()
	return ctx.Unstash(), nil
}

var KitchenKind = actor.Define("example.kitchen", func() Kitchen { return Kitchen{} },
	actor.Answer(Kitchen.Cook),
	actor.Behaviour("closed", actor.Answer(Kitchen.Keep), actor.Answer(Kitchen.Open))).With(actor.Stash(1))

// A stash is bounded.
func ExampleStash() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	kitchen := must(sys.Spawn("kitchen", KitchenKind))
	actor.Ask(ctx, kitchen, Meal{Dish: "soup"})
	_, err := actor.Call(ctx, kitchen, Meal{Dish: "fish"})
	fmt.Println(errors.Is(err, actor.ErrStashFull))
	// Output: true
}

// A request that is put aside stays unanswered.
func ExampleContext_Stash() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	kitchen := must(sys.Spawn("kitchen", KitchenKind))
	soup := actor.Ask(ctx, kitchen, Meal{Dish: "soup"})
	fmt.Println(actor.Call(ctx, kitchen, OpenKitchen{}))
	fmt.Println(soup.Await(ctx))
	// Output:
	// 1 <nil>
	// soup is served <nil>
}

// What was put aside is handled before what comes later.
func ExampleContext_Unstash() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	kitchen := must(sys.Spawn("kitchen", KitchenKind))
	soup := actor.Ask(ctx, kitchen, Meal{Dish: "soup"})
	actor.Ask(ctx, kitchen, OpenKitchen{})
	fmt.Println(actor.Call(ctx, kitchen, Meal{Dish: "fish"}))
	fmt.Println(soup.Await(ctx))
	// Output:
	// fish is served <nil>
	// soup is served <nil>
}
