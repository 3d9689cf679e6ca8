package main

import (
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// Deposit, Withdraw and Transfer are answered with the new balance. Number says which transfer the money
// belongs to; 0 is cash.
type (
	Deposit struct {
		actor.Returns[int64]
		Number int
		Amount int64
	}
	Withdraw struct {
		actor.Returns[int64]
		Number int
		Amount int64
	}
	Transfer struct {
		actor.Returns[int64]
		Number int
		Amount int64
		To     actor.Ref
	}
)

// Balance asks for the balance, and Audit for the whole account.
type (
	Balance struct{ actor.Returns[int64] }
	Audit   struct{ actor.Returns[Account] }
)

// ErrFunds is the answer if there is not enough money.
var ErrFunds = rpc.NewError("bank.funds", "not enough money")

// Account is the state of an actor, and all of it is stored.
type Account struct {
	Balance  int64
	Sent     []int // the numbers of transfers from this account, for the audit
	Received []int // of those to it
}

// AccountKind is all that the system has to know about accounts. They are virtual: nobody spawns them, and
// each is active on one of the nodes, wherever that is. They are stored: their state is loaded when they become active,
// and what a handler has changed is written before its answer leaves.
var AccountKind = actor.Define("bank.account", func() *Account { return new(Account) },
	actor.Answer((*Account).Deposit),
	actor.Answer((*Account).Withdraw),
	actor.Answer((*Account).Transfer),
	actor.Read((*Account).ReadBalance),
	actor.Read((*Account).ReadAll),
).With(actor.Virtual(), actor.Stored(func(a *Account) *Account { return a }))

func (a *Account) Deposit(_ *actor.Context, m Deposit) (int64, error) {
	a.Balance += m.Amount
	a.Received = append(a.Received, m.Number)
	return a.Balance, nil
}

// Withdraw changes the account before it looks at the balance, because it can: an error undoes the change.
func (a *Account) Withdraw(_ *actor.Context, m Withdraw) (int64, error) {
	a.Balance -= m.Amount
	a.Sent = append(a.Sent, m.Number)
	if a.Balance < 0 {
		return 0, ErrFunds
	}
	return a.Balance, nil
}

// Transfer sends the money to another account. One write keeps the new balance, the answer, and the message with the
// money. So if this process dies, either nothing has happened, and the request is made again; or all of it
// has, and the account, which is then active in another process, sends the message and gives the answer.
func (a *Account) Transfer(ctx *actor.Context, m Transfer) (int64, error) {
	if err := actor.Tell(ctx, m.To, Deposit{Number: m.Number, Amount: m.Amount}); err != nil {
		return 0, err
	}
	return a.Withdraw(ctx, Withdraw{Number: m.Number, Amount: m.Amount}) // an error undoes the Tell, too
}

func (a *Account) ReadBalance(*actor.Context, Balance) (int64, error) { return a.Balance, nil }

func (a *Account) ReadAll(*actor.Context, Audit) (Account, error) { return *a, nil }

// Types of package main need names to be sent between programs.
func (Deposit) WireName() string  { return "bank.Deposit" }
func (Withdraw) WireName() string { return "bank.Withdraw" }
func (Transfer) WireName() string { return "bank.Transfer" }
func (Balance) WireName() string  { return "bank.Balance" }
func (Audit) WireName() string    { return "bank.Audit" }
func (Account) WireName() string  { return "bank.Account" }
