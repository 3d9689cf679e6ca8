package actor_test

import (
	"context"
	"fmt"
	"log"

	"github.com/tandem-go/tandem/actor"
)

type Stock struct{ actor.Returns[map[string]int] }

type Warehouse struct{ stock map[string]int }

// Stock forgets to make a copy of the actor's state.
func (w *Warehouse) Stock(*actor.Context, Stock) (map[string]int, error) { return w.stock, nil }

var WarehouseKind = actor.Define("example.warehouse",
	func() *Warehouse { return &Warehouse{map[string]int{"apples": 3}} },
	actor.Answer((*Warehouse).Stock))

// A handler that returns a map of its state shares it with its caller. With CopyLocal the
// caller has a copy, as one on another node would.
func ExampleConfig_copyLocal() {
	ctx := context.Background()
	for _, copies := range []bool{false, true} {
		sys, err := actor.NewSystem(actor.Config{Name: "solo", CopyLocal: copies})
		if err != nil {
			log.Fatal(err)
		}
		ref, err := sys.Spawn("warehouse", WarehouseKind)
		if err != nil {
			log.Fatal(err)
		}
		mine, err := actor.Call(ctx, ref, Stock{})
		if err != nil {
			log.Fatal(err)
		}
		mine["apples"] = 0
		theirs, err := actor.Call(ctx, ref, Stock{})
		fmt.Println(copies, theirs["apples"], err)
		if err := sys.Shutdown(ctx); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// false 0 <nil>
	// true 3 <nil>
}
