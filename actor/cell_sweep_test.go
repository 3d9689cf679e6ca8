package actor_test

// Requests that die while they wait in a mailbox.

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport/memnet"
)

// dying lists the ways in which a request dies in a mailbox: the context that it has, and
// what ends that context.
var dying = map[string]func(t *testing.T) (ctx context.Context, end func(), code rpc.Code){
	"deadline": func(t *testing.T) (context.Context, func(), rpc.Code) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		t.Cleanup(cancel)
		return ctx, func() { time.Sleep(time.Second + time.Millisecond) }, rpc.Expired
	},
	"cancelled": func(t *testing.T) (context.Context, func(), rpc.Code) {
		ctx, cancel := context.WithCancel(t.Context())
		return ctx, func() { cancel(); time.Sleep(time.Millisecond) }, rpc.Canceled
	},
}

// nothing is a request whose handler fails the test if it runs.
func nothing(t *testing.T) Run {
	return run(func(*actor.Context) (string, error) { t.Error("a dead request ran"); return "", nil })
}

// Requests that have died in a full mailbox, whose actor is stuck, make room for live ones.
func TestDeadRequestsMakeRoom(t *testing.T) {
	const size = 100
	for how, begin := range dying {
		for _, policy := range []mailbox.Policy{mailbox.Block, mailbox.Refuse, mailbox.DropNewest, mailbox.DropOldest} {
			t.Run(fmt.Sprint(how, "/", policy), func(t *testing.T) {
				bubble.Test(t, func(t *testing.T) {
					sys := newSystem(t, actor.Config{Logger: quiet})
					dead := letters(t, sys)
					ref := spawn(t, sys, "x", PuppetKind, small(size, policy))
					unplug := plug(t, ref)
					defer unplug()
					told := 0
					if err := actor.Tell(t.Context(), ref, note(func(*actor.Context) { told++ })); err != nil {
						t.Fatal(err)
					}
					ctx, end, code := begin(t)
					var gone []*rpc.Future[string]
					for range size - 1 {
						gone = append(gone, actor.Ask(ctx, ref, nothing(t)))
					}
					end()
					for _, f := range gone {
						_, err := f.Await(t.Context())
						wantErr(t, "a dead one", err, code, rpc.NotRun)
					}
					began := time.Now()
					var live []*rpc.Future[int]
					for range size - 1 {
						live = append(live, actor.Ask(t.Context(), ref, Count{}))
					}
					if took := time.Since(began); took != 0 {
						t.Errorf("room came after %v", took)
					}
					synctest.Wait()
					unplug()
					for i, f := range live {
						if n, err := f.Await(t.Context()); n != 2 || err != nil {
							t.Errorf("live one %d: %d, %v", i, n, err)
						}
					}
					if told != 1 || len(dead()) > 0 {
						t.Errorf("the tell ran %d times; dead letters: %v", told, dead())
					}
				})
			})
		}
	}
}

// The same applies to a Call, whose deadline is watched only by its caller.
func TestDeadCallsMakeRoom(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet, Timeout: time.Second})
		ref := spawn(t, sys, "x", PuppetKind, small(2, mailbox.Refuse))
		unplug := plug(t, ref)
		defer unplug()
		for range 2 {
			go func() {
				_, err := actor.Call(t.Context(), ref, nothing(t))
				wantErr(t, "a dead one", err, rpc.Expired, rpc.NotRun)
			}()
		}
		synctest.Wait()
		_, err := actor.Call(t.Context(), ref, Count{})
		wantErr(t, "while they live", err, rpc.Overloaded, rpc.NotRun)
		time.Sleep(time.Second + time.Millisecond)
		f := actor.Ask(t.Context(), ref, Count{})
		synctest.Wait()
		unplug()
		if n, err := f.Await(t.Context()); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	})
}

