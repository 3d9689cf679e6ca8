package actor_test

import (
	"context"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// app is an application, which its kinds refer to, and so its systems too.
type app struct {
	refs  []actor.Ref
	later []any
}

type keep struct {
	actor.Returns[int]
	Answers bool
}

func (a *app) kind() *actor.Kind {
	return actor.Define("test.hoard", func() *app { return a }, actor.Answer((*app).put))
}

func (a *app) put(ctx *actor.Context, m keep) (int, error) {
	later := actor.Defer[int](ctx)
	a.later = append(a.later, later)
	if m.Answers {
		return 0, later.Answer(7)
	}
	return 0, nil
}

// A system that has ended can be collected with everything in it, even if parts of it refer to
// each other and to the system.
func TestEndedSystemsAreFreed(t *testing.T) {
	for name, use := range map[string]func(t *testing.T, a *actor.System, app *app){
		"nothing is kept": func(*testing.T, *actor.System, *app) {},
		"a ref to an actor of the system": func(_ *testing.T, a *actor.System, app *app) {
			app.refs = append(app.refs, a.Ref("hoard"))
		},
		"a ref to an actor of another system": func(_ *testing.T, a *actor.System, app *app) {
			app.refs = append(app.refs, a.Ref("hoard@b"))
		},
		"a ref to a service": func(_ *testing.T, a *actor.System, app *app) {
			app.refs = append(app.refs, a.Service("hoards"))
		},
		"a ref to an actor that ended before": func(t *testing.T, a *actor.System, app *app) {
			brief := spawn(t, a, "brief", app.kind())
			if err := a.Stop(t.Context(), brief); err != nil {
				t.Fatal(err)
			}
			app.refs = append(app.refs, brief)
		},
		"a Deferred that was answered": func(t *testing.T, a *actor.System, app *app) {
			if n, err := actor.Call(t.Context(), a.Ref("hoard"), keep{Answers: true}); n != 7 || err != nil {
				t.Fatal(n, err)
			}
		},
		"a Deferred of another system that was answered": func(t *testing.T, a *actor.System, app *app) {
			if n, err := actor.Call(t.Context(), a.Ref("hoard@b"), keep{Answers: true}); n != 7 || err != nil {
				t.Fatal(n, err)
			}
		},
		"a Deferred that was not answered": func(t *testing.T, a *actor.System, app *app) {
			ctx, cancel := context.WithCancel(t.Context())
			actor.Ask(ctx, a.Ref("hoard"), keep{})
			synctest.Wait()
			cancel() // a shutdown waits for the answer as long as there is a caller
		},
	} {
		t.Run(name, func(t *testing.T) {
			var ended []weak.Pointer[actor.System]
			bubble.Test(t, func(t *testing.T) {
				app := new(app)
				a, b := memPair(t, app.kind())
				use(t, a, app)
				for _, sys := range []*actor.System{a, b} {
					ended = append(ended, weak.Make(sys))
					if err := sys.Shutdown(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
			left := func(p weak.Pointer[actor.System]) bool { return p.Value() != nil }
			for range 200 {
				runtime.GC()
				if !slices.ContainsFunc(ended, left) {
					return
				}
				time.Sleep(time.Millisecond) // the runtime cleans up in a goroutine of its own
			}
			t.Errorf("systems that have ended are still there: a %t, b %t", left(ended[0]), left(ended[1]))
		})
	}
}

// memPair starts two systems, each with an actor of that kind.
func memPair(t *testing.T, kind *actor.Kind) (a, b *actor.System) {
	t.Helper()
	net, reg := memnet.New(memnet.Config{}), static.New()
	var systems []*actor.System
	for _, name := range []string{"a", "b"} {
		sys, err := actor.NewSystem(actor.Config{Name: name, Registry: reg, Logger: quiet, Kinds: []*actor.Kind{kind}, Transports: []transport.Transport{net.Transport("direct", true)}})
		if err != nil {
			t.Fatal(err)
		}
		spawn(t, sys, "hoard", kind)
		systems = append(systems, sys)
	}
	return systems[0], systems[1]
}
