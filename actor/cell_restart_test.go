package actor_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
)

// If a handler panics or calls Goexit, the caller gets an error, and the actor is restarted
// with fresh state. No other message is lost.
func TestHandlersThatDoNotReturn(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { panic("boom") }, "goexit": runtime.Goexit} {
		for _, told := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " told ", told), func(t *testing.T) {
				bubble.Test(t, func(t *testing.T) {
					sys := newSystem(t, actor.Config{Logger: quiet})
					events := sys.Events(t.Context())
					ref := spawn(t, sys, "x", PuppetKind)
					unplug := plug(t, ref)
					var kept context.Context
					if told {
						if err := actor.Tell(t.Context(), ref, note(func(*actor.Context) { end() })); err != nil {
							t.Fatal(err)
						}
					} else {
						f := actor.Ask(t.Context(), ref, run(func(ctx *actor.Context) (string, error) { kept = ctx; _ = ctx.Err(); end(); return "", nil }))
						defer func() {
							_, err := f.Await(t.Context())
							wantErr(t, name, err, rpc.Panicked, rpc.HasRun)
							if kept.Err() == nil {
								t.Error("its context did not end")
							}
						}()
					}
					after := actor.Ask(t.Context(), ref, Count{})
					unplug()
					if n, err := after.Await(t.Context()); n != 0 || err != nil {
						t.Errorf("state after the restart: %d, %v", n, err)
					}
					if e := <-events; e.Type != actor.ActorRestarted || e.Actor != "x@local" || rpc.CodeOf(e.Err) != rpc.Panicked {
						t.Errorf("event %+v", e)
					}
					synctest.Wait() // messages are counted when their batch is done
					if s := sys.Stats(); s.Panics != 1 || s.Handled != 3 {
						t.Errorf("stats %+v", s)
					}
				})
			})
		}
	}
}
