package actor_test

import (
	"context"
	"fmt"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/reminder"
	reminders "github.com/tandem-go/tandem/reminder/memory"
	"github.com/tandem-go/tandem/state/memory"
)

// Rental is the state of a virtual actor that reminds itself of its end.
type Rental struct{ Open bool }

type (
	// Rent begins a rental for some time.
	Rent struct {
		actor.Returns[bool]
		For time.Duration
	}
	// GiveBack ends it.
	GiveBack struct{ actor.Returns[bool] }
	// Overdue reminds of a rental that was not given back in time.
	Overdue struct{}
)

func (Rent) WireName() string     { return "rental.rent" }
func (GiveBack) WireName() string { return "rental.give_back" }
func (Overdue) WireName() string  { return "rental.overdue" }

func (r *Rental) Rent(ctx *actor.Context, m Rent) (bool, error) {
	r.Open = true
	return true, actor.Remind(ctx, "end", reminder.At(time.Now().Add(m.For)), Overdue{})
}

func (r *Rental) GiveBack(ctx *actor.Context, _ GiveBack) (bool, error) {
	r.Open = false
	return true, actor.Forget(ctx, "end")
}

var overdue = make(chan string, 1)

func (r *Rental) Overdue(ctx *actor.Context, _ Overdue) error {
	f, _ := ctx.Firing()
	overdue <- fmt.Sprintf("%s: %s, number %d, late by more than a second: %v", f.Actor, f.Name, f.Number, f.Late > time.Second)
	return nil
}

var RentalKind = actor.Define("rental", func() *Rental { return new(Rental) },
	actor.Answer((*Rental).Rent), actor.Answer((*Rental).GiveBack), actor.Handle((*Rental).Overdue)).
	With(actor.Virtual(), actor.Stored(func(r *Rental) *Rental { return r }))

// The rental of a boat is given back in time, and that of a bike is not.
func ExampleRemind() {
	ctx := context.Background()
	sys, err := actor.NewSystem(actor.Config{Kinds: []*actor.Kind{RentalKind}, States: memory.New(memory.Config{}), Reminders: reminders.New(reminders.Config{})})
	if err != nil {
		panic(err)
	}
	defer sys.Shutdown(ctx)
	boat, bike := sys.Virtual(RentalKind, "boat"), sys.Virtual(RentalKind, "bike")
	for r, d := range map[actor.Ref]time.Duration{boat: time.Hour, bike: 50 * time.Millisecond} {
		if _, err := actor.Call(ctx, r, Rent{For: d}); err != nil {
			panic(err)
		}
	}
	if _, err := actor.Call(ctx, boat, GiveBack{}); err != nil {
		panic(err)
	}
	fmt.Println(<-overdue)
	// Output: rental/bike: end, number 1, late by more than a second: false
}

// What an actor is going to be reminded of can be listed from outside.
func ExampleSystem_Reminders() {
	ctx := context.Background()
	sys, err := actor.NewSystem(actor.Config{Kinds: []*actor.Kind{RentalKind}, States: memory.New(memory.Config{}), Reminders: reminders.New(reminders.Config{})})
	if err != nil {
		panic(err)
	}
	defer sys.Shutdown(ctx)
	boat := sys.Virtual(RentalKind, "boat")
	if _, err := actor.Call(ctx, boat, Rent{For: time.Hour}); err != nil {
		panic(err)
	}
	for set := false; !set; { // it is set a moment after the write
		list, err := sys.Reminders(ctx, boat)
		if err != nil {
			panic(err)
		}
		for _, r := range list {
			set = true
			fmt.Println(r.Actor, r.Name, r.Message.Type, time.Until(r.Due).Round(time.Hour))
		}
	}
	// Output: rental/boat end rental.overdue 1h0m0s
}
