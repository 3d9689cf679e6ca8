package actor_test

// The stash together with what else decides on the turn of a message: pools, keys, and the orders of a
// mailbox.

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/route"
	"github.com/tandem-go/tandem/rpc"
)

// twoGates runs a test, everywhere, with a pool of two gates that are shut and get each request both. Each
// has a stash for one message.
func twoGates(t *testing.T, run func(t *testing.T, b *actor.System, to actor.Ref, d *Diary)) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		d := new(Diary)
		to := bind(spawn(t, b, "gate", gateKind(d, 1), actor.Pool(2, route.FirstOf(2))))
		doOneGate(t, b, "gate/1", "shut")
		doOneGate(t, b, "gate/2", "shut")
		run(t, b, to, d)
	})
}

func doOneGate(t *testing.T, b *actor.System, name, does string) {
	t.Helper()
	tell(t, b.Ref(name), Walk{Does: does})
	synctest.Wait()
}

// Of the workers that have put a race's request aside, the first one that brings it back runs it, and
// the others do not.
func TestStashInARace(t *testing.T) {
	twoGates(t, func(t *testing.T, b *actor.System, to actor.Ref, d *Diary) {
		f := actor.Ask(t.Context(), to, Ticket{N: 1})
		time.Sleep(time.Second)
		if one, two := inspected(t, b, "gate/1"), inspected(t, b, "gate/2"); one.Stashed != 1 || two.Stashed != 1 {
			t.Errorf("put aside: %d and %d", one.Stashed, two.Stashed)
		}
		doOneGate(t, b, "gate/2", "open")
		d.want(t, "1 back", "1")
		if r, err := f.Await(t.Context()); r != "1" || err != nil {
			t.Errorf("%q, %v", r, err)
		}
		doOneGate(t, b, "gate/1", "open")
		d.want(t, "1 back")

		// While one gate is shut, the other one answers. What is lost makes room.
		doOneGate(t, b, "gate/1", "shut")
		for n := range 3 {
			if r, err := actor.Call(t.Context(), to, Ticket{N: n}); err != nil {
				t.Errorf("%q, %v", r, err)
			}
		}
		d.want(t, "0", "1", "2")
	})
}

// A caller who gives up ends the race of all who have put its request aside, and that makes room. A
// worker that stops has lost.
func TestStashedRaceGivenUp(t *testing.T) {
	twoGates(t, func(t *testing.T, b *actor.System, to actor.Ref, d *Diary) {
		ctx, cancel := context.WithCancel(t.Context())
		f := actor.Ask(ctx, to, Ticket{N: 1})
		time.Sleep(time.Second)
		cancel()
		_, err := f.Await(t.Context())
		wantErr(t, "cancelled", err, rpc.Canceled, rpc.Unknown)
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		f = actor.Ask(ctx, to, Ticket{N: 2})
		time.Sleep(30 * time.Second)
		d.want(t) // none was full
		_, err = f.Await(t.Context())
		if rpc.CodeOf(err) != rpc.Expired || rpc.Ran(err) == rpc.HasRun {
			t.Errorf("expired: %v", err)
		}
		time.Sleep(time.Second)
		f = actor.Ask(t.Context(), to, Ticket{N: 3}, rpc.WithRetry(rpc.Retry{Attempts: 1}))
		time.Sleep(time.Second)
		d.want(t)
		if err := b.Stop(t.Context(), b.Ref("gate")); err != nil {
			t.Error(err)
		}
		_, err = f.Await(t.Context())
		wantErr(t, "stopped", err, rpc.Unavailable, rpc.NotRun)
		d.want(t, "stops", "stops")
		wantNothingHeld(t, b)
	})
}

