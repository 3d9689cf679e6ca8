package actor_test

// Letters that are sent again while roads and nodes are lost.

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/deadletter"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport/memnet"
)

// lettersBetween runs a test in a cluster, in which node a keeps a letter for an actor of node b.
// The letter is one of its own, and then one that came from node c.
func lettersBetween(t *testing.T, run func(t *testing.T, c *cluster, got *cards, a, b *actor.System, id string)) {
	for _, from := range []string{"a", "c"} {
		t.Run("of "+from, func(t *testing.T) {
			onEachRoad(t, func(t *testing.T, c *cluster) {
				got := new(cards)
				a, b := c.start("a"), c.start("b")
				spawn(t, b, "x", got.kind())
				if _, err := actor.Call(t.Context(), a.Ref("x@b"), Count{}); err != nil { // the roads are open
					t.Fatal(err)
				}
				src := a
				if from == "c" {
					src = c.start("c")
				}
				tell(t, src.Ref("nobody@a"), Card{1, "of " + from})
				time.Sleep(moment)
				run(t, c, got, a, b, onlyLetter(t, a).ID)
			})
		})
	}
}

// resend sends a letter, and gives up after a while.
func resend(t *testing.T, a *actor.System, id, to string) error {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	return a.ResendLetter(ctx, id, a.Ref(to))
}

// unclear sends a letter to x@b whose answer is lost. arrives says that the letter arrives.
func unclear(t *testing.T, c *cluster, a *actor.System, id string, arrives bool) {
	t.Helper()
	if arrives {
		c.net.Hold("", "b", "a")
	} else {
		c.net.Partition("", "a", "b")
	}
	err := resend(t, a, id, "x@b")
	wantErr(t, "the answer is lost", err, rpc.Expired, rpc.Unknown)
	l := onlyLetter(t, a)
	if l.State != deadletter.Unclear || l.SentTo != "x@b" || time.Until(l.Until) > rpc.DefaultKeyLife || l.ID != id {
		t.Errorf("%+v", l)
	}
}

// A letter that may have arrived is sent again, and is accepted once, whether it had arrived or
// not. Meanwhile it can be sent nowhere else.
func TestUnclearLetterIsAcceptedOnce(t *testing.T) {
	for what, arrives := range map[string]bool{"it had arrived": true, "it is lost": false} {
		t.Run(what, func(t *testing.T) {
			lettersBetween(t, func(t *testing.T, c *cluster, got *cards, a, b *actor.System, id string) {
				spawn(t, b, "y", got.kind())
				unclear(t, c, a, id, arrives)
				if n := len(got.all()); arrives && n != 1 {
					t.Errorf("it came %d times", n)
				}
				wantLetterErr(t, "elsewhere", resend(t, a, id, "y@b"), deadletter.ErrUnclear)
				wantLetterErr(t, "to a node that is unknown", resend(t, a, id, "x@d"), deadletter.ErrUnclear)
				if err := resend(t, a, id, "x@b"); err == nil || rpc.Ran(err) != rpc.Unknown {
					t.Errorf("to a node that is cut off: %v", err)
				}
				if l := onlyLetter(t, a); l.State != deadletter.Unclear {
					t.Errorf("%+v", l)
				}
				c.net.Heal("", "a", "b")
				time.Sleep(time.Minute)
				if err := resend(t, a, id, "x@b"); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Minute)
				if came := got.all(); len(came) != 1 || came[0].at != "x@b" || a.Stats().LettersKept != 0 {
					t.Errorf("came %+v", came)
				}
			})
		})
	}
}

// An actor that is lost with its node may have had the letter. Its successor does not know the
// key, so the letter is not sent to it.
func TestUnclearLetterAfterARestart(t *testing.T) {
	lettersBetween(t, func(t *testing.T, c *cluster, got *cards, a, b *actor.System, id string) {
		unclear(t, c, a, id, true)
		c.kill(b, nil)
		spawn(t, c.start("b"), "x", got.kind())
		c.net.Heal("", "a", "b")
		for range 2 {
			if err := resend(t, a, id, "x@b"); err == nil || rpc.Ran(err) != rpc.Unknown {
				t.Errorf("to the next start: %v", err)
			}
		}
		wantLetterErr(t, "to the next start", resend(t, a, id, "x@b"), deadletter.ErrUnclear)
		time.Sleep(time.Minute)
		if came := got.all(); len(came) != 1 || onlyLetter(t, a).State != deadletter.Unclear {
			t.Errorf("came %+v", came)
		}
		if n := a.DiscardLetters(deadletter.Filter{ID: id}); n != 1 {
			t.Errorf("%d discarded", n)
		}
	})
}

