//go:build !race

package actor_test

import (
	"context"
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/intercept"
	"github.com/tandem-go/tandem/rpc"
)

// An interceptor that does nothing costs one allocation for each message, its next: nothing is
// made that it does not ask for.
func TestInterceptedAllocations(t *testing.T) {
	const burst = 512 // fits into a mailbox
	idle := func(ctx context.Context, _ *intercept.Operation, next func(context.Context) error) error {
		return next(ctx)
	}
	sys := newSystem(t, actor.Config{Logger: quiet, Outgoing: []intercept.Func{idle}, Incoming: []intercept.Func{idle}})
	d := &depot{want: burst, done: make(chan struct{}), answer: new(parcel)}
	ref := spawn(t, sys, "depot", actor.Define("depot", func() *depot { return d },
		actor.Handle((*depot).pointer), actor.Handle((*depot).value), actor.Answer((*depot).ask), actor.Answer((*depot).byValue)))
	ctx, m, q := context.Background(), new(parcel), new(parcelQuestion)
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct {
		what  string
		most  float64
		round func() // burst operations
	}{
		{"a pointer told", 2, func() {
			for range burst {
				must(actor.Tell(ctx, ref, m))
			}
			<-d.done
		}},
		{"a pointer told with an option", 2, func() {
			for range burst {
				must(actor.Tell(ctx, ref, m, rpc.Acked()))
			}
			<-d.done
		}},
		{"a value told", 3, func() { // the value goes into an interface
			for range burst {
				must(actor.Tell(ctx, ref, *m))
			}
			<-d.done
		}},
		{"a call", 2, func() {
			for range burst {
				_, err := actor.Call(ctx, ref, q)
				must(err)
			}
		}},
		{"a call by value", 3, func() {
			for range burst {
				_, err := actor.Call(ctx, ref, valueQuestion{Data: m.Data})
				must(err)
			}
		}},
	} {
		n := allocations(burst, row.round)
		t.Logf("%s: %.3f allocations", row.what, n)
		if n > row.most+0.1 {
			t.Errorf("%s: %.2f allocations, want %v", row.what, n, row.most)
		}
	}
}
