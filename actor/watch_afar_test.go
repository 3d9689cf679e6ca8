package actor_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/supervise"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport/memnet"
)

// farWatch is a watcher on node a and an actor x on node b. A later start of b has roads of its
// own, so that the first start can be cut off for good.
type farWatch struct {
	t     *testing.T
	net   *memnet.Network
	reg   *static.Registry
	roads []string
	a, b  *actor.System
	x     actor.Ref
	by    actor.Ref
	heard chan actor.Terminated
}

func (f *farWatch) start(name string, lives ...string) *actor.System {
	cfg := actor.Config{Name: name, Registry: f.reg, Logger: quiet}
	for _, road := range f.roads {
		for _, life := range lives {
			cfg.Transports = append(cfg.Transports, f.net.Transport(road+life, road == "direct"))
		}
	}
	return newSystem(f.t, cfg)
}

func (f *farWatch) watch(name string) {
	inside(f.t, f.by, func(ctx *actor.Context) error { return errors.Join(ctx.Watch(f.a.Ref(name)), ctx.Watch(f.a.Ref(name))) })
	time.Sleep(time.Second)
}

// each does something on each road.
func (f *farWatch) each(do func(road string)) {
	for _, road := range f.roads {
		do(road)
	}
}

func (f *farWatch) cut()  { f.each(func(road string) { f.net.Partition(road, "a", "b") }) }
func (f *farWatch) heal() { f.each(func(road string) { f.net.Heal(road, "a", "b") }) }

// kill cuts b off for good. The registry learns of it when its lease has expired.
func (f *farWatch) kill() { f.killNode("b", f.b) }

func (f *farWatch) killNode(name string, sys *actor.System) {
	f.each(func(road string) { f.net.Partition(road, name, ""); f.net.Reset(road, name, "") })
	time.Sleep(time.Minute)
	if err := f.reg.Evict(f.t.Context(), name, sys.Epoch()); err != nil {
		f.t.Error(err)
	}
}

func (f *farWatch) stopX() {
	if err := f.b.StopNow(f.t.Context(), f.b.Ref("x")); err != nil {
		f.t.Error(err)
	}
}

func eachFarWatch(t *testing.T, run func(*farWatch)) {
	for name, roads := range map[string][]string{"direct": {"direct"}, "bus": {"bus"}, "both": {"direct", "bus"}} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				f := &farWatch{t: t, net: memnet.New(memnet.Config{Seed: 1, PackTells: true}), reg: static.New(), roads: roads}
				f.a, f.b = f.start("a", "", "2"), f.start("b", "")
				spawn(t, f.b, "x", PuppetKind.With(always(supervise.Stop)))
				f.x = f.a.Ref("x@b")
				f.by, f.heard = watching(t, f.a)
				run(f)
			})
		})
	}
}

