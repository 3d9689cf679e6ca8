package actor_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/supervise"
	"github.com/tandem-go/tandem/test/bubble"
)

// always is a strategy that always gives one directive.
func always(d supervise.Directive) actor.KindOption {
	return actor.Supervise(actor.Strategy{Decide: func(supervise.Failure) supervise.Directive { return d }})
}

// An actor that panics on each message is restarted 10 times, and then stops: with an event, one
// line in the log, and what waited handed back.
func TestPanicStorm(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		log := &actor.LineLog{}
		sys := newSystem(t, actor.Config{Logger: slog.New(log)})
		restarts, stops := sys.Events(t.Context(), actor.ActorRestarted), sys.Events(t.Context(), actor.ActorStopped)
		dead := letters(t, sys)
		ref := spawn(t, sys, "x", AccountKind)
		unplug := make(chan struct{})
		_ = actor.Ask(t.Context(), ref, Block{Entered: make(chan struct{}), Leave: unplug})
		var asked []*rpc.Future[int]
		for range 500 {
			asked = append(asked, actor.Ask(t.Context(), ref, Crash{}))
			tell(t, ref, Deposit{1})
		}
		close(unplug)
		time.Sleep(29 * time.Second)
		var ran int
		for i, f := range asked {
			_, err := f.Await(t.Context())
			if rpc.Ran(err) == rpc.HasRun {
				ran++
				wantErr(t, "crashed", err, rpc.Panicked, rpc.HasRun)
			} else {
				wantErr(t, "waited", err, rpc.Unavailable, rpc.NotRun)
			}
			if (rpc.Ran(err) == rpc.HasRun) != (i < 11) {
				t.Errorf("message %d: %v", i, err)
			}
		}
		if ran != 11 || len(restarts) != 10 || len(stops) != 1 || len(dead()) != 490 {
			t.Errorf("%d messages ran; %d restarts, %d stops, %d dead letters", ran, len(restarts), len(stops), len(dead()))
		}
		if e := <-stops; rpc.CodeOf(e.Err) != rpc.Panicked {
			t.Errorf("%+v", e)
		}
		if lines := log.About("failed too often"); len(lines) != 1 {
			t.Errorf("%q", lines)
		}
		if lines := log.About("ERROR"); len(lines) > 16 { // a line a second, while it fails
			t.Errorf("%d lines", len(lines))
		}
		if _, err := sys.Spawn("x", AccountKind); err != nil {
			t.Error(err)
		}
	})
}

// Each directive does what it says.
func TestDirectives(t *testing.T) {
	for _, row := range []struct {
		name  string
		d     supervise.Directive
		diary []string
		stops bool
	}{
		{"restart", supervise.Restart, []string{"x/1 restarting", "x/2 started"}, false},
		{"resume", supervise.Resume, nil, false},
		{"stop", supervise.Stop, []string{"x/1 stopping"}, true},
		{"escalate without a parent", supervise.Escalate, []string{"x/1 stopping"}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				var d Diary
				sys := newSystem(t, actor.Config{Logger: quiet})
				ref := spawn(t, sys, "x", diarist(&d, func(k *Diarist) {
					k.onStop = func(_ *actor.Context, why error) {
						if row.stops && rpc.CodeOf(why) != rpc.Panicked {
							t.Errorf("it stops because of %v", why)
						}
					}
				}, always(row.d)))
				d.want(t, "x/1 started")
				tell(t, ref, note(func(*actor.Context) {}))
				tell(t, ref, crash())
				d.want(t, row.diary...)
				n, err := actor.Call(t.Context(), ref, Count{})
				switch {
				case row.stops && rpc.CodeOf(err) != rpc.NotFound:
					t.Errorf("%v", err)
				case !row.stops && (err != nil || (n == 0) != (row.d == supervise.Restart)):
					t.Errorf("%d, %v", n, err)
				}
			})
		})
	}
}

