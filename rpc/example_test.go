package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// ErrFunds is an error of the application. It keeps its identity between nodes.
var ErrFunds = rpc.NewError("bank.insufficient_funds", "insufficient funds")

// Withdraw is answered with the balance that is left.
type Withdraw struct {
	actor.Returns[int]
	Amount int
}

type Account struct{ balance int }

func (a *Account) Withdraw(ctx *actor.Context, m Withdraw) (int, error) {
	if m.Amount > a.balance {
		return 0, fmt.Errorf("%w: there are %d", ErrFunds, a.balance)
	}
	a.balance -= m.Amount
	return a.balance, nil
}

var AccountKind = actor.Define("example.account", func() *Account { return &Account{balance: 100} },
	actor.Answer((*Account).Withdraw))

func Example() {
	ctx := context.Background()
	sys, err := actor.NewSystem(actor.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer sys.Shutdown(ctx)
	ann, err := sys.Spawn("ann", AccountKind)
	if err != nil {
		log.Fatal(err)
	}
	_, err = actor.Call(ctx, ann, Withdraw{Amount: 500})
	fmt.Println(err, "| is ErrFunds:", errors.Is(err, ErrFunds), "| ran:", rpc.Ran(err))

	_, err = actor.Call(ctx, sys.Ref("bob"), Withdraw{Amount: 5})
	fmt.Println(rpc.CodeOf(err), "| ran:", rpc.Ran(err))
	// Output:
	// insufficient funds: there are 100 | is ErrFunds: true | ran: ran
	// rpc: not found | ran: not run
}