// One watch of an actor of another node is told of one end, whatever the reason, and whatever
// happens to roads, sessions and nodes.
func TestWatchOnAnotherNode(t *testing.T) {
	code := func(c rpc.Code) func(error) bool {
		return func(err error) bool { return rpc.CodeOf(err) == c }
	}
	stopped := func(err error) bool { return err == nil }
	for _, row := range []struct {
		name string
		do   func(*farWatch)
		why  func(error) bool // nil: nothing is told
	}{
		{"stop", func(f *farWatch) { f.watch("x@b"); f.stopX() }, stopped},
		{"itself", func(f *farWatch) { f.watch("x@b"); tell(f.t, f.b.Ref("x"), note((*actor.Context).Stop)) }, stopped},
		{"failure", func(f *farWatch) { f.watch("x@b"); tell(f.t, f.b.Ref("x"), crash()) }, func(err error) bool {
			return rpc.CodeOf(err) == rpc.Panicked && err.(*rpc.Error).Message == "the handler panicked"
		}},
		{"no such actor", func(f *farWatch) { f.watch("nobody@b") }, code(rpc.NotFound)},
		{"hidden", func(f *farWatch) { f.watch("$node@b") }, code(rpc.NotFound)},
		{"no such node", func(f *farWatch) { f.watch("x@nowhere") }, code(rpc.Unavailable)},
		{"not allowed", func(f *farWatch) {
			_ = f.b.SetAccess(access.Rules{List: []access.Rule{{Effect: access.Deny, Ops: access.Watch, Actors: []string{"x"}}}})
			f.watch("x@b")
		}, code(rpc.Denied)},
		{"nothing allowed", func(f *farWatch) {
			_ = f.b.SetAccess(access.Rules{Default: access.Deny})
			f.watch("x@b")
		}, code(rpc.Denied)},
		{"the watcher's node allows nothing", func(f *farWatch) {
			_ = f.a.SetAccess(access.Rules{Default: access.Deny})
			f.watch("x@b")
			f.stopX()
		}, stopped},
		{"local only", func(f *farWatch) { spawn(f.t, f.b, "y", PuppetKind, actor.LocalOnly()); f.watch("y@b") }, code(rpc.Denied)},
		{"unwatch", func(f *farWatch) {
			f.watch("x@b")
			inside(f.t, f.by, func(ctx *actor.Context) error { ctx.Unwatch(f.x); return nil })
			time.Sleep(time.Second)
			f.stopX()
		}, nil},
		{"the watcher restarts", func(f *farWatch) { f.watch("x@b"); tell(f.t, f.by, crash()); time.Sleep(time.Second); f.stopX() }, nil},
		{"a restart is no end", func(f *farWatch) {
			spawn(f.t, f.b, "y", PuppetKind)
			f.watch("y@b")
			tell(f.t, f.b.Ref("y"), crash())
		}, nil},
		{"watched again", func(f *farWatch) {
			f.watch("x@b")
			inside(f.t, f.by, func(ctx *actor.Context) error { ctx.Unwatch(f.x); return ctx.Watch(f.x) })
			time.Sleep(time.Second)
			f.stopX()
		}, stopped},
		{"links lost", func(f *farWatch) {
			f.watch("x@b")
			f.each(func(road string) { f.net.Reset(road, "a", "b") })
			f.stopX()
		}, stopped},
		{"away", func(f *farWatch) { f.watch("x@b"); f.cut(); time.Sleep(time.Hour) }, nil},
		{"away, and back", func(f *farWatch) {
			f.watch("x@b")
			f.cut()
			time.Sleep(time.Hour) // the session is lost
			f.heal()
			time.Sleep(time.Minute)
			f.stopX()
		}, stopped},
		{"ends while away, and its name is used again", func(f *farWatch) {
			f.watch("x@b")
			f.cut()
			time.Sleep(time.Minute)
			f.stopX()
			spawn(f.t, f.b, "x", PuppetKind)
			time.Sleep(time.Hour)
			f.heal()
		}, stopped},
		{"watched while away", func(f *farWatch) {
			f.cut()
			f.watch("x@b")
			time.Sleep(time.Minute)
			f.heal()
			time.Sleep(time.Minute)
			f.stopX()
		}, stopped},
		{"the node leaves", func(f *farWatch) {
			f.watch("x@b")
			if err := f.b.Shutdown(f.t.Context()); err != nil {
				f.t.Error(err)
			}
		}, func(err error) bool { return err == actor.ErrShutdown }},
		{"the node is killed", func(f *farWatch) { f.watch("x@b"); f.kill() }, code(rpc.Unavailable)},
		{"the node is restarted", func(f *farWatch) {
			f.watch("x@b")
			f.kill()
			spawn(f.t, f.start("b", "2"), "x", PuppetKind)
		}, code(rpc.Unavailable)},
		{"the watcher's node leaves", func(f *farWatch) {
			f.watch("x@b")
			if err := f.a.Shutdown(f.t.Context()); err != nil {
				f.t.Error(err)
			}
			f.stopX()
		}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			eachFarWatch(t, func(f *farWatch) {
				row.do(f)
				time.Sleep(time.Minute)
				synctest.Wait()
				switch {
				case row.why == nil && len(f.heard) > 0:
					f.t.Fatalf("told of %+v", <-f.heard)
				case row.why == nil:
				case len(f.heard) != 1:
					f.t.Fatalf("told %d times", len(f.heard))
				default:
					if m := <-f.heard; !row.why(m.Why) || m.Ref.Node() == "a" {
						f.t.Errorf("%+v", m)
					}
				}
				f.heal()
				time.Sleep(time.Hour)
				if len(f.heard) > 0 {
					f.t.Errorf("told again: %+v", <-f.heard)
				}
			})
		})
	}
}

