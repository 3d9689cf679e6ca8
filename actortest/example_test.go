package actortest_test

// In a test of yours, t comes from the testing package. An example has none, so the examples
// run their bodies through inTest, which makes one.

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/actortest"
	"github.com/tandem-go/tandem/rpc"
)

// What the examples test: a Till that has each payment approved, and tells who audits it.
type (
	Pay struct {
		actor.Returns[int]
		Amount int
	}
	Approve struct {
		actor.Returns[bool]
		Amount int
	}
	Paid struct{ Amount int }
)

type Till struct {
	paid           int
	bank, auditors actor.Ref
}

func (s *Till) Pay(ctx *actor.Context, m Pay) (int, error) {
	if ok, err := actor.Call(ctx, s.bank, Approve{Amount: m.Amount}); err != nil || !ok {
		return 0, errors.Join(errors.New("not approved"), err)
	}
	s.paid += m.Amount
	return s.paid, actor.Tell(ctx, s.auditors, Paid{m.Amount})
}

func tillKind(bank, auditors actor.Ref) *actor.Kind {
	return actor.Define("shop.till", func() *Till { return &Till{bank: bank, auditors: auditors} }, actor.Answer((*Till).Pay))
}

// The actors that the tested one talks to are probes.
func Example() {
	inTest(func(t *testing.T) { // func TestTill(t *testing.T) {
		sys := actortest.NewSystem(t, actor.Config{})
		bank := actortest.NewProbe(t, sys, "bank", actortest.Answers(func(m Approve) (bool, error) { return m.Amount < 100, nil }))
		audit := actortest.NewProbe(t, sys, "audit")
		till := actortest.Spawn(t, sys, "till", tillKind(bank.Ref, audit.Ref))

		paid, err := actor.Call(t.Context(), till, Pay{Amount: 30})
		fmt.Println(paid, err)
		fmt.Println("the bank was asked for", actortest.Expect[Approve](bank).Amount)
		fmt.Println("the audit was told of", actortest.Expect[Paid](audit).Amount)
	})
	// Output:
	// 30 <nil>
	// the bank was asked for 30
	// the audit was told of 30
}

func ExampleNewSystem() {
	inTest(func(t *testing.T) {
		sys := actortest.NewSystem(t, actor.Config{Name: "office"})
		t.Cleanup(func() { fmt.Println("the test ends, and the system with it") })
		fmt.Println(sys.Name())
	})
	// Output:
	// office
	// the test ends, and the system with it
}

func ExampleSpawn() {
	inTest(func(t *testing.T) {
		sys := actortest.NewSystem(t, actor.Config{})
		till := actortest.Spawn(t, sys, "till", tillKind(actor.Ref{}, actor.Ref{}))
		fmt.Println(till)
	})
	// Output: till@local
}

// A bubble's clock jumps when everything waits.
func ExampleBubble() {
	inTest(func(t *testing.T) {
		actortest.Bubble(t, func(t *testing.T) {
			began := time.Now()
			sys := actortest.NewSystem(t, actor.Config{Timeout: time.Hour})
			slow := actortest.NewProbe(t, sys, "slow", actortest.Answers(func(Approve) (bool, error) { time.Sleep(time.Hour + time.Second); return true, nil }))
			_, err := actor.Call(t.Context(), slow.Ref, Approve{})
			fmt.Println(rpc.CodeOf(err), "after", time.Since(began))
		})
	})
	// Output: rpc: expired after 1h0m0s
}

func ExampleNewProbe() {
	inTest(func(t *testing.T) {
		sys := actortest.NewSystem(t, actor.Config{})
		audit := actortest.NewProbe(t, sys, "audit")
		_ = actor.Tell(t.Context(), audit.Ref, Paid{5}) // in a test of yours, the tested actor does this
		fmt.Println(actortest.Expect[Paid](audit).Amount)
	})
	// Output: 5
}

func ExampleExpect() {
	inTest(func(t *testing.T) {
		audit := actortest.NewProbe(t, actortest.NewSystem(t, actor.Config{}), "audit")
		_ = actor.Tell(t.Context(), audit.Ref, Paid{5})
		_ = actor.Tell(t.Context(), audit.Ref, Approve{Amount: 6})
		fmt.Println(actortest.Expect[Paid](audit).Amount)
		fmt.Printf("%T\n", actortest.Expect[any](audit)) // of whatever type
	})
	// Output:
	// 5
	// actortest_test.Approve
}

func ExampleExpectFrom() {
	inTest(func(t *testing.T) {
		sys := actortest.NewSystem(t, actor.Config{})
		bank := actortest.NewProbe(t, sys, "bank", actortest.Answers(func(Approve) (bool, error) { return true, nil }))
		audit := actortest.NewProbe(t, sys, "audit")
		till := actortest.Spawn(t, sys, "till", tillKind(bank.Ref, audit.Ref))
		_, _ = actor.Call(t.Context(), till, Pay{Amount: 30})
		m, sender := actortest.ExpectFrom[Paid](audit)
		fmt.Println(m.Amount, "from", sender)
	})
	// Output: 30 from till@local
}

func ExampleProbe_ExpectNothing() {
	inTest(func(t *testing.T) {
		actortest.Bubble(t, func(t *testing.T) {
			sys := actortest.NewSystem(t, actor.Config{})
			bank := actortest.NewProbe(t, sys, "bank", actortest.Answers(func(Approve) (bool, error) { return false, nil }))
			audit := actortest.NewProbe(t, sys, "audit")
			till := actortest.Spawn(t, sys, "till", tillKind(bank.Ref, audit.Ref))
			_, err := actor.Call(t.Context(), till, Pay{Amount: 30})
			audit.ExpectNothing(time.Minute) // of the bubble's time
			fmt.Println(err)
		})
	})
	// Output: rpc: failed: not approved [ran]
}

func ExampleAnswers() {
	inTest(func(t *testing.T) {
		sys := actortest.NewSystem(t, actor.Config{})
		bank := actortest.NewProbe(t, sys, "bank", actortest.Answers(func(m Approve) (bool, error) {
			if m.Amount < 0 {
				return false, errors.New("a negative amount")
			}
			return m.Amount < 100, nil
		}))
		for _, amount := range []int{5, 500, -5} {
			fmt.Println(actor.Call(t.Context(), bank.Ref, Approve{Amount: amount}))
		}
	})
	// Output:
	// true <nil>
	// false <nil>
	// false rpc: failed: a negative amount [ran]
}

// Other nodes may send what the probe accepts.
func ExampleAccepts() {
	inTest(func(t *testing.T) {
		actortest.Bubble(t, func(t *testing.T) {
			a, b := pair(t, "direct")
			audit := actortest.NewProbe(t, b, "audit", actortest.Accepts[Paid]())
			_ = actor.Tell(t.Context(), a.Ref("audit@b"), Paid{5})
			fmt.Println(actortest.Expect[Paid](audit).Amount)
		})
	})
	// Output: 5
}

func ExampleWithin() {
	inTest(func(t *testing.T) {
		actortest.Bubble(t, func(t *testing.T) {
			audit := actortest.NewProbe(t, actortest.NewSystem(t, actor.Config{}), "audit", actortest.Within(time.Hour))
			time.AfterFunc(59*time.Minute, func() { _ = actor.Tell(t.Context(), audit.Ref, Paid{5}) })
			fmt.Println(actortest.Expect[Paid](audit).Amount)
		})
	})
	// Output: 5
}
