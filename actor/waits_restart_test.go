package actor_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
)

// A parent that is restarted waits for the end of its child. If the child's handler waits for the
// parent, directly or through another actor, its Call is refused at once: it was in the mailbox
// before the failure, or comes after it.
func TestRestartedParentIsCalled(t *testing.T) {
	for _, row := range []struct {
		what    string
		by      string // the actor between the child and the parent
		after   bool   // the child calls when the parent waits already
		mailbox []actor.SpawnOption
	}{
		{what: "before"},
		{what: "before, with an order", mailbox: []actor.SpawnOption{actor.Mailbox(mailbox.Config{Fair: true})}},
		{what: "before, through another actor", by: "between"},
		{what: "after", after: true},
		{what: "after, through another actor", by: "between", after: true},
	} {
		t.Run(row.what, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				sys := newSystem(t, actor.Config{Logger: quiet})
				parent := spawn(t, sys, "parent", PuppetKind, row.mailbox...)
				spawn(t, sys, "between", PuppetKind)
				inside(t, parent, func(ctx *actor.Context) error {
					_, err := ctx.Spawn("child", PuppetKind)
					return err
				})
				child := sys.Ref("parent/child")
				began := time.Now()
				calls := func(to actor.Ref) func(*actor.Context) (string, error) {
					return func(ctx *actor.Context) (string, error) {
						return actor.Call(ctx, to, run(func(*actor.Context) (string, error) { return "answered", nil }))
					}
				}
				goes := calls(parent)
				if row.by != "" {
					goes = func(ctx *actor.Context) (string, error) {
						return actor.Call(ctx, sys.Ref(row.by), run(calls(parent)))
					}
				}
				childs := actor.Ask(t.Context(), child, run(func(ctx *actor.Context) (string, error) {
					if row.after {
						time.Sleep(2 * time.Second)
					}
					return goes(ctx)
				}))
				crashes := actor.Ask(t.Context(), parent, run(func(*actor.Context) (string, error) {
					time.Sleep(time.Second)
					panic("a failure")
				}))
				stranger := actor.Ask(t.Context(), parent, run(func(*actor.Context) (string, error) { return "a stranger is served", nil }))
				_, err := childs.Await(t.Context())
				if took := time.Since(began); !errors.Is(err, actor.ErrCycle) || rpc.Ran(err) == rpc.Unknown || took > 3*time.Second {
					t.Errorf("%v after %v", err, took)
				}
				if _, err := crashes.Await(t.Context()); rpc.CodeOf(err) != rpc.Panicked {
					t.Error(err)
				}
				if r, err := stranger.Await(t.Context()); err != nil || r != "a stranger is served" {
					t.Errorf("%q, %v", r, err)
				}
				synctest.Wait()
			})
		})
	}
}
