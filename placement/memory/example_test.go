package memory_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/placement/memory"
)

// Of two nodes that want an actor, one gets it.
func ExampleNew() {
	claims, ctx, alice := memory.New(), context.Background(), placement.Key{Kind: "bank.account", ID: "alice"}
	token, err := claims.Create(ctx, alice, placement.Claim{Node: "east", Epoch: "e1", ID: placement.NewID()})
	fmt.Println(token, err)
	_, err = claims.Create(ctx, alice, placement.Claim{Node: "west", Epoch: "w1", ID: placement.NewID()})
	fmt.Println(errors.Is(err, placement.ErrConflict), err)
	fmt.Println(claims.Release(ctx, alice, token))
	// Output:
	// 1 <nil>
	// true placement: create of bank.account/alice: the key has another claim, by node east (e1) under the token 1
	// <nil>
}

// A node looks for the actors whose holder is gone. What it finds may have changed since, so it
// replaces a claim by its token.
func ExampleClaims_Walk() {
	claims, ctx := memory.New(), context.Background()
	for id, node := range map[string]string{"alice": "east", "bob": "west"} {
		key := placement.Key{Kind: "bank.account", ID: id}
		if _, err := claims.Create(ctx, key, placement.Claim{Node: node, Epoch: "1", ID: placement.NewID()}); err != nil {
			fmt.Println(err)
		}
	}
	for e, err := range claims.Walk(ctx, "bank.account") {
		if err != nil {
			fmt.Println("some may be missing:", err)
			break
		}
		if e.Node == "west" { // the registry says that it is gone
			_, err := claims.Replace(ctx, e.Key, placement.Claim{Node: "east", Epoch: "1", ID: placement.NewID()}, e.Token)
			fmt.Println(e.Key, err)
		}
	}
	// Output: bank.account/bob <nil>
}
