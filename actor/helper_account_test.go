package actor_test

// An actor with the usual kinds of handlers.

import (
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

type Deposit struct{ Amount int64 }

type Balance struct{ actor.Returns[int64] }

type Withdraw struct {
	actor.Returns[int64]
	Amount int64
}

type Block struct {
	actor.Returns[int]
	Entered, Leave chan struct{} `msgpack:"-"`
}

type Crash struct{ actor.Returns[int] }

var errFunds = rpc.NewError("bank.insufficient_funds", "insufficient funds")

// Account is the actor of many tests. Its messages are above.
type Account struct{ balance int64 }

func (a *Account) Deposit(ctx *actor.Context, m Deposit) error {
	a.balance += m.Amount
	return nil
}

func (a *Account) Balance(ctx *actor.Context, m Balance) (int64, error) { return a.balance, nil }

func (a *Account) Withdraw(ctx *actor.Context, m Withdraw) (int64, error) {
	if m.Amount > a.balance {
		return 0, errFunds
	}
	a.balance -= m.Amount
	return a.balance, nil
}

func (a *Account) Block(ctx *actor.Context, m Block) (int, error) {
	close(m.Entered)
	select {
	case <-m.Leave:
		return 1, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (a *Account) Crash(ctx *actor.Context, m Crash) (int, error) { panic("crash") }

var AccountKind = actor.Define("bank.account", func() *Account { return new(Account) },
	actor.Handle((*Account).Deposit),
	actor.Answer((*Account).Balance),
	actor.Answer((*Account).Withdraw),
	actor.Answer((*Account).Block),
	actor.Answer((*Account).Crash))