// A letter that never left goes to the next start of its node.
func TestLetterGoesToTheNextStart(t *testing.T) {
	lettersBetween(t, func(t *testing.T, c *cluster, got *cards, a, b *actor.System, id string) {
		c.kill(b, nil)
		err := resend(t, a, id, "x@b")
		if err == nil || rpc.Ran(err) != rpc.NotRun || onlyLetter(t, a).State != deadletter.Undelivered {
			t.Errorf("while the node is away: %v", err)
		}
		spawn(t, c.start("b"), "x", got.kind())
		if err := resend(t, a, id, "x@b"); err != nil {
			t.Error(err)
		}
		if came := got.all(); len(came) != 1 {
			t.Errorf("came %+v", came)
		}
	})
}

// When its receiver may have forgotten the key, the letter is not sent again.
func TestUnclearLetterIsTooOld(t *testing.T) {
	lettersBetween(t, func(t *testing.T, c *cluster, got *cards, a, b *actor.System, id string) {
		unclear(t, c, a, id, true)
		c.net.Heal("", "a", "b")
		until := onlyLetter(t, a).Until
		time.Sleep(time.Until(until))
		wantLetterErr(t, "at its time", resend(t, a, id, "x@b"), deadletter.ErrUnclear)
		if came := got.all(); len(came) != 1 {
			t.Errorf("came %+v", came)
		}
	})
}

// A road that is lost while a letter is on its way costs nothing if there is another one.
func TestLetterAcrossRoads(t *testing.T) {
	clusters(t, []string{"direct", "bus"}, func(t *testing.T, c *cluster) {
		got := new(cards)
		a, b := c.start("a"), c.start("b")
		spawn(t, b, "x", got.kind())
		for n, lost := range []string{"direct", "bus"} {
			tell(t, a.Ref("nobody"), Card{N: n})
			if _, err := actor.Call(t.Context(), a.Ref("x@b"), Count{}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			c.net.Hold(lost, "b", "a")
			result := make(chan error, 1)
			go func() { result <- a.ResendLetter(t.Context(), onlyLetter(t, a).ID, a.Ref("x@b")) }()
			synctest.Wait()
			c.net.Reset(lost, "a", "b")
			if err := <-result; err != nil {
				t.Errorf("%s is lost: %v", lost, err)
			}
			c.net.Heal("", "a", "b")
			if came := got.all(); len(came) != n+1 {
				t.Errorf("%s is lost: came %+v", lost, came)
			}
		}
	})
}

// One-way messages to a durable actor have no key. A letter to it is sent once all the same, and
// not again if it may have arrived.
func TestLetterToADurableActor(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		got, d := new(cards), new(disk)
		kind := got.kind().With(actor.Durable())
		a, b := c.start("a"), c.start("b", d.config, func(cfg *actor.Config) { cfg.Kinds = []*actor.Kind{kind} })
		spawn(t, b, "x", kind)
		for n := range 2 {
			tell(t, a.Ref("nobody"), Card{N: n})
		}
		all := a.KeptLetters(deadletter.Filter{})
		if err := resend(t, a, all[0].ID, "x@b"); err != nil {
			t.Fatal(err)
		}
		c.net.SetFaults("", "b", "a", memnet.Faults{MinDelay: time.Second, MaxDelay: time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond) // the refusal of the key comes after a second, and nothing of the second attempt
		defer cancel()
		err := a.ResendLetter(ctx, all[1].ID, a.Ref("x@b"))
		wantErr(t, "the answer is lost", err, rpc.Expired, rpc.Unknown)
		time.Sleep(time.Minute)
		wantLetterErr(t, "again", resend(t, a, all[1].ID, "x@b"), deadletter.ErrUnclear)
		if came := got.all(); len(came) != 2 {
			t.Errorf("came %+v", came)
		}
		tell(t, b.Ref("nobody"), Card{N: 3})
		if err := resend(t, b, onlyLetter(t, b).ID, "x@b"); err != nil { // on the same node it needs no key
			t.Error(err)
		}
	})
}

// A letter that may have arrived stays so when a later attempt provably does not run: it is not sent
// elsewhere.
func TestUnclearLetterStaysSo(t *testing.T) {
	lettersBetween(t, func(t *testing.T, c *cluster, got *cards, a, b *actor.System, id string) {
		spawn(t, b, "y", got.kind())
		unclear(t, c, a, id, false)
		if err := b.StopNow(t.Context(), b.Ref("x")); err != nil {
			t.Error(err)
		}
		c.net.Heal("", "a", "b")
		time.Sleep(time.Minute)
		wantErr(t, "to an actor that has ended", resend(t, a, id, "x@b"), rpc.NotFound, rpc.Unknown)
		if l := onlyLetter(t, a); l.State != deadletter.Unclear || l.SentTo != "x@b" {
			t.Errorf("%+v", l)
		}
		wantLetterErr(t, "elsewhere", resend(t, a, id, "y@b"), deadletter.ErrUnclear)
		spawn(t, b, "x", got.kind())
		if err := resend(t, a, id, "x@b"); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if came := got.all(); len(came) != 1 || came[0].at != "x@b" {
			t.Errorf("came %+v", came)
		}
	})
}
