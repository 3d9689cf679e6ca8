package actor_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/supervise"
	"github.com/tandem-go/tandem/test/bubble"
)

// Watcher tells the test what it hears.
type Watcher struct{ heard chan actor.Terminated }

func (w *Watcher) OnTerminated(_ *actor.Context, m actor.Terminated) error { w.heard <- m; return nil }
func (w *Watcher) Run(ctx *actor.Context, m Run) (string, error)           { return m.F(ctx) }
func (w *Watcher) Note(ctx *actor.Context, m Note) error                   { return m.F(ctx) }

func watcherKind(heard chan actor.Terminated) *actor.Kind {
	return actor.Define("test.watcher", func() *Watcher { return &Watcher{heard} },
		actor.Handle((*Watcher).OnTerminated), actor.Answer((*Watcher).Run), actor.Handle((*Watcher).Note))
}

// watching starts a watcher, and returns what it hears.
func watching(t *testing.T, sys *actor.System) (actor.Ref, chan actor.Terminated) {
	heard := make(chan actor.Terminated, 1000)
	return spawn(t, sys, "watcher", watcherKind(heard)), heard
}

// One watch is told of one end, whatever the reason, and then the name is free.
func TestWatch(t *testing.T) {
	for _, row := range []struct {
		name string
		end  func(*testing.T, *actor.System, actor.Ref)
		why  func(error) bool
	}{
		{"stop", func(t *testing.T, s *actor.System, r actor.Ref) { _ = s.Stop(t.Context(), r) }, func(err error) bool { return err == nil }},
		{"stop now", func(t *testing.T, s *actor.System, r actor.Ref) { _ = s.StopNow(t.Context(), r) }, func(err error) bool { return err == nil }},
		{"itself", func(t *testing.T, _ *actor.System, r actor.Ref) { tell(t, r, note((*actor.Context).Stop)) }, func(err error) bool { return err == nil }},
		{"failure", func(t *testing.T, _ *actor.System, r actor.Ref) { tell(t, r, crash()) }, func(err error) bool { return rpc.CodeOf(err) == rpc.Panicked }},
	} {
		t.Run(row.name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				sys := newSystem(t, actor.Config{Logger: quiet})
				by, heard := watching(t, sys)
				x := spawn(t, sys, "x", PuppetKind.With(always(supervise.Stop)))
				inside(t, by, func(ctx *actor.Context) error { return errors.Join(ctx.Watch(x), ctx.Watch(x)) })
				row.end(t, sys, x)
				if m := <-heard; m.Ref != x || !row.why(m.Why) {
					t.Errorf("%+v", m)
				}
				if _, err := sys.Spawn("x", PuppetKind); err != nil {
					t.Error(err)
				}
				if err := sys.Stop(t.Context(), x); err != nil {
					t.Error(err)
				}
				synctest.Wait()
				if len(heard) > 0 {
					t.Errorf("told again: %v", <-heard)
				}
			})
		})
	}
}

// What is no actor's end is not told, and what cannot be watched is refused.
func TestWatchEdges(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet})
		by, heard := watching(t, sys)
		inside(t, by, func(ctx *actor.Context) error { return ctx.Watch(sys.Ref("nobody")) })
		if m := <-heard; m.Ref != sys.Ref("nobody") || !errors.Is(m.Why, rpc.NotFound) {
			t.Errorf("%+v", m)
		}
		x := spawn(t, sys, "x", PuppetKind)
		inside(t, by, func(ctx *actor.Context) error {
			for r, code := range map[actor.Ref]rpc.Code{ctx.Self(): rpc.Invalid, {}: rpc.Invalid, sys.Service("s"): rpc.Invalid} {
				if err := ctx.Watch(r); !errors.Is(err, code) {
					t.Errorf("watch of %v: %v", r, err)
				}
			}
			return ctx.Watch(x)
		})
		inside(t, x, func(ctx *actor.Context) error {
			if err := ctx.Watch(by); !errors.Is(err, rpc.Unhandled) {
				t.Errorf("without a handler: %v", err)
			}
			return nil
		})
		tell(t, x, crash()) // a restart is no end
		inside(t, by, func(ctx *actor.Context) error { ctx.Unwatch(x); ctx.Unwatch(x); return nil })
		y := spawn(t, sys, "y", PuppetKind)
		inside(t, by, func(ctx *actor.Context) error { return ctx.Watch(y) })
		tell(t, by, crash()) // its watches end with it
		synctest.Wait()
		_ = sys.Stop(t.Context(), x)
		_ = sys.Stop(t.Context(), y)
		synctest.Wait()
		if len(heard) > 0 {
			t.Errorf("told of %v", <-heard)
		}
	})
}

// What an actor hears of an end overtakes the messages that wait, and also those that its run
// loop has in hand.
func TestTerminatedOvertakes(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var d Diary
		sys := newSystem(t, actor.Config{Logger: quiet})
		x := spawn(t, sys, "x", PuppetKind)
		by := spawn(t, sys, "w", diarist(&d, func(k *Diarist) { k.onStart = func(ctx *actor.Context) error { return ctx.Watch(x) } }))
		d.want(t, "w/1 started")
		unplug := plug(t, by)
		for i := range 3 {
			tell(t, by, note(func(*actor.Context) {
				d.note("%d", i)
				if i == 0 {
					_ = sys.Stop(t.Context(), x)
				}
			}))
		}
		unplug()
		d.want(t, "0", "w/1 heard of x", "1", "2")
	})
}

// Watches and ends at the same time: each watch is told once.
func TestWatchesWhileActorsEnd(t *testing.T) {
	const actors = 100
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet})
		by, heard := watching(t, sys)
		for i := range actors {
			x := spawn(t, sys, fmt.Sprint("x", i), PuppetKind)
			go func() { _ = sys.Stop(t.Context(), x) }()
			go func() { tell(t, by, note(func(ctx *actor.Context) { _ = ctx.Watch(x) })) }()
			go func() { tell(t, x, note((*actor.Context).Stop)) }()
		}
		time.Sleep(time.Second)
		synctest.Wait()
		seen := map[string]bool{}
		for len(heard) > 0 {
			seen[(<-heard).Ref.Name()] = true
			if len(heard)+len(seen) > actors {
				t.Fatal("told twice")
			}
		}
		if len(seen) != actors {
			t.Errorf("told of %d", len(seen))
		}
	})
}

// Nothing is kept of watches whose watcher or watched actor has ended.
func TestWatchesAreForgotten(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet})
		by, _ := watching(t, sys)
		x := spawn(t, sys, "x", PuppetKind)
		inside(t, by, func(ctx *actor.Context) error { return ctx.Watch(x) })
		if watching, watched := actor.Watches(by), actor.Watches(x); watching != 1 || watched != 1 {
			t.Errorf("%d, %d", watching, watched)
		}
		_ = sys.Stop(t.Context(), by)
		if n := actor.Watches(x); n != 0 {
			t.Errorf("%d are left", n)
		}
	})
}
