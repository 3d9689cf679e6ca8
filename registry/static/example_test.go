package static_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
)

// A node that has left is away, and its last word can be read.
func ExampleRegistry_Departed() {
	ctx, reg := context.Background(), static.New()
	if err := reg.Register(ctx, registry.Node{Name: "till", Epoch: "e1", Version: "v1.4", Zone: "east"}); err != nil {
		fmt.Println(err)
	}
	if err := reg.Deregister(ctx, "till", "e1", []byte("all that was sold is booked")); err != nil {
		fmt.Println(err)
	}
	_, err := reg.Lookup(ctx, "till")
	fmt.Println("away:", errors.Is(err, registry.ErrAway))
	_, err = reg.Lookup(ctx, "desk")
	fmt.Println("never there:", errors.Is(err, registry.ErrNotFound))
	d, err := reg.Departed(ctx, "till")
	fmt.Printf("%s %v: %s (%v)\n", d.Epoch, d.Change, d.Last, err)
	// Output:
	// away: true
	// never there: true
	// e1 left: all that was sold is booked (<nil>)
}

// If a name is taken, the error says who holds it.
func ExampleRegistry_Register() {
	ctx, reg := context.Background(), static.New(registry.Node{Name: "till", Epoch: "e1"})
	err := reg.Register(ctx, registry.Node{Name: "till", Epoch: "e2"})
	var taken *registry.TakenError
	if errors.As(err, &taken) {
		fmt.Println("held by", taken.Holder.Epoch)
	}
	// Output: held by e1
}

// A watch first reports the nodes that exist.
func ExampleRegistry_Watch() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	reg := static.New(registry.Node{Name: "till", Epoch: "e1"})
	events, err := reg.Watch(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	e := <-events
	fmt.Println(e.Node.Name, e.Change)
	if err := reg.Register(ctx, registry.Node{Name: "desk", Epoch: "e1"}); err != nil {
		fmt.Println(err)
	}
	e = <-events
	fmt.Println(e.Node.Name, e.Change)
	// Output:
	// till joined
	// desk joined
}

// The list may change, as that of registry/dns does.
func ExampleRegistry_List() {
	ctx, reg := context.Background(), static.New(registry.Node{Name: "desk"})
	reg.List(registry.Node{Name: "till", Addrs: map[string]string{"tcp": "10.0.0.2:7420"}})
	nodes, err := reg.Nodes(ctx)
	fmt.Println(len(nodes), nodes[0].Name, err)
	// Output: 1 till <nil>
}
