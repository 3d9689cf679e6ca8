package actor_test

// A gate, which puts what it gets aside while it is shut.

import (
	"fmt"
	"iter"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/inspect"
)

type (
	// Walk is a one-way message. It passes the gate, or shuts or opens it.
	Walk struct {
		N    int // for a message that passes
		Does string
	}
	// Ticket is a Walk that is answered.
	Ticket struct {
		actor.Returns[string]
		N    int
		Does string
	}
	// Toll is handled only while the gate is shut.
	Toll struct{ actor.Returns[string] }
)

// Gate is the state. It writes down what passes.
type Gate struct {
	diary *Diary
	last  *actor.Context // of the message before
}

// act does what the messages Walk and Ticket say. shut says that the gate is shut.
func (g *Gate) act(ctx *actor.Context, n int, does string, shut bool) (string, error) {
	last := g.last
	g.last = ctx
	switch does {
	case "shut":
		return "", ctx.Become("shut")
	case "open":
		ctx.Unbecome()
		g.diary.note("%d back", ctx.Unstash())
		return "", nil
	case "crash":
		panic("on purpose")
	case "exit":
		runtime.Goexit()
	case "stash and crash":
		_ = ctx.Stash()
		panic("on purpose")
	case "stash late":
		return "", last.Stash()
	case "stash twice":
		_ = ctx.Stash()
		g.diary.note("%v", ctx.Stash())
		return "", nil
	case "stash and fail":
		_ = ctx.Stash()
		return "", fmt.Errorf("ignored")
	}
	if shut {
		if err := ctx.Stash(); err != nil {
			g.diary.note("%d: %v", n, err)
			return "", err
		}
		return "ignored", nil
	}
	g.diary.note("%d", n)
	return fmt.Sprint(n), nil
}

func (g *Gate) Walk(ctx *actor.Context, m Walk) error {
	_, err := g.act(ctx, m.N, m.Does, false)
	return err
}

func (g *Gate) Ticket(ctx *actor.Context, m Ticket) (string, error) {
	return g.act(ctx, m.N, m.Does, false)
}

func (g *Gate) Keep(ctx *actor.Context, m Walk) error {
	_, err := g.act(ctx, m.N, m.Does, true)
	return err
}

func (g *Gate) Hold(ctx *actor.Context, m Ticket) (string, error) {
	return g.act(ctx, m.N, m.Does, true)
}

func (g *Gate) Toll(*actor.Context, Toll) (string, error)         { return "paid", nil }
func (g *Gate) Run(ctx *actor.Context, m Run) (string, error)     { return m.F(ctx) }
func (g *Gate) Note(ctx *actor.Context, m Note) error             { return m.F(ctx) }
func (g *Gate) Stopping(*actor.Context, error)                    { g.diary.note("stops") }
func (g *Gate) RunShut(ctx *actor.Context, m Run) (string, error) { return m.F(ctx) }

// gateKind has a stash for n messages.
func gateKind(d *Diary, n int, opts ...actor.KindOption) *actor.Kind {
	return actor.Define("test.gate", func() *Gate { return &Gate{diary: d} },
		actor.Handle((*Gate).Walk), actor.Answer((*Gate).Ticket), actor.Answer((*Gate).Run), actor.Handle((*Gate).Note),
		actor.Behaviour("shut", actor.Handle((*Gate).Keep), actor.Answer((*Gate).Hold), actor.Answer((*Gate).Toll)),
		actor.Behaviour("other", actor.Answer((*Gate).RunShut))).
		With(actor.Stash(n), actor.Supervise(actor.Strategy{Window: time.Nanosecond})).With(opts...)
}

// inspected returns what an actor of this system looks like, once it has nothing to do.
func inspected(t testing.TB, sys *actor.System, name string) inspect.Actor {
	t.Helper()
	synctest.Wait()
	a, err := sys.Inspect(t.Context(), sys.Ref(name))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

type seqOfInts = iter.Seq2[int, error]
