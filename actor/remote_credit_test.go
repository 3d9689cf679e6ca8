package actor_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport/memnet"
)

// A burst of one-way messages is many times as large as the receiver's mailbox. It arrives
// whole: the sender waits, and nothing becomes a dead letter.
func TestTellsToASlowActorWait(t *testing.T) {
	const burst = 20_000
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		ref := spawn(t, b, "slow", AccountKind)
		to, dead := a.Ref("slow@b"), letters(t, b)
		for range burst {
			if err := actor.Tell(t.Context(), to, Deposit{1}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n, err := actor.Call(t.Context(), ref, Balance{}); n != burst || err != nil {
			t.Errorf("%d of %d came, %v; dead letters: %v", n, burst, err, dead())
		}
	})
}

// An actor that is stuck makes its own senders wait once their credit is used up, and no
// other senders.
func TestAStuckActorHoldsUpNobodyElse(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		stuck, dead := spawn(t, b, "stuck", PuppetKind), letters(t, b)
		spawn(t, b, "quick", AccountKind)
		unplug := plug(t, stuck)
		sent := make(chan int)
		go func() {
			n := 0
			for ; n < 10_000; n++ {
				if err := actor.Tell(t.Context(), a.Ref("stuck@b"), Other{}); err != nil {
					wantErr(t, "told too much", err, rpc.Overloaded, rpc.NotRun)
					break
				}
			}
			sent <- n
		}()
		synctest.Wait()
		for range 1000 {
			if err := actor.Tell(t.Context(), a.Ref("quick@b"), Deposit{1}); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := actor.Call(t.Context(), a.Ref("quick@b"), Balance{}); n != 1000 || err != nil {
			t.Errorf("the quick one: %d, %v", n, err)
		}
		n := <-sent // known after the timeout of a call without a deadline
		if n < 1024 || n > 2048 {
			t.Errorf("%d messages were taken for an actor that does not move", n)
		}
		if got := dead(); len(got) != 0 {
			t.Errorf("dead letters: %v", got)
		}
		unplug()
		synctest.Wait()
		if got := dead(); len(got) == 0 { // nobody handles Other, and now they have left the mailbox
			t.Error("the messages never had their turn")
		}
		if err := actor.Tell(t.Context(), a.Ref("stuck@b"), Other{}); err != nil {
			t.Errorf("after it moved again: %v", err)
		}
	})
}

// A mailbox that drops messages makes no sender wait, and a receipt does not take the place
// of a message in it.
func TestDroppingMailboxesGiveCreditAtOnce(t *testing.T) {
	for _, policy := range []mailbox.Policy{mailbox.Refuse, mailbox.DropNewest, mailbox.DropOldest} {
		eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
			ref := spawn(t, b, "x", PuppetKind, small(4, policy))
			unplug := plug(t, ref)
			dead := letters(t, b)
			const burst = 2000
			for range burst {
				if err := actor.Tell(t.Context(), a.Ref("x@b"), Note{}); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			if s := b.Stats().DeadLetters; s != burst-4 {
				t.Errorf("%v: %d dead letters, want %d", policy, s, burst-4)
			}
			dead()
			actor.Halt(b, ref)
			unplug()
		})
	}
}

// Credit survives the death of links: no sender waits for ever for a receipt that was lost
// with a link.
func TestCreditSurvivesLinks(t *testing.T) {
	world(t, []string{"direct", "bus"}, func(t *testing.T, net *memnet.Network, a, b *actor.System) {
		spawn(t, b, "x", AccountKind)
		to := a.Ref("x@b")
		for i := range 20_000 {
			if i%1000 == 500 {
				net.Reset("direct", "a", "b")
			}
			if i%3000 == 700 {
				net.Reset("bus", "a", "b")
			}
			if err := actor.Tell(t.Context(), to, Deposit{1}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		if s := a.Stats().RPC; s.Outstanding != 0 {
			t.Errorf("%d receipts are owed", s.Outstanding)
		}
	})
}
