package main

import (
	"sync"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// Greet is a one-way message. Deposit is a request, answered with the new balance. Types of package
// main need a name to be sent between programs.
type (
	Greet   struct{ Text string }
	Deposit struct {
		actor.Returns[int64]
		ID     int
		Amount int64
	}
)

func (Greet) WireName() string   { return "quickstart.Greet" }
func (Deposit) WireName() string { return "quickstart.Deposit" }

// ErrAmount is an error of the application. errors.Is recognises it on every node.
var ErrAmount = rpc.NewError("quickstart.amount", "a deposit must be positive")

// Account is the state of an actor. Only the actor's handlers use it, one at a time, so it needs no
// lock.
type Account struct{ balance int64 }

func (a *Account) Greet(ctx *actor.Context, m Greet) error { return nil }

func (a *Account) Deposit(ctx *actor.Context, m Deposit) (int64, error) {
	if m.Amount <= 0 {
		return 0, ErrAmount
	}
	a.balance += m.Amount
	return a.balance, nil
}

// AccountKind says how to make an account, and which messages it handles.
var AccountKind = actor.Define("quickstart.account", func() *Account { return new(Account) },
	actor.Handle((*Account).Greet),
	actor.Answer((*Account).Deposit))

// Vault is an account that records in a ledger which deposits ran, to be checked afterwards.
type Vault struct {
	Account
	ledger *Ledger
}

func (v *Vault) Deposit(ctx *actor.Context, m Deposit) (int64, error) {
	v.ledger.Enter(m)
	return v.Account.Deposit(ctx, m)
}

// VaultKind returns a kind of vaults that share a ledger.
func VaultKind(l *Ledger) *actor.Kind {
	return actor.Define("quickstart.vault", func() *Vault { return &Vault{ledger: l} }, actor.Answer((*Vault).Deposit))
}

// Ledger counts how often each deposit ran. Several actors use it, so it has a lock.
type Ledger struct {
	mu      sync.Mutex // guards what follows
	runs    map[int]int
	balance int64
	count   int
}

// Enter records that a deposit runs.
func (l *Ledger) Enter(m Deposit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs[m.ID]++
	l.balance += m.Amount
	l.count++
}

// Count returns how many deposits have run.
func (l *Ledger) Count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// Sum returns the balance, how many deposits ran, and how many did not run exactly once.
func (l *Ledger) Sum() (balance int64, executed, wrong int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range total {
		if l.runs[id] != 1 {
			wrong++
		}
	}
	return l.balance, l.count, wrong
}
