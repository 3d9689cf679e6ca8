package actor_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// A cycle of actors that wait for each other is refused at once, and leaves nothing behind.
func TestCycleOfCallsIsRefused(t *testing.T) {
	sys := newSystem(t, actor.Config{Timeout: time.Minute})
	a, b, c := spawn(t, sys, "a", PuppetKind), spawn(t, sys, "b", PuppetKind), spawn(t, sys, "c", PuppetKind)
	call := func(to actor.Ref, f func(*actor.Context) (string, error)) func(*actor.Context) (string, error) {
		return func(ctx *actor.Context) (string, error) { return actor.Call(ctx, to, run(f)) }
	}
	var inner error
	back := func(ctx *actor.Context) (string, error) {
		_, inner = actor.Call(ctx, a, run(func(*actor.Context) (string, error) { return "", nil }))
		return "c", nil
	}
	for range 3 { // the refusal leaves nothing behind
		if got, err := actor.Call(t.Context(), a, run(call(b, call(c, back)))); got != "c" || err != nil {
			t.Fatal(got, err)
		}
		wantErr(t, "the cycle", inner, rpc.Cycle, rpc.NotRun)
		if !errors.Is(inner, actor.ErrCycle) {
			t.Error(inner)
		}
		if got, err := actor.Call(t.Context(), c, run(call(b, func(*actor.Context) (string, error) { return "b", nil }))); got != "b" || err != nil {
			t.Fatal("no cycle:", got, err)
		}
	}
}
