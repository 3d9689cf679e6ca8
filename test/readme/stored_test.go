// What the README says of stored actors runs.
package main_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	claimskv "github.com/tandem-go/tandem/placement/natskv"
	"github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/reminder"
	reminders "github.com/tandem-go/tandem/reminder/jetstream"
	"github.com/tandem-go/tandem/rpc"
	states "github.com/tandem-go/tandem/state/jetstream"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

type (
	Give struct {
		actor.Returns[int]
		To     actor.Ref
		Amount int
	}
	Credit struct{ Amount int }
	Owned  struct{ actor.Returns[int] }

	Invest      struct{ actor.Returns[int] }
	AddInterest struct{}
)

var ErrPoor = rpc.NewError("wallet.poor", "not enough money")

type Wallet struct{ Money int }

func (w *Wallet) Give(ctx *actor.Context, m Give) (int, error) {
	if w.Money < m.Amount {
		return 0, ErrPoor
	}
	w.Money -= m.Amount
	return w.Money, actor.Tell(ctx, m.To, Credit{m.Amount}) // leaves when the new state is written
}

func (w *Wallet) Credit(_ *actor.Context, m Credit) error  { w.Money += m.Amount; return nil }
func (w *Wallet) Owned(*actor.Context, Owned) (int, error) { return w.Money, nil }
func newWallet() *Wallet                                   { return &Wallet{Money: 100} }

var WalletKind = actor.Define("shop.wallet", newWallet,
	actor.Answer((*Wallet).Give), actor.Handle((*Wallet).Credit), actor.Read((*Wallet).Owned)).
	With(actor.Virtual(), actor.Stored(func(w *Wallet) *Wallet { return w }))

// Savings grow once a month.
type Savings struct{ Money int }

func (s *Savings) Invest(ctx *actor.Context, _ Invest) (int, error) {
	err := actor.Remind(ctx, "interest", reminder.Cron("0 3 1 * *", "Europe/Berlin"), AddInterest{})
	return s.Money, err
}

func (s *Savings) AddInterest(*actor.Context, AddInterest) error {
	s.Money += s.Money / 100
	return nil
}

var SavingsKind = actor.Define("shop.savings", func() *Savings { return &Savings{Money: 100} },
	actor.Answer((*Savings).Invest), actor.Handle((*Savings).AddInterest)).
	With(actor.Virtual(), actor.Stored(func(s *Savings) *Savings { return s }))

func keeping(ctx context.Context, name string, nc *nats.Conn) (*actor.System, error) {
	js, err := natsjs.New(nc)
	if err != nil {
		return nil, err
	}
	nodes, err := natskv.New(ctx, js, natskv.Config{})
	if err != nil {
		return nil, err
	}
	claims, err := claimskv.Open(ctx, js, claimskv.Config{})
	if err != nil {
		return nil, err
	}
	store, err := states.Open(ctx, js, states.Config{})
	if err != nil {
		return nil, err
	}
	reminding, err := reminders.Open(ctx, js, reminders.Config{})
	if err != nil {
		return nil, err
	}
	return actor.NewSystem(actor.Config{
		Name:       name,
		Transports: []transport.Transport{natsbus.New(nc, natsbus.Config{})},
		Registry:   nodes,
		Kinds:      []*actor.Kind{WalletKind, SavingsKind},
		Claims:     claims,
		States:     store,
		Reminders:  reminding,
	})
}

func TestWallets(t *testing.T) {
	srv, err := embedded.Start(embedded.Config{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Shutdown()
	for round := range 2 { // each with processes of its own, as far as the actors can tell
		var all []*actor.System
		for _, name := range []string{"a", "b"} {
			nc, err := natsbus.Connect(t.Context(), srv.URL())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			sys, err := keeping(t.Context(), name, nc)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, sys)
		}
		ann, bob := all[0].Virtual(WalletKind, "ann"), all[1].Virtual(WalletKind, "bob")
		if n, err := actor.Call(t.Context(), ann, Give{To: bob, Amount: 30}); n != 70-30*round || err != nil {
			t.Errorf("round %d: %d, %v", round, n, err)
		}
		for n := 0; n != 130+30*round && t.Context().Err() == nil; {
			if n, err = actor.Call(t.Context(), bob, Owned{}); err != nil {
				t.Fatal(err)
			}
		}
		savings := all[round].Virtual(SavingsKind, "ann")
		if _, err := actor.Call(t.Context(), savings, Invest{}); err != nil {
			t.Error(err)
		}
		for n := 0; n == 0; {
			list, err := all[0].Reminders(t.Context(), savings)
			if err != nil {
				t.Fatal(err)
			}
			berlin, err := time.LoadLocation("Europe/Berlin")
			if err != nil {
				t.Fatal(err)
			}
			if n = len(list); n > 1 || n == 1 && (list[0].Due.In(berlin).Day() != 1 || list[0].Due.In(berlin).Hour() != 3) {
				t.Errorf("%+v", list)
			}
		}
		for _, sys := range all {
			if err := sys.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
}
