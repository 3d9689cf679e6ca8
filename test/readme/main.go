package main

import (
	"context"
	"fmt"
	"log"

	"github.com/tandem-go/tandem/actor"
)

type Deposit struct{ Amount int64 }         // a one-way message
type Balance struct{ actor.Returns[int64] } // a message that is answered with an int64
type Account struct{ balance int64 }        // the state of an actor: no lock needed

func (a *Account) Deposit(ctx *actor.Context, m Deposit) error          { a.balance += m.Amount; return nil }
func (a *Account) Balance(ctx *actor.Context, m Balance) (int64, error) { return a.balance, nil }

var AccountKind = actor.Define("bank.account", func() *Account { return new(Account) },
	actor.Handle((*Account).Deposit),
	actor.Answer((*Account).Balance))

func main() {
	ctx := context.Background()
	sys, err := actor.NewSystem(actor.Config{})
	check(err)
	alice, err := sys.Spawn("alice", AccountKind)
	check(err)
	check(actor.Tell(ctx, alice, Deposit{5}))         // one-way
	balance, err := actor.Call(ctx, alice, Balance{}) // request and reply; balance is an int64
	check(err)
	fmt.Println("the balance is", balance)
	check(sys.Shutdown(ctx))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
