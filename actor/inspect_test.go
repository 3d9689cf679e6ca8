package actor_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/inspect"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
)

// An actor is inspected alike from its own node and from another one, also while its handler does
// not return.
func TestInspect(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		x := spawn(t, b, "x", PuppetKind)
		by, _ := watching(t, a)
		inside(t, by, func(ctx *actor.Context) error { return ctx.Watch(a.Ref("x@b")) })
		inside(t, x, func(ctx *actor.Context) error { _, err := ctx.Spawn("child", PuppetKind); return err })
		tell(t, x, crash())
		synctest.Wait()
		inside(t, x, func(ctx *actor.Context) error { _, err := ctx.Spawn("child", PuppetKind); return err })
		synctest.Wait()
		unplug := plug(t, x)
		for range 3 {
			tell(t, x, note(func(*actor.Context) {}))
		}
		time.Sleep(10 * time.Second)
		for name, sys := range map[string]*actor.System{"local": b, "remote": a} {
			got, err := sys.Inspect(t.Context(), sys.Ref("x@b"))
			if got.Handled == 0 || err != nil {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
			if got.Running != "actor_test.Note" || got.For < 9*time.Second || got.For > 12*time.Second {
				t.Errorf("%s: runs %q for %v", name, got.Running, got.For)
			}
			got.Handled, got.Running, got.For, got.Details = 0, "", 0, nil
			if want := (inspect.Actor{Name: "x", Node: "b", Kind: "test.puppet", Stage: inspect.Working, Waiting: 3, Failed: 1, Restarts: 1, Children: 1, Watchers: 1}); got != want {
				t.Errorf("%s:\n%+v, want\n%+v", name, got, want)
			}
			child, err := sys.Inspect(t.Context(), sys.Ref("x/child@b"))
			if child.Parent != "x" || err != nil {
				t.Errorf("%s: %+v, %v", name, child, err)
			}
			for _, nobody := range []string{"nobody@b", "$node@b"} {
				if _, err := sys.Inspect(t.Context(), sys.Ref(nobody)); !errors.Is(err, rpc.NotFound) || rpc.Ran(err) != rpc.NotRun {
					t.Errorf("%s: %s: %v", name, nobody, err)
				}
			}
			if _, err := sys.Inspect(t.Context(), sys.Service("s")); !errors.Is(err, rpc.Invalid) {
				t.Errorf("%s: a service: %v", name, err)
			}
		}
		unplug()
		synctest.Wait()
		if got, err := b.Inspect(t.Context(), x); err != nil || got.Running != "" || got.For != 0 || got.Waiting != 0 {
			t.Errorf("idle: %+v, %v", got, err)
		}
	})
}

// A list has every actor once, that the filter and the access list let through.
func TestActors(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		const n = 2100
		for i := range n {
			spawn(t, b, fmt.Sprint("x", i), PuppetKind)
		}
		spawn(t, b, "account", AccountKind)
		spawn(t, b, "secret", PuppetKind, actor.LocalOnly())
		count := func(from *actor.System, f inspect.Filter) (all int) {
			last, seen := "", map[string]bool{}
			for x, err := range from.ActorsOf(t.Context(), "b", f) {
				if err != nil {
					t.Error(err)
					break
				}
				if x.Name <= last || x.Node != "b" {
					t.Errorf("%s after %s", x.Name, last)
				}
				last, seen[x.Name] = x.Name, true
			}
			return len(seen)
		}
		local := 0
		for range b.Actors(inspect.Filter{}) {
			local++
		}
		if here, there := count(b, inspect.Filter{}), count(a, inspect.Filter{}); local != n+2 || here != n+2 || there != n+1 {
			t.Errorf("%d, %d, from afar %d", local, here, there)
		}
		if k, p, s := count(a, inspect.Filter{Kind: "test.puppet"}), count(a, inspect.Filter{Prefix: "x2"}), count(a, inspect.Filter{Stage: inspect.Suspended}); k != n || p != 211 || s != 0 {
			t.Errorf("by kind %d, by prefix %d, by stage %d", k, p, s)
		}
		for range b.Actors(inspect.Filter{}) {
			break
		}
		_ = b.SetAccess(access.Rules{List: []access.Rule{{Effect: access.Allow, Ops: access.Inspect, Actors: []string{"x1"}}}, Default: access.Deny})
		if got := count(a, inspect.Filter{}); got != 1 {
			t.Errorf("%d are seen, one is allowed", got)
		}
		if _, err := a.Inspect(t.Context(), a.Ref("x2@b")); !errors.Is(err, rpc.Denied) {
			t.Errorf("%v", err)
		}
		_ = b.SetAccess(access.Rules{Default: access.Deny})
		for _, err := range a.ActorsOf(t.Context(), "b", inspect.Filter{}) {
			if !errors.Is(err, rpc.Denied) {
				t.Errorf("%v", err)
			}
		}
	})
}

// Each state that an actor can be in has a stage.
func TestStages(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet})
		x := spawn(t, sys, "x", PuppetKind)
		unplug := plug(t, x)
		want := func(stage inspect.Stage) {
			t.Helper()
			if got, err := sys.Inspect(t.Context(), x); err != nil || got.Stage != stage {
				t.Errorf("%q, %v, want %q", got.Stage, err, stage)
			}
		}
		want(inspect.Working)
		go func() { _ = sys.Stop(t.Context(), x) }()
		synctest.Wait()
		want(inspect.Closing)
		go func() { _ = sys.StopNow(t.Context(), x) }()
		synctest.Wait()
		want(inspect.Ending)
		unplug()
	})
}
