package flow_test

import (
	"context"
	"fmt"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/flow"
	reminders "github.com/tandem-go/tandem/reminder/memory"
	"github.com/tandem-go/tandem/state/memory"
)

// Order is the input of a checkout.
type Order struct {
	Item  string
	Cents int
}

// Checkout charges for an order, waits until it is released, and ships it.
var Checkout = flow.Define("shop.checkout", func(f *flow.Flow, o Order) (string, error) {
	charge, err := flow.Step(f, "charge", func(ctx context.Context) (string, error) {
		return fmt.Sprintf("charged %d under the key %s", o.Cents, f.Key("charge")), nil
	})
	if err != nil {
		return "", err
	}
	if err := flow.Sleep(f, "cool off", 10*time.Millisecond); err != nil {
		return "", err
	}
	by, err := flow.Await[string](f, "released")
	if err != nil {
		return "", err
	}
	return flow.Step(f, "ship", func(ctx context.Context) (string, error) {
		return charge + ", released by " + by + ", shipped " + o.Item, nil
	})
})

func Example() {
	ctx := context.Background()
	sys, err := actor.NewSystem(actor.Config{
		Kinds:     []*actor.Kind{Checkout.Kind()},
		States:    memory.New(memory.Config{}),
		Reminders: reminders.New(reminders.Config{}),
	})
	if err != nil {
		panic(err)
	}
	defer sys.Shutdown(ctx)
	if err := Checkout.Start(ctx, sys, "order-17", Order{"a kettle", 4900}); err != nil {
		panic(err)
	}
	if err := Checkout.Signal(ctx, sys, "order-17", "released", "Ann"); err != nil {
		panic(err)
	}
	fmt.Println(Checkout.Result(ctx, sys, "order-17"))
	// Output: charged 4900 under the key "charge" of "order-17", released by Ann, shipped a kettle <nil>
}
