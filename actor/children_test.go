package actor_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/supervise"
	"github.com/tandem-go/tandem/test/bubble"
)

// inside runs a function in an actor's turn.
func inside(t *testing.T, ref actor.Ref, f func(*actor.Context) error) {
	t.Helper()
	if _, err := actor.Call(t.Context(), ref, run(func(ctx *actor.Context) (string, error) { return "", f(ctx) })); err != nil {
		t.Fatal(err)
	}
}

// family is the Started of an actor that has n children, each of which has n children, and so on.
func family(kinds ...*actor.Kind) func(*actor.Context) error { return familyOf(1, kinds...) }

func familyOf(n int, kinds ...*actor.Kind) func(*actor.Context) error {
	return func(ctx *actor.Context) error {
		for i := range n {
			if _, err := ctx.Spawn(fmt.Sprint("c", i), kinds[0]); err != nil {
				return err
			}
		}
		return nil
	}
}

// Children end before their parent, each after its own children. A restart ends them, too.
func TestChildrenEndFirst(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var d Diary
		leaf := diarist(&d, nil)
		middle := diarist(&d, func(k *Diarist) { k.onStart = family(leaf) })
		top := diarist(&d, func(k *Diarist) { k.onStart = family(middle) })
		sys := newSystem(t, actor.Config{Logger: quiet})
		ref := spawn(t, sys, "p", top)
		d.want(t, "p/1 started", "p/c0/1 started", "p/c0/c0/1 started")
		tell(t, ref, crash())
		d.want(t, "p/c0/c0/1 stopping", "p/c0/1 stopping", "p/1 restarting", "p/2 started", "p/c0/2 started", "p/c0/c0/2 started")
		inside(t, ref, func(ctx *actor.Context) error {
			if all := ctx.Children(); len(all) != 1 || all[0] != sys.Ref("p/c0") {
				t.Errorf("children %v", all)
			}
			return nil
		})
		if err := sys.Stop(t.Context(), ref); err != nil {
			t.Error(err)
		}
		d.want(t, "p/c0/c0/2 stopping", "p/c0/2 stopping", "p/2 stopping")
		spawn(t, sys, "p", top)
		d.read()
		if err := sys.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		d.want(t, "p/c0/c0/3 stopping", "p/c0/3 stopping", "p/3 stopping")
	})
}

// A parent of 10 children with 10 children with 10 children ends, and then none of them is left.
func TestAThousandGrandchildren(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var d Diary
		kind := diarist(&d, nil)
		for range 3 {
			below := kind
			kind = diarist(&d, func(k *Diarist) { k.onStart = familyOf(10, below) })
		}
		sys := newSystem(t, actor.Config{Logger: quiet})
		ref := spawn(t, sys, "p", kind)
		if n := len(d.read()); n != 1111 {
			t.Errorf("%d have started", n)
		}
		if err := sys.StopNow(t.Context(), ref); err != nil {
			t.Error(err)
		}
		ended := map[string]bool{}
		for _, line := range d.read() {
			name, _, _ := strings.Cut(line, "/1 ") // states are numbered by kind
			name = name[:strings.LastIndex(line, "/")]
			for child := range 10 {
				if c := fmt.Sprintf("%s/c%d", name, child); strings.Count(name, "/") < 3 && !ended[c] {
					t.Fatalf("%s ended before %s", name, c)
				}
			}
			ended[name] = true
		}
		if n := sys.Stats().Actors; len(ended) != 1111 || n != 0 {
			t.Errorf("%d have ended, %d are left", len(ended), n)
		}
	})
}

// A parent with 1,000 children three deep: three chains of a thousand.
func TestAThousandChildren(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var d Diary
		leaf := PuppetKind
		middle := diarist(&d, func(k *Diarist) { k.onStart = familyOf(1, leaf) })
		sys := newSystem(t, actor.Config{Logger: quiet})
		ref := spawn(t, sys, "p", diarist(&d, func(k *Diarist) { k.onStart = familyOf(1000, middle) }))
		synctest.Wait()
		if n := sys.Stats().Actors; n != 2001 {
			t.Errorf("%d actors", n)
		}
		if err := sys.Stop(t.Context(), ref); err != nil {
			t.Error(err)
		}
		if n := sys.Stats().Actors; n != 0 {
			t.Errorf("%d actors are left", n)
		}
	})
}

