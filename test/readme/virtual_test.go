package main

import (
	"context"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/actortest"
)

var VirtualAccountKind = AccountKind.With(actor.Virtual(), actor.Idle(5*time.Minute))

func pay(ctx context.Context, sys *actor.System, amount int64) (int64, error) {
	alice := sys.Virtual(VirtualAccountKind, "alice") // bank.account/alice@~, wherever it is
	if err := actor.Tell(ctx, alice, Deposit{amount}); err != nil {
		return 0, err
	}
	return actor.Call(ctx, alice, Balance{})
}

func TestVirtualAccount(t *testing.T) {
	sys := actortest.NewSystem(t, actor.Config{Kinds: []*actor.Kind{VirtualAccountKind}})
	for _, want := range []int64{5, 10} {
		if balance, err := pay(t.Context(), sys, 5); balance != want || err != nil {
			t.Errorf("the balance is %d, %v; want %d", balance, err, want)
		}
	}
}
