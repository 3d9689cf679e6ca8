package actor_test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
)

// Each hook is called once for each incarnation, in order with the messages.
func TestHooksInOrder(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var d Diary
		sys := newSystem(t, actor.Config{Logger: quiet})
		ref := spawn(t, sys, "x", diarist(&d, nil))
		d.want(t, "x/1 started")
		say := func(s string) Note { return note(func(*actor.Context) { d.note("%s", s) }) }
		tell(t, ref, say("one"))
		tell(t, ref, crash())
		tell(t, ref, say("two"))
		tell(t, ref, exit())
		tell(t, ref, say("three"))
		d.want(t, "one", "x/1 restarting", "x/2 started", "two")
		time.Sleep(time.Second) // the second restart is put off
		d.want(t, "x/2 restarting", "x/3 started", "three")
		unplug := plug(t, ref)
		tell(t, ref, say("four"))
		over := make(chan error)
		go func() { over <- sys.Stop(t.Context(), ref) }()
		synctest.Wait()
		if err := actor.Tell(t.Context(), ref, say("late"), rpc.Acked()); !errors.Is(err, rpc.NotFound) {
			t.Errorf("a message behind Stop: %v", err)
		}
		unplug()
		if err := <-over; err != nil {
			t.Error(err)
		}
		d.want(t, "four", "x/3 stopping")
		spawn(t, sys, "x", diarist(&d, nil))
		d.want(t, "x/1 started")
	})
}

// StopNow hands back what waits, and calls Stopping all the same; before Started was called,
// neither is.
func TestStopNowCallsStopping(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var d Diary
		sys := newSystem(t, actor.Config{Logger: quiet})
		dead := letters(t, sys)
		ref := spawn(t, sys, "x", diarist(&d, nil))
		unplug := plug(t, ref)
		tell(t, ref, crash())
		actor.Halt(sys, ref)
		unplug()
		d.want(t, "x/1 started", "x/1 stopping")
		if n := len(dead()); n != 1 {
			t.Errorf("%d dead letters", n)
		}
		idle := spawn(t, sys, "idle", diarist(&d, nil))
		d.want(t, "idle/1 started")
		if err := sys.StopNow(t.Context(), idle); err != nil {
			t.Error(err)
		}
		d.want(t, "idle/1 stopping")
	})
}

