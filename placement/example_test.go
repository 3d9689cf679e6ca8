package placement_test

import (
	"fmt"

	"github.com/tandem-go/tandem/placement"
)

// Nodes that drain or have another version are left out, and so is one that has just refused.
func ExampleHosts_Choose() {
	hosts := placement.NewHosts("v2", []placement.Host{
		{Node: "east", Version: "v2"}, {Node: "west", Version: "v2"},
		{Node: "north", Version: "v1"}, {Node: "south", Version: "v2", Draining: true},
	})
	alice := placement.Key{Kind: "bank.account", ID: "alice"}
	first, _ := hosts.Choose(alice)
	second, _ := hosts.Choose(alice, first)
	_, ok := hosts.Choose(alice, first, second)
	fmt.Println(hosts.Len(), first != second, ok)
	// Output: 2 true false
}

// A node reads the claim of an actor that it is asked for, and decides.
func ExampleDecide() {
	self := placement.Self{Node: "east", Epoch: "e2", Attempt: placement.NewID(), Certain: true}
	found := placement.Held{Claim: placement.Claim{Node: "west", Epoch: "w1", ID: "x"}, Token: 7}
	fmt.Println(placement.Decide(self, placement.Held{}, placement.Unseen))
	fmt.Println(placement.Decide(self, found, placement.Look(found.Claim, "w1", true, false)))
	fmt.Println(placement.Decide(self, found, placement.Look(found.Claim, "w2", true, false)))
	fmt.Println(placement.Decide(self, found, placement.Look(found.Claim, "w2", true, true)))
	// Output:
	// create
	// moved
	// confirm
	// replace
}

// A wrong address answers where the actor is.
func ExampleCache_Moved() {
	cache, alice := placement.NewCache(1000), placement.Key{Kind: "bank.account", ID: "alice"}
	west, east := placement.Holder{Node: "west", Epoch: "w1", Token: 7}, placement.Holder{Node: "east", Epoch: "e2", Token: 9}
	cache.Learn(alice, west)
	cache.Moved(alice, west, east)
	fmt.Println(cache.Get(alice))
	cache.Drop("east", "e2")
	fmt.Println(cache.Get(alice))
	// Output:
	// {east e2 9} true
	// {  0} false
}
