package actor_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/intercept"
	"github.com/tandem-go/tandem/rpc"
)

// shutGate runs a test with a gate that is shut, everywhere.
func shutGate(t *testing.T, n int, run func(t *testing.T, at *actor.System, to actor.Ref, d *Diary), opts ...actor.KindOption) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		d := new(Diary)
		to := bind(spawn(t, b, "gate", gateKind(d, n, opts...)))
		tell(t, to, Walk{Does: "shut"})
		synctest.Wait()
		run(t, b, to, d)
	})
}

// What was put aside comes back in order, before what has waited in the mailbox and in the batch
// in hand meanwhile; requests, jobs and one-way messages alike.
func TestStash(t *testing.T) {
	shutGate(t, 0, func(t *testing.T, b *actor.System, to actor.Ref, d *Diary) {
		f := actor.Ask(t.Context(), to, Ticket{N: 1})
		synctest.Wait()
		tell(t, to, Walk{N: 2})
		tok, err := actor.Submit(t.Context(), to, Ticket{N: 3})
		if err != nil {
			t.Fatal(err)
		}
		answer := make(chan string)
		go func() {
			r, err := actor.Call(t.Context(), to, Ticket{N: 4})
			answer <- fmt.Sprint(r, err)
		}()
		synctest.Wait()
		tell(t, to, Walk{N: 5})
		if a := inspected(t, b, "gate"); a.Stashed != 5 || a.Behaviour != "shut" || a.Waiting != 0 || a.Handled != 6 {
			t.Errorf("it is seen as %+v", a)
		}
		if job, err := tok.Poll(t.Context()); err != nil || job.State != rpc.JobAccepted {
			t.Errorf("the job is %v, %v", job.State, err)
		}
		d.want(t)
		entered, leave := make(chan struct{}), make(chan struct{})
		go func() {
			_, _ = actor.Call(t.Context(), b.Ref("gate"), run(func(*actor.Context) (string, error) { close(entered); <-leave; return "", nil }))
		}()
		<-entered
		tell(t, to, Walk{Does: "open"})
		tell(t, to, Walk{N: 6})
		tell(t, to, Walk{N: 7})
		synctest.Wait()
		close(leave)
		d.want(t, "5 back", "1", "2", "3", "4", "5", "6", "7")
		if r, err := f.Await(t.Context()); r != "1" || err != nil {
			t.Errorf("Ask: %q, %v", r, err)
		}
		if r := <-answer; r != "4<nil>" {
			t.Errorf("Call: %s", r)
		}
		if r, err := tok.Await(t.Context()); r != "3" || err != nil {
			t.Errorf("the job: %q, %v", r, err)
		}
		if a := inspected(t, b, "gate"); a.Stashed != 0 || a.Behaviour != "" || a.Handled != 10 {
			t.Errorf("it is seen as %+v", a)
		}
	})
}

// Both changes take effect with the next message of a row.
func TestStashWithinARow(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		d := new(Diary)
		to := bind(spawn(t, b, "gate", gateKind(d, 0)))
		for range 3 { // the first ones may come alone, while the link is opened
			for _, m := range []Walk{{N: 1}, {N: 2}, {Does: "shut"}, {N: 4}, {N: 5}, {Does: "open"}, {N: 6}, {Does: "open"}, {N: 7}} {
				tell(t, to, m)
			}
			d.want(t, "1", "2", "2 back", "4", "5", "6", "0 back", "7")
		}
	})
}

// The sender, the node, the headers and the trace of a message are the same when it comes back.
func TestStashKeepsWhatComesWithAMessage(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		type card struct{ sender, node, principal, header string }
		var first, second []card
		kind := actor.Define("test.cards", func() int { return 0 }, actor.Answer(func(_ int, ctx *actor.Context, m Ticket) (string, error) {
			if m.Does == "open" {
				ctx.Unstash()
				return "", nil
			}
			c := card{ctx.Sender().String(), ctx.Node(), ctx.Principal(), ctx.Header("no")}
			if len(first) < 3 {
				first = append(first, c)
				return "", ctx.Stash()
			}
			second = append(second, c)
			return "", nil
		})).With(actor.Stash(3))
		to := a.Ref(spawn(t, b, "cards", kind).String())
		x := spawn(t, a, "x", PuppetKind)
		tell(t, to, Ticket{})
		tell(t, to, Ticket{}, rpc.WithHeader("no", "2"))
		inside(t, x, func(ctx *actor.Context) error {
			actor.Ask(ctx.Detached(), to, Ticket{}, rpc.WithHeader("no", "3"))
			return nil
		})
		synctest.Wait()
		if _, err := actor.Call(t.Context(), to, Ticket{Does: "open"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(first) != 3 || !slices.Equal(first, second) || first[1].node != "a" || first[2].sender != "x@a" || first[2].header != "3" {
			t.Errorf("at first %v, then %v", first, second)
		}
	})
}

