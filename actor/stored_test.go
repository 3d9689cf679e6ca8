package actor_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/state/memory"
	"github.com/tandem-go/tandem/test/bubble"
)

// The stored kind that the tests use: an account.
type (
	pay struct {
		actor.Returns[int]
		Amount int
		Tell   actor.Ref // is told of it; zero: nobody
		Then   string    // "error", "panic": what the handler does when it has changed the state
	}
	owned struct{ actor.Returns[int] }
	paid  struct{ Amount int }
)

func (pay) WireName() string   { return "stored.pay" }
func (owned) WireName() string { return "stored.balance" }
func (paid) WireName() string  { return "stored.paid" }

type account struct {
	Sum   int
	Moves []int
	calls int // of pay, by this activation
}

var errPoor = rpc.NewError("stored.poor", "not enough")

func (a *account) pay(ctx *actor.Context, m pay) (int, error) {
	a.calls++
	a.Sum += m.Amount
	a.Moves = append(a.Moves, m.Amount)
	if !m.Tell.IsZero() {
		if err := actor.Tell(ctx, m.Tell, paid{m.Amount}); err != nil {
			return 0, err
		}
	}
	switch m.Then {
	case "error":
		return 0, errPoor
	case "panic":
		panic("poor")
	}
	return a.Sum, nil
}

func (a *account) owned(*actor.Context, owned) (int, error) { return a.Sum, nil }

func (a *account) paid(_ *actor.Context, m paid) error {
	a.Sum += m.Amount
	return nil
}

var accountKind = actor.Define("account", func() *account { return &account{Sum: 100} },
	actor.Answer((*account).pay), actor.Read((*account).owned), actor.Handle((*account).paid)).
	With(actor.Virtual(), actor.Stored(func(a *account) *account { return a }), actor.Idle(time.Minute))

// The state of a stored actor outlives its activation and its node, and a handler that fails has changed nothing.
func TestStored(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		states := memory.New(memory.Config{})
		cfg := actor.Config{Kinds: []*actor.Kind{accountKind}, States: states, Logger: quiet}
		sys := newSystem(t, cfg)
		ref := sys.Virtual(accountKind, "alice")
		check := func(want int) {
			t.Helper()
			if n, err := actor.Call(t.Context(), ref, owned{}); n != want || err != nil {
				t.Fatalf("the balance is %d, %v; want %d", n, err, want)
			}
		}
		check(100)
		if n, err := actor.Call(t.Context(), ref, pay{Amount: 5}); n != 105 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		if _, err := actor.Call(t.Context(), ref, pay{Amount: 7, Then: "error"}); rpc.Ran(err) != rpc.HasRun || rpc.CodeOf(err) != rpc.Failed {
			t.Fatal(err)
		}
		check(105)
		if _, err := actor.Call(t.Context(), ref, pay{Amount: 7, Then: "panic"}); rpc.CodeOf(err) != rpc.Panicked {
			t.Fatal(err)
		}
		check(105)
		if n, err := actor.Ask(t.Context(), ref, pay{Amount: 1}).Await(t.Context()); n != 106 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		time.Sleep(3 * time.Minute) // it is idle, and ends
		synctest.Wait()
		check(106)
		if st := sys.Stats().Virtual; st.Begun != 2 {
			t.Errorf("%+v", st)
		}
		if err := sys.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		sys = newSystem(t, cfg)
		ref = sys.Virtual(accountKind, "alice")
		check(106)
	})
}

// What a handler sends leaves once its effect is stored, and is dropped with it.
func TestStoredSends(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Kinds: []*actor.Kind{accountKind}, States: memory.New(memory.Config{}), Logger: quiet})
		alice, bob := sys.Virtual(accountKind, "alice"), sys.Virtual(accountKind, "bob")
		for i, m := range []pay{{Amount: -5, Tell: bob}, {Amount: -7, Tell: bob, Then: "error"}, {Amount: -7, Tell: bob, Then: "panic"}, {Amount: -1, Tell: bob}} {
			if _, err := actor.Call(t.Context(), alice, m); (err != nil) != (m.Then != "") {
				t.Fatal(i, err)
			}
		}
		synctest.Wait()
		for ref, want := range map[actor.Ref]int{alice: 94, bob: 94} {
			if n, err := actor.Call(t.Context(), ref, owned{}); n != want || err != nil {
				t.Errorf("%v has %d, %v; want %d", ref, n, err, want)
			}
		}
	})
}
