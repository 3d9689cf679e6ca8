package actor_test

import (
	"context"
	"errors"
	"testing"
	"time"

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

func newSystem(t testing.TB, cfg actor.Config) *actor.System {
	t.Helper()
	sys, err := actor.NewSystem(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := sys.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return sys
}

func TestLocalPatterns(t *testing.T) {
	sys := newSystem(t, actor.Config{})
	ctx := t.Context()
	ref, err := sys.Spawn("alice", AccountKind)
	if err != nil {
		t.Fatal(err)
	}
	if err := actor.Tell(ctx, ref, Deposit{5}); err != nil {
		t.Fatal(err)
	}
	if n, err := actor.Call(ctx, ref, Balance{}); n != 5 || err != nil {
		t.Fatalf("balance %d, %v", n, err)
	}
	f := actor.Ask(ctx, ref, Withdraw{Amount: 2})
	if n, err := f.Await(ctx); n != 3 || err != nil {
		t.Fatalf("withdraw %d, %v", n, err)
	}
	_, err = actor.Call(ctx, ref, Withdraw{Amount: 100})
	if !errors.Is(err, errFunds) || rpc.Ran(err) != rpc.HasRun {
		t.Fatalf("withdraw: %v, ran: %v", err, rpc.Ran(err))
	}
	if _, err := sys.Spawn("alice", AccountKind); !errors.Is(err, actor.ErrNameTaken) {
		t.Fatalf("second spawn: %v", err)
	}
	if _, err := actor.Call(ctx, ref, Crash{}); rpc.CodeOf(err) != rpc.Panicked {
		t.Fatalf("crash: %v", err)
	}
	if n, err := actor.Call(ctx, ref, Balance{}); n != 0 || err != nil {
		t.Fatalf("balance after restart %d, %v", n, err)
	}
	if sys.Ref("alice") != ref {
		t.Fatal("refs of one address differ")
	}
	sys.Stop(ref)
	if _, err := actor.Call(ctx, ref, Balance{}); rpc.CodeOf(err) != rpc.NotFound || rpc.Ran(err) != rpc.NotRun {
		t.Fatalf("call to a stopped actor: %v", err)
	}
}

func BenchmarkTell(b *testing.B) {
	sys := newSystem(b, actor.Config{})
	ref, _ := sys.Spawn("a", AccountKind)
	b.ReportAllocs()
	for b.Loop() {
		if err := actor.Tell(b.Context(), ref, Deposit{1}); err != nil {
			b.Fatal(err)
		}
	}
	if n, _ := actor.Call(b.Context(), ref, Balance{}); n != int64(b.N) {
		b.Fatalf("executed %d of %d", n, b.N)
	}
}

func BenchmarkCall(b *testing.B) {
	sys := newSystem(b, actor.Config{})
	ref, _ := sys.Spawn("a", AccountKind)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := actor.Call(ctx, ref, Balance{}); err != nil {
			b.Fatal(err)
		}
	}
}
