package registry_test

import (
	"errors"
	"fmt"

	"github.com/tandem-go/tandem/registry"
)

func ExampleInstances() {
	nodes := []registry.Node{
		{Name: "east", Epoch: "e1", Services: map[string][]string{"pages": {"one", "two"}}},
		{Name: "west", Epoch: "e2", Services: map[string][]string{"pages": {"one"}}},
	}
	for _, i := range registry.Instances(nodes, "pages") {
		fmt.Println(i.Actor, "on", i.Node)
	}
	// Output:
	// one on east
	// two on east
	// one on west
}

// Names and epochs are single tokens of a NATS subject.
func ExampleNode_Valid() {
	n := registry.Node{Name: "east", Epoch: "e1", Addrs: map[string]string{"tcp": "10.0.0.1:7000"}}
	fmt.Println(n.Valid())
	renamed := n.Clone() // shares nothing with n
	renamed.Name = "north.east"
	fmt.Println(errors.Is(renamed.Valid(), registry.ErrInvalid), renamed.Equal(n))
	// Output:
	// <nil>
	// true false
}

// The topics of a node's record have a bound, which TopicSize counts.
func ExampleTopicSize() {
	size := registry.TopicSize("prices.>", "archive")
	fmt.Println(size, registry.MaxTopics/size)
	// Output: 29 1129
}

// The kinds of a node's record have a bound, which KindSize counts.
func ExampleKindSize() {
	size := registry.KindSize("account", "v2")
	fmt.Println(size, registry.MaxKinds/size)
	// Output: 15 546
}