// A second attempt under the key of a request that is put aside waits with it. There is one outcome, and
// it has run once.
func TestStashOfAKey(t *testing.T) {
	shutGate(t, 0, func(t *testing.T, b *actor.System, to actor.Ref, d *Diary) {
		ask := func(ctx context.Context) *rpc.Future[string] {
			f := actor.Ask(ctx, to, Ticket{N: 1}, rpc.Key("k"))
			synctest.Wait()
			return f
		}
		first, second := ask(t.Context()), ask(t.Context())
		time.Sleep(time.Second)
		for _, f := range []*rpc.Future[string]{first, second} {
			select {
			case <-f.Done():
				t.Error("answered while it is put aside")
			default:
			}
		}
		if a := inspected(t, b, "gate"); a.Stashed != 1 {
			t.Errorf("%d are put aside", a.Stashed)
		}
		tell(t, to, Walk{Does: "open"})
		d.want(t, "1 back", "1")
		for _, f := range []*rpc.Future[string]{first, second, ask(t.Context())} {
			if r, err := f.Await(t.Context()); r != "1" || err != nil {
				t.Errorf("%q, %v", r, err)
			}
		}
		d.want(t)
	})
}

// An attempt under a key whose caller gives up while it is put aside has not run, and so a later attempt
// may.
func TestStashOfAKeyGivenUp(t *testing.T) {
	shutGate(t, 1, func(t *testing.T, b *actor.System, to actor.Ref, d *Diary) {
		ctx, cancel := context.WithCancel(t.Context())
		f := actor.Ask(ctx, to, Ticket{N: 1}, rpc.Key("k"))
		time.Sleep(time.Second)
		cancel()
		if _, err := f.Await(t.Context()); rpc.CodeOf(err) != rpc.Canceled || rpc.Ran(err) == rpc.HasRun {
			t.Errorf("cancelled: %v", err)
		}
		time.Sleep(time.Second)
		tell(t, to, Walk{Does: "open"})
		d.want(t, "1 back")
		if r, err := actor.Call(t.Context(), to, Ticket{N: 1}, rpc.Key("k")); r != "1" || err != nil {
			t.Errorf("%q, %v", r, err)
		}
		d.want(t, "1")
	})
}

// What comes back from the stash comes in front of all classes, in the order in which it was put aside.
func TestStashAndPriorities(t *testing.T) {
	shutGate(t, 0, func(t *testing.T, b *actor.System, to actor.Ref, d *Diary) {
		tell(t, to, Walk{N: 1})
		synctest.Wait()
		actor.Ask(t.Context(), to, Ticket{N: 2})
		synctest.Wait()
		tell(t, to, Walk{N: 3})
		synctest.Wait()
		entered, leave := make(chan struct{}), make(chan struct{})
		actor.Ask(t.Context(), b.Ref("gate"), run(func(*actor.Context) (string, error) { close(entered); <-leave; return "", nil }))
		<-entered
		tell(t, to, Walk{N: 6})
		synctest.Wait()
		actor.Ask(t.Context(), to, Ticket{N: 4}) // is put aside as well, since its class is first
		synctest.Wait()
		actor.Ask(t.Context(), to, Ticket{Does: "open"})
		synctest.Wait()
		actor.Ask(t.Context(), to, Ticket{N: 5})
		synctest.Wait()
		close(leave)
		d.want(t, "4 back", "1", "2", "3", "4", "5", "6")
	}, actor.PriorityOf[Ticket](mailbox.Urgent), actor.PriorityOf[Walk](mailbox.Low))
}

// In a fair mailbox a behaviour is for the next message in turn, whoever has sent it, and what comes
// back from the stash does not wait for its sender's turn.
func TestBecomeInAFairMailbox(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		d := new(Diary)
		local := spawn(t, b, "gate", gateKind(d, 0), actor.Mailbox(mailbox.Config{Fair: true}))
		p := spawn(t, b, "p", PuppetKind)
		unplug := plug(t, local)
		inside(t, p, func(ctx *actor.Context) error {
			for _, m := range []Walk{{N: 1}, {Does: "shut"}, {N: 2}, {N: 3}} {
				if err := actor.Tell(ctx, local, m); err != nil {
					return err
				}
			}
			return nil
		})
		synctest.Wait()
		for _, m := range []Walk{{N: 11}, {N: 12}, {Does: "open"}, {N: 13}, {N: 14}} {
			tell(t, bind(local), m)
			synctest.Wait()
		}
		unplug()
		got := d.read()
		if want := []string{"1", "11", "2 back", "12", "2", "3", "13", "14"}; !slices.Equal(got, want) {
			t.Errorf("handled %q, want %q", got, want)
		}
	})
}
