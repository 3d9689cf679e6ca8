package main

import (
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// The messages to an account. All but Statement are answered with the balance. Number is that of the transfer to which
// the money belongs, or cash.
type (
	Deposit struct {
		actor.Returns[int64]
		Number int
		Amount int64
	}
	Withdraw Deposit
	Transfer struct {
		actor.Returns[int64]
		Number int
		Amount int64
		To     actor.Ref
	}
	Balance   struct{ actor.Returns[int64] }
	Statement struct{ actor.Returns[Account] }
)

const cash = 0

// ErrFunds is the answer if there is not enough money.
var ErrFunds = rpc.NewError("bank.funds", "not enough money")

// Account is the state of an actor. All of it is stored.
type Account struct {
	Balance        int64
	Sent, Received []int // the numbers of transfers
}

// AccountKind is all that nodes have to know about accounts. They are virtual: nobody spawns them, and each is active on
// one of the nodes. They are stored: their state is loaded when they become active, and no answer leaves before what its
// handler has changed is written.
var AccountKind = actor.Define("bank.account", func() *Account { return new(Account) },
	actor.Answer((*Account).deposit),
	actor.Answer((*Account).withdraw),
	actor.Answer((*Account).transfer),
	actor.Read((*Account).balance), // nothing is written after a handler that only reads
	actor.Read((*Account).statement),
).With(actor.Virtual(), actor.Stored(func(a *Account) *Account { return a }))

func (a *Account) deposit(_ *actor.Context, m Deposit) (int64, error) {
	a.Balance += m.Amount
	a.Received = append(a.Received, m.Number)
	return a.Balance, nil
}

// withdraw may change the account before it looks at the balance, because an error undoes the change.
func (a *Account) withdraw(_ *actor.Context, m Withdraw) (int64, error) {
	a.Balance -= m.Amount
	a.Sent = append(a.Sent, m.Number)
	if a.Balance < 0 {
		return 0, ErrFunds
	}
	return a.Balance, nil
}

// transfer sends money to another account. One write keeps the new balance, the answer, and the message that has the
// money. If the process dies before it, nothing has happened, and the request is made again. If it dies after it, the account
// becomes active in another process, and sends the message and the answer from there.
func (a *Account) transfer(ctx *actor.Context, m Transfer) (int64, error) {
	if err := actor.Tell(ctx, m.To, Deposit{Number: m.Number, Amount: m.Amount}); err != nil {
		return 0, err
	}
	return a.withdraw(ctx, Withdraw{Number: m.Number, Amount: m.Amount}) // its error also undoes the Tell
}

func (a *Account) balance(*actor.Context, Balance) (int64, error) { return a.Balance, nil }

func (a *Account) statement(*actor.Context, Statement) (Account, error) { return *a, nil }

// A type of package main needs a name to travel to another node.
func (Deposit) WireName() string   { return "bank.Deposit" }
func (Withdraw) WireName() string  { return "bank.Withdraw" }
func (Transfer) WireName() string  { return "bank.Transfer" }
func (Balance) WireName() string   { return "bank.Balance" }
func (Statement) WireName() string { return "bank.Statement" }
func (Account) WireName() string   { return "bank.Account" }