// Decide gets what has happened. If it does not return, the actor stops.
func TestDecide(t *testing.T) {
	for name, end := range map[string]func(){"panics": func() { panic("no") }, "exits": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				var got []supervise.Failure
				sys := newSystem(t, actor.Config{Logger: quiet})
				ref := spawn(t, sys, "x", PuppetKind.With(actor.Supervise(actor.Strategy{Decide: func(f supervise.Failure) supervise.Directive {
					if got = append(got, f); len(got) == 3 {
						end()
					}
					return supervise.Restart
				}})))
				for range 3 {
					tell(t, ref, crash())
				}
				tell(t, ref, note(func(*actor.Context) { t.Error("ran") }))
				time.Sleep(time.Minute)
				synctest.Wait()
				if len(got) != 3 || got[2].Restarts != 2 || got[2].Actor != "x@local" || !strings.HasSuffix(got[2].Message, "Note") || rpc.CodeOf(got[2].Err) != rpc.Panicked {
					t.Errorf("%+v", got)
				}
				if n := sys.Stats().Actors; n != 0 {
					t.Errorf("%d actors", n)
				}
			})
		})
	}
}

// While an actor is suspended, its messages wait. Stop handles them after the restart, StopNow
// hands them back, and a shutdown ends the back-off.
func TestEndsWhileSuspended(t *testing.T) {
	for name, end := range map[string]struct {
		do    func(*actor.System, actor.Ref) error
		diary []string
	}{
		"stop":     {func(s *actor.System, r actor.Ref) error { return s.Stop(context.Background(), r) }, []string{"x/2 restarting", "x/3 started", "ran", "x/3 stopping"}},
		"stop now": {func(s *actor.System, r actor.Ref) error { return s.StopNow(context.Background(), r) }, []string{"x/2 stopping"}},
		"shutdown": {func(s *actor.System, _ actor.Ref) error { return s.Shutdown(context.Background()) }, []string{"x/2 restarting", "x/3 started", "ran", "x/3 stopping"}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				var d Diary
				sys := newSystem(t, actor.Config{Logger: quiet})
				ref := spawn(t, sys, "x", diarist(&d, nil, actor.Supervise(actor.Strategy{Backoff: 10 * time.Minute, MaxBackoff: 10 * time.Minute})))
				unplug := plug(t, ref)
				tell(t, ref, crash())
				tell(t, ref, crash())
				tell(t, ref, note(func(*actor.Context) { d.note("ran") }))
				unplug()
				d.want(t, "x/1 started", "x/1 restarting", "x/2 started")
				began := time.Now()
				if err := end.do(sys, ref); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); name != "stop" && took > 6*time.Second {
					t.Errorf("it took %v", took)
				}
				d.want(t, end.diary...)
			})
		})
	}
}

// A sender that waits for room goes on waiting while the actor is suspended.
func TestSendersWaitForASuspendedActor(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet})
		ref := spawn(t, sys, "x", PuppetKind.With(actor.Supervise(actor.Strategy{Backoff: 5 * time.Second})), small(2, mailbox.Block))
		tell(t, ref, crash())
		tell(t, ref, crash())
		synctest.Wait()
		for range 10 {
			tell(t, ref, note(func(*actor.Context) {}))
		}
		if n, err := actor.Call(t.Context(), ref, Count{}); n != 10 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	})
}

// A parent and its child fail because of each other: it ends when the parent has been restarted too
// often, and everything is stopped.
func TestSupervisionLoop(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var d Diary
		sys := newSystem(t, actor.Config{Logger: quiet})
		bad := diarist(&d, func(k *Diarist) { k.onStart = func(*actor.Context) error { return errors.New("never") } }, always(supervise.Escalate))
		spawn(t, sys, "p", diarist(&d, func(k *Diarist) {
			k.onStart = func(ctx *actor.Context) error { _, err := ctx.Spawn("c", bad); return err }
		}))
		time.Sleep(time.Minute)
		synctest.Wait()
		lines := d.read()
		starts, ends := 0, 0
		for _, line := range lines {
			if strings.HasSuffix(line, "started") {
				starts++
			}
			if strings.HasSuffix(line, "stopping") {
				ends++
			}
		}
		if n := sys.Stats().Actors; starts != 22 || ends != 12 || n != 0 {
			t.Errorf("%d starts, %d ends, %d actors: %q", starts, ends, n, lines)
		}
	})
}

