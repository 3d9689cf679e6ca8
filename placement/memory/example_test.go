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
