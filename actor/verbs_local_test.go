package actor_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
)

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
	actor.Halt(sys, ref)
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

// Messages of one sender arrive in the order in which they were sent, whatever other senders
// do.
func TestOrderPerSender(t *testing.T) {
	sys := newSystem(t, actor.Config{Logger: quiet})
	ref := spawn(t, sys, "x", PuppetKind, small(16, mailbox.Block))
	got := make([][]int, 8)
	var all sync.WaitGroup
	for g := range got {
		all.Go(func() {
			for i := range 500 {
				if err := actor.Tell(t.Context(), ref, note(func(*actor.Context) { got[g] = append(got[g], i) })); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n, err := actor.Call(t.Context(), ref, Count{}); n != 8*500 || err != nil {
		t.Fatalf("%d handled, %v", n, err)
	}
	for g := range got {
		if len(got[g]) != 500 || !slices.IsSorted(got[g]) {
			t.Errorf("sender %d: %v", g, got[g])
		}
	}
}