// A request whose caller cancels, or whose deadline passes, ends while it is put aside as it would in
// a mailbox. It does not run.
func TestStashedRequestGivenUp(t *testing.T) {
	for name, give := range map[string]func(cancel func()){
		"cancelled": func(cancel func()) { cancel() },
		"expired":   func(func()) { time.Sleep(time.Minute) },
	} {
		for _, verb := range []string{"Ask", "Call"} {
			t.Run(name+" "+verb, func(t *testing.T) {
				shutGate(t, 0, func(t *testing.T, b *actor.System, to actor.Ref, d *Diary) {
					outcome := func(to actor.Ref) error {
						ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
						defer cancel()
						got := make(chan error, 1)
						if verb == "Ask" {
							actor.Ask(ctx, to, Ticket{N: 1}).Then(func(_ string, err error) { got <- err })
						} else {
							go func() { got <- second(actor.Call(ctx, to, Ticket{N: 1})) }()
						}
						synctest.Wait()
						give(cancel)
						return <-got
					}
					aside := outcome(to)
					busy := spawn(t, b, "busy", gateKind(d, 0))
					unplug := plug(t, busy)
					waits := outcome(actor.SystemOf(to).Ref(busy.String()))
					synctest.Wait() // so that the cancel has arrived
					unplug()
					if rpc.CodeOf(aside) != rpc.CodeOf(waits) || rpc.Ran(aside) != rpc.Ran(waits) {
						t.Errorf("put aside: %v, in the mailbox: %v", aside, waits)
					}
					if actor.SystemOf(to) == b && rpc.Ran(aside) != rpc.NotRun {
						t.Errorf("put aside: %v", aside)
					}
					tell(t, to, Walk{Does: "open"})
					d.want(t, "1 back")
				})
			})
		}
	}
}

// A job that is put aside can be cancelled.
func TestStashedJobCancelled(t *testing.T) {
	shutGate(t, 0, func(t *testing.T, b *actor.System, to actor.Ref, d *Diary) {
		tok, err := actor.Submit(t.Context(), to, Ticket{N: 1})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		job, err := tok.Cancel(t.Context())
		if err != nil || job.State != rpc.JobCancelled {
			t.Errorf("Cancel: %v, %v", job.State, err)
		}
		if _, err := tok.Await(t.Context()); rpc.CodeOf(err) != rpc.Canceled || rpc.Ran(err) != rpc.NotRun {
			t.Errorf("Await: %v", err)
		}
		tell(t, to, Walk{Does: "open"})
		d.want(t, "1 back")
	})
}

// A request that was cancelled between Stash and the handler's return is not kept.
func TestCancelledAfterStash(t *testing.T) {
	shutGate(t, 0, func(t *testing.T, b *actor.System, to actor.Ref, d *Diary) {
		entered, leave := make(chan struct{}), make(chan struct{})
		stasher := actor.Define("test.stasher", func() int { return 0 }, actor.Answer(func(_ int, ctx *actor.Context, m Ticket) (string, error) {
			err := ctx.Stash()
			close(entered)
			<-leave
			return "", err
		})).With(actor.Stash(1))
		ref := spawn(t, b, "stasher", stasher)
		ctx, cancel := context.WithCancel(t.Context())
		f := actor.Ask(ctx, actor.SystemOf(to).Ref(ref.String()), Ticket{})
		<-entered
		cancel()
		_, err := f.Await(t.Context())
		wantErr(t, "cancelled while the handler ran", err, rpc.Canceled, rpc.Unknown)
		synctest.Wait()
		close(leave)
		if a := inspected(t, b, "stasher"); a.Stashed != 0 {
			t.Errorf("%d are put aside", a.Stashed)
		}
	})
}

// A full stash leaves the message in hand, and what is dead in it makes room.
func TestStashIsBounded(t *testing.T) {
	shutGate(t, 2, func(t *testing.T, b *actor.System, to actor.Ref, d *Diary) {
		ctx, cancel := context.WithCancel(t.Context())
		f := actor.Ask(ctx, to, Ticket{N: 1})
		synctest.Wait()
		tell(t, to, Walk{N: 2})
		synctest.Wait()
		_, err := actor.Call(t.Context(), to, Ticket{N: 3})
		wantErr(t, "into a full stash", err, rpc.Failed, rpc.HasRun)
		if !errors.Is(err, actor.ErrStashFull) {
			t.Errorf("into a full stash: %v", err)
		}
		d.want(t, "3: the actor's stash is full")
		cancel()
		_, _ = f.Await(t.Context())
		synctest.Wait()
		tell(t, to, Walk{N: 4})
		d.want(t)
		tell(t, to, Walk{N: 5})
		d.want(t, "5: the actor's stash is full")
		tell(t, to, Walk{Does: "open"})
		d.want(t, "2 back", "2", "4")
	})
}

// Interceptors see each time that a message is handled.
func TestStashAndInterceptors(t *testing.T) {
	type key struct{}
	n := 0
	count := func(ctx context.Context, op *intercept.Operation, next func(context.Context) error) error {
		n++
		return next(context.WithValue(ctx, key{}, n))
	}
	shutGate(t, 0, func(t *testing.T, b *actor.System, to actor.Ref, d *Diary) {
		tell(t, to, Walk{N: 1})
		synctest.Wait()
		f := actor.Ask(t.Context(), to, Ticket{N: 2})
		synctest.Wait()
		tell(t, to, Walk{Does: "open"})
		d.want(t, "2 back", "1", "2")
		if r, err := f.Await(t.Context()); r != "2" || err != nil {
			t.Errorf("%q, %v", r, err)
		}
		if n != 6 {
			t.Errorf("%d seen by the interceptor", n)
		}
		n = 0
	}, actor.Incoming(count))
}

// With Config.CopyLocal it is the same.
func TestStashOfCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys, d := newSystem(t, actor.Config{Logger: quiet, CopyLocal: true}), new(Diary)
		to := spawn(t, sys, "gate", gateKind(d, 0))
		tell(t, to, Walk{Does: "shut"})
		f := actor.Ask(t.Context(), to, Ticket{N: 1})
		synctest.Wait()
		tell(t, to, Walk{Does: "open"})
		if r, err := f.Await(t.Context()); r != "1" || err != nil {
			t.Errorf("%q, %v", r, err)
		}
	})
}
