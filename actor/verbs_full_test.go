package actor_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
)

// What a sender to a full mailbox gets, for each policy.
func TestFullMailbox(t *testing.T) {
	for _, row := range []struct {
		policy     mailbox.Policy
		tell, call rpc.Code // 0 if it is in the mailbox
		letters    int      // dead letters of two tells that wait and one that comes
		took       time.Duration
	}{
		{mailbox.Block, rpc.Expired, rpc.Expired, 0, time.Second},
		{mailbox.Refuse, rpc.Overloaded, rpc.Overloaded, 0, 0},
		{mailbox.DropNewest, 0, rpc.Overloaded, 1, 0},
		{mailbox.DropOldest, 0, 0, 2, 0},
	} {
		t.Run(row.policy.String(), func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				sys := newSystem(t, actor.Config{Logger: quiet})
				dead := letters(t, sys)
				ref := spawn(t, sys, "x", PuppetKind, small(2, row.policy))
				unplug := plug(t, ref)
				defer unplug()
				ran := 0
				count := note(func(*actor.Context) { ran++ })
				for range 2 {
					if err := actor.Tell(t.Context(), ref, count); err != nil {
						t.Fatal(err)
					}
				}
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				err := actor.Tell(ctx, ref, count)
				if took := time.Since(began); took != row.took {
					t.Errorf("tell took %v, want %v", took, row.took)
				}
				if row.tell == 0 && err != nil || row.tell != 0 && (rpc.CodeOf(err) != row.tell || rpc.Ran(err) != rpc.NotRun) {
					t.Errorf("tell: %v", err)
				}
				ctx, cancel = context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				called := 0
				f := actor.Ask(ctx, ref, run(func(*actor.Context) (string, error) { called++; return "", nil }))
				if row.call != 0 {
					_, err := f.Await(t.Context())
					wantErr(t, "call", err, row.call, rpc.NotRun)
				}
				if got := dead(); len(got) != row.letters {
					t.Errorf("%d dead letters, want %d: %v", len(got), row.letters, got)
				}
				for _, d := range dead() {
					wantErr(t, "dead letter", d.Reason, rpc.Overloaded, rpc.NotRun)
				}
				unplug()
				synctest.Wait()
				// Everything that was put into the mailbox and not dropped ran, and nothing else.
				want := map[mailbox.Policy][2]int{mailbox.Block: {2, 0}, mailbox.Refuse: {2, 0}, mailbox.DropNewest: {2, 0}, mailbox.DropOldest: {1, 1}}[row.policy]
				if ran != want[0] || called != want[1] {
					t.Errorf("%d tells and %d asks ran, want %v", ran, called, want)
				}
			})
		})
	}
}

// With DropOldest, a request that a newer message pushes out is refused.
func TestDropOldestRefusesRequest(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet})
		ref := spawn(t, sys, "x", PuppetKind, small(1, mailbox.DropOldest))
		defer plug(t, ref)()
		f := actor.Ask(t.Context(), ref, Count{})
		if err := actor.Tell(t.Context(), ref, note(func(*actor.Context) {})); err != nil {
			t.Fatal(err)
		}
		_, err := f.Await(t.Context())
		wantErr(t, "pushed out", err, rpc.Overloaded, rpc.NotRun)
	})
}

// A sender that waits for room continues when there is room. If its context ends first, its
// message is NotRun.
func TestBlockedSenders(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet})
		ref := spawn(t, sys, "x", PuppetKind, small(1, mailbox.Block))
		unplug := plug(t, ref)
		defer unplug()
		ran := 0
		count := note(func(*actor.Context) { ran++ })
		if err := actor.Tell(t.Context(), ref, count); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		canceled, called, patient, bounded := make(chan error, 1), make(chan error, 1), make(chan error, 1), make(chan error, 1)
		go func() { canceled <- actor.Tell(ctx, ref, count) }()
		go func() { _, err := actor.Call(ctx, ref, Count{}); called <- err }()
		began := time.Now()
		go func() { bounded <- actor.Tell(context.Background(), ref, count) }()
		synctest.Wait()
		cancel()
		wantErr(t, "tell, ctx cancelled", <-canceled, rpc.Canceled, rpc.NotRun)
		wantErr(t, "call, ctx cancelled", <-called, rpc.Canceled, rpc.NotRun)
		wantErr(t, "no deadline", <-bounded, rpc.Expired, rpc.NotRun)
		if took := time.Since(began); took != actor.DefaultTimeout {
			t.Errorf("without a deadline it took %v", took)
		}
		go func() { patient <- actor.Tell(t.Context(), ref, count) }()
		synctest.Wait()
		unplug()
		if err := <-patient; err != nil {
			t.Errorf("after room was made: %v", err)
		}
		synctest.Wait()
		if ran != 2 {
			t.Errorf("%d ran, want 2", ran)
		}
	})
}