// Nothing is kept of watches that are over, on neither node, and nothing is sent while they last.
func TestFarWatchesAreForgotten(t *testing.T) {
	eachFarWatch(t, func(f *farWatch) {
		t := f.t
		const n = 2500
		names := make([]string, n)
		for i := range names {
			names[i] = fmt.Sprint("y", i, "@b")
			spawn(t, f.b, fmt.Sprint("y", i), PuppetKind)
		}
		before := f.b.Stats().RPC.HeldBytes
		inside(t, f.by, func(ctx *actor.Context) error {
			for _, name := range names {
				if err := ctx.Watch(f.a.Ref(name)); err != nil {
					return err
				}
			}
			return nil
		})
		time.Sleep(time.Minute)
		if watching, kept := actor.FarWatches(f.a, f.b); watching != n || kept != n {
			t.Errorf("%d watches, %d are kept", watching, kept)
		}
		if held := f.b.Stats().RPC.HeldBytes - before; held < n*512 {
			t.Errorf("%d bytes are counted", held)
		}
		sent := f.b.Stats().Handled + f.a.Stats().Handled
		time.Sleep(time.Hour)
		if more := f.b.Stats().Handled + f.a.Stats().Handled - sent; more > 0 {
			t.Errorf("%d messages in an hour in which nothing happened", more)
		}
		_ = f.b.StopNow(t.Context(), f.b.Ref("y0"))
		_ = f.a.Stop(t.Context(), f.by)
		time.Sleep(time.Minute)
		if watching, kept := actor.FarWatches(f.a, f.b); watching != 0 || kept != 0 {
			t.Errorf("%d watches are left, %d are kept", watching, kept)
		}
		if held := f.b.Stats().RPC.HeldBytes; held > before {
			t.Errorf("%d bytes are counted, %d before", held, before)
		}
	})
}

// The node of the watched actor forgets the watches of a node that is gone for good, and what they count.
func TestWatchesEndWithTheirNode(t *testing.T) {
	eachFarWatch(t, func(f *farWatch) {
		x := f.b.Ref("x")
		before := f.b.Stats().RPC.HeldBytes
		f.watch("x@b")
		if _, kept := actor.FarWatches(f.a, f.b); kept != 1 || actor.Watches(x) != 1 {
			f.t.Errorf("%d watches are kept, x has %d", kept, actor.Watches(x))
		}
		f.killNode("a", f.a)
		time.Sleep(time.Hour)
		if _, kept := actor.FarWatches(f.a, f.b); kept != 0 || actor.Watches(x) != 0 || f.b.Stats().RPC.HeldBytes > before {
			f.t.Errorf("%d watches are kept, x has %d; %d bytes are counted, %d before", kept, actor.Watches(x), f.b.Stats().RPC.HeldBytes, before)
		}
	})
}

// A watch is refused at once where it can never be.
func TestWatchWithoutRoads(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet})
		by, _ := watching(t, sys)
		inside(t, by, func(ctx *actor.Context) error {
			if err := ctx.Watch(sys.Ref("x@b")); !errors.Is(err, rpc.Unavailable) {
				t.Errorf("%v", err)
			}
			return nil
		})
	})
}

// Whoever does not know the key cannot say that an actor has ended.
func TestForgedEnd(t *testing.T) {
	eachFarWatch(t, func(f *farWatch) {
		t := f.t
		f.watch("x@b")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := actor.ForgeEnd(ctx, f.b, "a", 1); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if len(f.heard) > 0 {
			t.Errorf("told of %+v", <-f.heard)
		}
	})
}