// An error or a panic of Started is a failure. The others are logged, and the life goes on.
func TestHooksThatFail(t *testing.T) {
	for name, end := range map[string]func() error{
		"error":  func() error { return errors.New("no") },
		"panic":  func() error { panic("no") },
		"goexit": func() error { runtime.Goexit(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				var d Diary
				log := &actor.LineLog{}
				sys := newSystem(t, actor.Config{Logger: slog.New(log)})
				ref := spawn(t, sys, "x", diarist(&d, func(k *Diarist) {
					k.onStart = func(*actor.Context) error {
						if k.born == 1 {
							return end()
						}
						return nil
					}
					k.onRestart = func(_ *actor.Context, why error) {
						if why == nil {
							t.Error("no reason to restart")
						}
						_ = end()
					}
					k.onStop = func(_ *actor.Context, why error) {
						if why != nil {
							t.Errorf("an ordered stop: %v", why)
						}
						_ = end()
					}
				}))
				if n, err := actor.Call(t.Context(), ref, Count{}); n != 0 || err != nil {
					t.Errorf("%d, %v", n, err)
				}
				d.want(t, "x/1 started", "x/1 restarting", "x/2 started")
				if err := sys.Stop(t.Context(), ref); err != nil {
					t.Error(err)
				}
				d.want(t, "x/2 stopping")
				if st := sys.Stats(); st.Actors != 0 || name != "error" && st.Panics != 3 {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

// A shutdown calls Stopping with its own deadline, and does not wait longer for it.
func TestStoppingAtShutdown(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var d Diary
		sys, err := actor.NewSystem(actor.Config{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		end := time.Now().Add(3 * time.Second)
		spawn(t, sys, "x", diarist(&d, func(k *Diarist) {
			k.onStop = func(ctx *actor.Context, why error) {
				if at, ok := ctx.Deadline(); !ok || !at.Equal(end) || !errors.Is(why, actor.ErrShutdown) {
					t.Errorf("deadline %v, %v, because of %v", at, ok, why)
				}
				if _, err := ctx.Spawn("late", PuppetKind); !errors.Is(err, actor.ErrParentStopped) {
					t.Errorf("a child in Stopping: %v", err)
				}
				<-ctx.Done()
				d.note("cancelled")
				time.Sleep(time.Hour)
			}
		}))
		synctest.Wait()
		ctx, cancel := context.WithDeadline(t.Context(), end)
		defer cancel()
		if err := sys.Shutdown(ctx); !errors.Is(err, rpc.Expired) {
			t.Error(err)
		}
		if late := time.Since(end); late > 3*time.Second {
			t.Errorf("shutdown returned after %v", late)
		}
		d.want(t, "x/1 started", "x/1 stopping", "cancelled")
		time.Sleep(2 * time.Hour)
	})
}

type wrongHook struct{}

func (wrongHook) Started(*actor.Context) {}

type hookOfPointer struct{}

func (*hookOfPointer) Stopping(*actor.Context, error) {}

// A method that has the name of a hook, and cannot be one, is found at the program's start.
func TestHooksOfAnotherShape(t *testing.T) {
	for name, define := range map[string]func(){
		"Started":       func() { actor.Define("x", func() wrongHook { return wrongHook{} }) },
		"not a pointer": func() { actor.Define("x", func() hookOfPointer { return hookOfPointer{} }) },
	} {
		func() {
			defer func() {
				if text, _ := recover().(string); !strings.Contains(text, "hook") {
					t.Errorf("%s: %q", name, text)
				}
			}()
			define()
		}()
	}
}

// A start that fails ends the actors that Setup has spawned, and does not wait long for them.
func TestStoppingAfterAFailedStart(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var d Diary
		began := time.Now()
		_, err := actor.NewSystem(actor.Config{Logger: quiet, Setup: func(s *actor.System) error {
			spawn(t, s, "x", diarist(&d, nil))
			spawn(t, s, "y", diarist(&d, func(k *Diarist) { k.onStop = func(*actor.Context, error) { time.Sleep(time.Hour) } }))
			synctest.Wait()
			d.read()
			return errors.New("no")
		}})
		if err == nil || time.Since(began) > 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if n := len(d.read()); n != 2 {
			t.Errorf("%d actors were told", n)
		}
		time.Sleep(2 * time.Hour)
	})
}

// A hook that blocks holds up nobody but its actor, and a Stop no longer than its context lasts.
func TestHooksThatBlock(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var d Diary
		sys := newSystem(t, actor.Config{Logger: quiet})
		free := make(chan struct{})
		ref := spawn(t, sys, "x", diarist(&d, func(k *Diarist) { k.onStart = func(*actor.Context) error { <-free; return nil } }))
		synctest.Wait()
		for name, stop := range map[string]func(context.Context, actor.Ref) error{"stop": sys.Stop, "stop now": sys.StopNow} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if err := stop(ctx, ref); !errors.Is(err, rpc.Expired) {
				t.Errorf("%s: %v", name, err)
			}
			cancel()
		}
		other := spawn(t, sys, "other", PuppetKind)
		if _, err := actor.Call(t.Context(), other, Count{}); err != nil {
			t.Error(err)
		}
		close(free)
		d.want(t, "x/1 started", "x/1 stopping")
	})
}

// An actor that is to stop is no instance of its services any more, although it still works off
// what waits.
func TestStoppingInstanceIsLeftOut(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet})
		one := spawn(t, sys, "one", PuppetKind, actor.Expose("s"))
		unplug := plug(t, one)
		spawn(t, sys, "two", PuppetKind, actor.Expose("s"))
		go func() { _ = sys.Stop(t.Context(), one) }()
		synctest.Wait()
		for range 10 {
			if _, err := actor.Call(t.Context(), sys.Service("s"), Count{}); err != nil {
				t.Error(err)
			}
		}
		unplug()
	})
}