// With AllForOne the other children are restarted and stopped as well.
func TestAllForOne(t *testing.T) {
	for _, row := range []struct {
		d     supervise.Directive
		lines []string
	}{
		{supervise.Restart, []string{"restarting", "started"}},
		{supervise.Stop, []string{"stopping"}},
		{supervise.Resume, nil},
	} {
		bubble.Test(t, func(t *testing.T) {
			var d Diary
			kind := diarist(&d, nil, actor.Supervise(actor.Strategy{AllForOne: true, Decide: func(supervise.Failure) supervise.Directive { return row.d }}))
			sys := newSystem(t, actor.Config{Logger: quiet})
			p := spawn(t, sys, "p", PuppetKind)
			var refs []actor.Ref
			if _, err := actor.Call(t.Context(), p, run(func(ctx *actor.Context) (string, error) {
				for _, name := range []string{"a", "b", "c"} {
					r, err := ctx.Spawn(name, kind)
					if err != nil {
						return "", err
					}
					refs = append(refs, r)
				}
				return "", nil
			})); err != nil {
				t.Fatal(err)
			}
			d.read()
			tell(t, refs[1], crash())
			got := strings.Join(d.read(), " ")
			for _, what := range row.lines {
				if n := strings.Count(got, what); n != 3 {
					t.Errorf("%v: %s %d times: %s", row.d, what, n, got)
				}
			}
			if row.lines == nil && got != "" {
				t.Errorf("%v: %s", row.d, got)
			}
		})
	}
}

// A state that cannot be made anew ends the actor.
func TestStateThatCannotBeMadeAnew(t *testing.T) {
	for name, end := range map[string]func(){"panics": func() { panic("no") }, "exits": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				made := 0
				kind := actor.Define("fragile", func() *Puppet {
					if made++; made > 1 {
						end()
					}
					return new(Puppet)
				}, actor.Handle(func(_ *Puppet, ctx *actor.Context, m Note) error { return m.F(ctx) }))
				sys := newSystem(t, actor.Config{Logger: quiet})
				ref := spawn(t, sys, "x", kind)
				tell(t, ref, crash())
				tell(t, ref, note(func(*actor.Context) { t.Error("ran") }))
				synctest.Wait()
				if n := sys.Stats().Actors; n != 0 {
					t.Errorf("%d actors", n)
				}
			})
		})
	}
}

// A strategy that makes no sense is found at the program's start.
func TestStrategyThatIsInvalid(t *testing.T) {
	defer func() {
		if text, _ := recover().(string); !strings.Contains(text, "Backoff is negative") {
			t.Errorf("%q", text)
		}
	}()
	actor.Supervise(actor.Strategy{Backoff: -1})
}

// A child that escalates its failure ends because of that failure. Its parent, which stops its
// children, does not say first that it ends.
func TestEscalatedFailureIsWhyTheChildEnds(t *testing.T) {
	for _, d := range []supervise.Directive{supervise.Restart, supervise.Stop} {
		t.Run(d.String(), func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				var of Diary
				sys := newSystem(t, actor.Config{Logger: quiet})
				child := diarist(&of, func(k *Diarist) {
					k.onStop = func(_ *actor.Context, why error) { of.note("why: %v", rpc.CodeOf(why)) }
				}, always(supervise.Escalate))
				var p Diary
				parent := diarist(&p, func(k *Diarist) { k.onStart = family(child) }, always(d))
				for i := range 100 {
					name := fmt.Sprint("p", i)
					spawn(t, sys, name, parent)
					synctest.Wait()
					of.read()
					tell(t, sys.Ref(name+"/c0"), crash())
					if got := of.read(); !slices.Contains(got, fmt.Sprint("why: ", rpc.Panicked)) {
						t.Fatalf("time %d: the child has ended like this: %q", i, got)
					}
				}
			})
		})
	}
}
