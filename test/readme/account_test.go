package main

import (
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/actortest"
)

func TestAccount(t *testing.T) {
	sys := actortest.NewSystem(t, actor.Config{}) // shut down when the test ends
	alice := actortest.Spawn(t, sys, "alice", AccountKind)
	if err := actor.Tell(t.Context(), alice, Deposit{5}); err != nil {
		t.Fatal(err)
	}
	if balance, err := actor.Call(t.Context(), alice, Balance{}); balance != 5 || err != nil {
		t.Errorf("the balance is %d, %v; want 5", balance, err)
	}
}
