package actor_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// An actor of another node is stopped if a rule names access.Stop, and only then.
func TestStopOnAnotherNode(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		x := spawn(t, b, "x", PuppetKind)
		far := a.Ref("x@b")
		everything := access.Rules{List: []access.Rule{{Effect: access.Allow}}}
		for what, rules := range map[string]access.Rules{"no rules": {}, "everything but Stop": everything} {
			if err := b.SetAccess(rules); err != nil {
				t.Fatal(err)
			}
			wantErr(t, what, a.Stop(t.Context(), far), rpc.Denied, rpc.NotRun)
			wantErr(t, what, a.StopNow(t.Context(), far), rpc.Denied, rpc.NotRun)
		}
		if err := b.SetAccess(access.Rules{List: []access.Rule{{Effect: access.Allow, Ops: access.Stop, Kinds: []string{"test.puppet"}}}}); err != nil {
			t.Fatal(err)
		}
		spawn(t, b, "account", AccountKind)
		wantErr(t, "another kind", a.Stop(t.Context(), a.Ref("account@b")), rpc.Denied, rpc.NotRun)
		unplug := plug(t, x)
		ran := false
		tell(t, x, note(func(*actor.Context) { ran = true }))
		over := make(chan error)
		go func() { over <- a.Stop(t.Context(), far) }()
		time.Sleep(time.Second)
		select {
		case err := <-over:
			t.Errorf("Stop has returned before the end: %v", err)
		default:
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := a.Stop(ctx, far); !errors.Is(err, rpc.Expired) || rpc.Ran(err) == rpc.NotRun {
			t.Errorf("a Stop whose time is over: %v", err)
		}
		unplug()
		if err := <-over; err != nil || !ran {
			t.Errorf("%v, the message that waited has run: %v", err, ran)
		}
		if _, err := b.Spawn("x", PuppetKind); err != nil {
			t.Error(err)
		}
		if err := a.StopNow(t.Context(), far); err != nil {
			t.Error(err)
		}
		if _, err := actor.Call(t.Context(), x, Count{}); !errors.Is(err, rpc.NotFound) {
			t.Errorf("after StopNow: %v", err)
		}
		synctest.Wait()
	})
}

// No other node can say that an actor has ended.
func TestNobodySendsTerminated(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		dead := letters(t, b)
		_, heard := watching(t, b)
		if err := actor.Tell(t.Context(), a.Ref("watcher@b"), actor.Terminated{Ref: b.Ref("x")}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if all := dead(); len(all) != 1 || rpc.CodeOf(all[0].Reason) != rpc.Unhandled || len(heard) > 0 {
			t.Errorf("%v; heard %d", all, len(heard))
		}
	})
}