// When requests die in a full mailbox, a sender that waits for room goes on, even if no other
// message arrives.
func TestDeadRequestsLetWaitingSendersIn(t *testing.T) {
	for how, begin := range dying {
		t.Run(how, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				sys := newSystem(t, actor.Config{Logger: quiet})
				ref := spawn(t, sys, "x", PuppetKind, small(2, mailbox.Block))
				unplug := plug(t, ref)
				defer unplug()
				ctx, end, _ := begin(t)
				for range 2 {
					actor.Ask(ctx, ref, nothing(t))
				}
				told := make(chan error, 1)
				began := time.Now()
				go func() { told <- actor.Tell(t.Context(), ref, note(func(*actor.Context) {})) }()
				synctest.Wait()
				end()
				if err := <-told; err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took > 1200*time.Millisecond {
					t.Errorf("it waited %v", took)
				}
				unplug()
				if n, err := actor.Call(t.Context(), ref, Count{}); n != 2 || err != nil {
					t.Errorf("%d ran, %v", n, err)
				}
			})
		})
	}
}

// Requests from another node that have died make room too, both in the mailbox and in the
// backlog before it.
func TestDeadRequestsFromAfarMakeRoom(t *testing.T) {
	const size = 70
	for how, begin := range dying {
		for _, c := range []mailbox.Config{
			{Capacity: size, Policy: mailbox.Refuse}, {Capacity: size / 2, Backlog: size - size/2},
		} {
			t.Run(fmt.Sprint(how, "/", c.Policy), func(t *testing.T) {
				world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
					ref := spawn(t, b, "x", PuppetKind, actor.Mailbox(c))
					unplug := plug(t, ref)
					defer unplug()
					to := a.Ref("x@b")
					ctx, end, code := begin(t)
					var gone, live []*rpc.Future[int]
					for range size {
						gone = append(gone, actor.Ask(ctx, to, Count{}, rpc.WithRetry(rpc.Retry{Attempts: 1})))
					}
					synctest.Wait()
					end()
					for _, f := range gone {
						_, err := f.Await(t.Context())
						if rpc.CodeOf(err) != code {
							t.Errorf("a dead one: %v", err)
						}
					}
					time.Sleep(time.Second) // so that the deadline has passed at the other node too, which learned of it later
					for range size {
						live = append(live, actor.Ask(t.Context(), to, Count{}, rpc.WithRetry(rpc.Retry{Attempts: 1})))
					}
					time.Sleep(time.Second)
					unplug()
					for i, f := range live {
						if n, err := f.Await(t.Context()); n != 1 || err != nil {
							t.Errorf("live one %d: %d, %v", i, n, err)
						}
					}
				})
			})
		}
	}
}

// A request from a node that is lost dies when its deadline passes, since no cancel can
// arrive.
func TestDeadRequestsOfALostNodeMakeRoom(t *testing.T) {
	world(t, []string{"direct"}, func(t *testing.T, net *memnet.Network, a, b *actor.System) {
		const size = 5
		ref := spawn(t, b, "x", PuppetKind, small(size, mailbox.Refuse))
		unplug := plug(t, ref)
		defer unplug()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for range size {
			actor.Ask(ctx, a.Ref("x@b"), Count{})
		}
		synctest.Wait()
		net.Partition("direct", "a", "b")
		_, err := actor.Call(t.Context(), ref, Count{})
		wantErr(t, "while they live", err, rpc.Overloaded, rpc.NotRun)
		time.Sleep(2 * time.Second)
		f := actor.Ask(t.Context(), ref, Count{})
		synctest.Wait()
		unplug()
		if n, err := f.Await(t.Context()); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	})
}

// A job that was cancelled makes room in the mailbox.
func TestCancelledJobsMakeRoom(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet})
		ref := spawn(t, sys, "x", PuppetKind, small(1, mailbox.Refuse))
		unplug := plug(t, ref)
		defer unplug()
		token, err := actor.Submit(t.Context(), ref, nothing(t))
		if err != nil {
			t.Fatal(err)
		}
		_, err = actor.Submit(t.Context(), ref, Count{})
		wantErr(t, "while it lives", err, rpc.Overloaded, rpc.NotRun)
		if _, err := token.Cancel(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
		second, err := actor.Submit(t.Context(), ref, Count{})
		if err != nil {
			t.Fatal(err)
		}
		unplug()
		if n, err := second.Await(t.Context()); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		_, err = token.Await(t.Context())
		wantErr(t, "the first", err, rpc.Canceled, rpc.NotRun)
	})
}