// A handler that would wait for its own actor gets an error at once.
func TestSelf(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet})
		ref := spawn(t, sys, "x", PuppetKind, small(1, mailbox.Block))
		began := time.Now()
		_, err := actor.Call(t.Context(), ref, run(func(ctx *actor.Context) (string, error) {
			_, err := actor.Call(ctx, ctx.Self(), Count{})
			wantErr(t, "self-call", err, rpc.Invalid, rpc.NotRun)
			_, err = actor.Call(context.WithoutCancel(ctx), sys.Ref("x"), Count{})
			wantErr(t, "self-call by another ref", err, rpc.Invalid, rpc.NotRun)
			if err := actor.Tell(ctx, ctx.Self(), note(func(*actor.Context) {})); err != nil {
				t.Errorf("self-tell: %v", err)
			}
			wantErr(t, "self-tell, mailbox full", actor.Tell(ctx, ctx.Self(), note(func(*actor.Context) {})), rpc.Overloaded, rpc.NotRun)
			return "", nil
		}))
		if err != nil || time.Since(began) != 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// Each of two actors tells the other one, whose mailbox is full. Both get an error.
func TestCycleOfFullMailboxesEnds(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet})
		a, b := spawn(t, sys, "a", PuppetKind, small(1, mailbox.Block)), spawn(t, sys, "b", PuppetKind, small(1, mailbox.Block))
		began := time.Now()
		var both sync.WaitGroup
		both.Add(2)
		fill := func(other actor.Ref) Run {
			return run(func(ctx *actor.Context) (string, error) {
				both.Done()
				both.Wait()
				for range 2 { // the first waits in the mailbox, the second for room
					if err := actor.Tell(ctx, other, note(func(*actor.Context) {})); err != nil {
						return "", err
					}
				}
				return "", nil
			})
		}
		f, g := actor.Ask(t.Context(), a, fill(b)), actor.Ask(t.Context(), b, fill(a))
		_, err := f.Await(t.Context())
		_, err2 := g.Await(t.Context())
		if err == nil && err2 == nil {
			t.Error("nobody was told")
		}
		for _, err := range []error{err, err2} { // the error of one makes room, so the other may succeed
			if err != nil {
				wantErr(t, "in the cycle", err, rpc.Failed, rpc.HasRun)
				if !isOverloaded(err) {
					t.Errorf("the cause is not Overloaded: %v", err)
				}
			}
		}
		if took := time.Since(began); took != actor.DefaultSendWait {
			t.Errorf("took %v", took)
		}
	})
}

// With Acked, nil means that the message is in the mailbox, on this node as on another one.
func TestAckedOnThisNode(t *testing.T) {
	sys := newSystem(t, actor.Config{Logger: quiet})
	ref := spawn(t, sys, "x", PuppetKind, small(1, mailbox.DropNewest))
	unplug := plug(t, ref)
	nothing := note(func(*actor.Context) {})
	if err := actor.Tell(t.Context(), ref, nothing, rpc.Acked()); err != nil {
		t.Error(err)
	}
	wantErr(t, "to a full mailbox", actor.Tell(t.Context(), ref, nothing, rpc.Acked()), rpc.Overloaded, rpc.NotRun)
	unplug()
	actor.Halt(sys, ref)
	wantErr(t, "to an actor that has stopped", actor.Tell(t.Context(), ref, nothing, rpc.Acked()), rpc.NotFound, rpc.NotRun)
	wantErr(t, "to nobody", actor.Tell(t.Context(), sys.Ref("nobody@"+sys.Name()), nothing, rpc.Acked()), rpc.NotFound, rpc.NotRun)
	wantErr(t, "to a service without instances", actor.Tell(t.Context(), sys.Service("none"), nothing, rpc.Acked()), rpc.NotFound, rpc.NotRun)
}