// A child is refused once its parent ends, also from a goroutine that has outlived the handler.
func TestNoChildOfAnEndingParent(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var d Diary
		sys := newSystem(t, actor.Config{Logger: quiet})
		var kept *actor.Context
		ref := spawn(t, sys, "p", diarist(&d, func(k *Diarist) {
			k.onStart = func(ctx *actor.Context) error { kept = ctx; return nil }
			k.onRestart = func(ctx *actor.Context, _ error) {
				if _, err := ctx.Spawn("late", PuppetKind); !errors.Is(err, actor.ErrParentStopped) {
					t.Errorf("in Restarting: %v", err)
				}
			}
		}))
		tell(t, ref, crash())
		synctest.Wait()
		r, err := kept.Spawn("", PuppetKind)
		if err != nil || !strings.HasPrefix(r.Name(), "p/") || len(r.Name()) < 10 {
			t.Errorf("a random name: %v, %v", r, err)
		}
		if _, err := kept.Spawn("a b", PuppetKind); !errors.Is(err, rpc.Invalid) {
			t.Errorf("a bad name: %v", err)
		}
		if _, err := kept.Spawn(r.Name()[2:], PuppetKind); !errors.Is(err, actor.ErrNameTaken) {
			t.Errorf("a name that is taken: %v", err)
		}
		if err := sys.Stop(t.Context(), ref); err != nil {
			t.Error(err)
		}
		if _, err := kept.Spawn("late", PuppetKind); !errors.Is(err, actor.ErrParentStopped) {
			t.Errorf("%v", err)
		}
		if n := sys.Stats().Actors; n != 0 {
			t.Errorf("%d actors are left", n)
		}
	})
}

// Children that are spawned, stop themselves and fail while their parent ends leave nothing behind.
func TestChildrenWhileTheirParentEnds(t *testing.T) {
	for range 50 {
		bubble.Test(t, func(t *testing.T) {
			var d Diary
			sys := newSystem(t, actor.Config{Logger: quiet})
			var kept *actor.Context
			ref := spawn(t, sys, "p", diarist(&d, func(k *Diarist) {
				k.onStart = func(ctx *actor.Context) error { kept = ctx; return familyOf(20, PuppetKind)(ctx) }
			}))
			synctest.Wait()
			for i := range 20 {
				c := sys.Ref(fmt.Sprint("p/c", i))
				go func() { _ = actor.Tell(t.Context(), c, note(func(ctx *actor.Context) { ctx.Stop() })) }()
				go func() { _ = actor.Tell(t.Context(), c, crash()) }()
				go func() { _, _ = kept.Spawn(fmt.Sprint("more", i), PuppetKind) }()
				go func() { _ = sys.Stop(t.Context(), c) }()
			}
			go func() { _ = actor.Tell(t.Context(), ref, crash()) }()
			if err := sys.Stop(t.Context(), ref); err != nil {
				t.Error(err)
			}
			if n := sys.Stats().Actors; n != 0 {
				t.Fatalf("%d actors are left", n)
			}
			lines := d.read()
			if n := strings.Count(strings.Join(lines, "\n"), "stopping"); n != 1 {
				t.Errorf("%q", lines)
			}
		})
	}
}

// A failure that a child escalates is its parent's.
func TestEscalation(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var d Diary
		var got supervise.Failure
		sys := newSystem(t, actor.Config{Logger: quiet})
		child := diarist(&d, nil, always(supervise.Escalate))
		ref := spawn(t, sys, "p", diarist(&d, func(k *Diarist) { k.onStart = family(child) },
			actor.Supervise(actor.Strategy{Decide: func(f supervise.Failure) supervise.Directive { got = f; return supervise.Resume }})))
		d.read()
		tell(t, sys.Ref("p/c0"), crash())
		d.want(t, "p/c0/1 stopping")
		if got.Actor != "p@local" || got.Child != "p/c0@local" || got.Message != "" || rpc.CodeOf(got.Err) != rpc.Panicked {
			t.Errorf("%+v", got)
		}
		inside(t, ref, family(child))
		d.want(t, "p/c0/2 started")
	})
}

// An actor does not wait for the end of its parent, which waits for it, nor two actors for each
// other.
func TestEndsThatWouldWaitForEver(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet})
		p := spawn(t, sys, "p", PuppetKind)
		inside(t, p, family(PuppetKind))
		inside(t, sys.Ref("p/c0"), func(ctx *actor.Context) error {
			if err := sys.Stop(ctx, p); !errors.Is(err, rpc.Invalid) {
				t.Errorf("a child stops its parent: %v", err)
			}
			return nil
		})
		q := spawn(t, sys, "q", PuppetKind)
		inside(t, p, func(ctx *actor.Context) error {
			if err := actor.Tell(ctx, q, note(func(ctx *actor.Context) {
				time.Sleep(time.Second) // p waits in Stop when this has passed in the bubble
				if _, err := actor.Call(ctx, p, Count{}); !errors.Is(err, actor.ErrCycle) {
					t.Errorf("a call to who waits for the caller's end: %v", err)
				}
			})); err != nil {
				return err
			}
			return sys.Stop(ctx, q)
		})
		inside(t, p, func(ctx *actor.Context) error { return sys.StopNow(ctx, sys.Ref("p/c0")) })
		for _, r := range []actor.Ref{{}, sys.Service("x"), sys.Ref("$jobs")} {
			if err := sys.Stop(t.Context(), r); !errors.Is(err, rpc.Invalid) {
				t.Errorf("stop of %v: %v", r, err)
			}
		}
		time.Sleep(time.Second)
	})
}
