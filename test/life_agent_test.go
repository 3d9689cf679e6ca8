package test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// The messages of the actors of TestLife. Script names what their handlers do, because a function
// does not travel.
type (
	Play struct {
		actor.Returns[string]
		Script uint64
		Key    string
	}
	Cue struct {
		Script uint64
		N      int
	}
)

// scripts are what the handlers of Play and Cue do.
var scripts struct {
	sync.Map
	last atomic.Uint64
}

type script func(ctx *actor.Context, a *agent) (string, error)

func written(do script) uint64 {
	id := scripts.last.Add(1)
	scripts.Store(id, do)
	return id
}

func perform(id uint64, ctx *actor.Context, a *agent) (string, error) {
	do, ok := scripts.Load(id)
	if !ok {
		return "", fmt.Errorf("there is no script %d", id)
	}
	return do.(script)(ctx, a)
}

// agent is an actor of TestLife: it does what it is told, and notes what becomes of it.
type agent struct {
	role *role
	n    int    // of what is handled
	as   string // the behaviour whose handler runs; "": the kind's own handlers
}

// role is what the agents of one kind have in common.
type role struct {
	note    func(format string, args ...any)
	started func(ctx *actor.Context) error         // nil: nothing
	hears   func(ctx *actor.Context, m News) error // nil: it is noted
	silent  bool                                   // its life is not noted
}

func (r *role) live(format string, args ...any) {
	if !r.silent {
		r.note(format, args...)
	}
}

func (a *agent) Started(ctx *actor.Context) error {
	a.role.live("%s starts", ctx.Self().Name())
	if a.role.started == nil {
		return nil
	}
	return a.role.started(ctx)
}

func (a *agent) Restarting(ctx *actor.Context, why error) {
	a.role.live("%s restarts: %v", ctx.Self().Name(), reason(why))
}

func (a *agent) Stopping(ctx *actor.Context, why error) {
	a.role.live("%s stops: %v", ctx.Self().Name(), reason(why))
}

func (a *agent) Play(ctx *actor.Context, m Play) (string, error) { return a.play(ctx, m, "") }
func (a *agent) Cue(ctx *actor.Context, m Cue) error             { return a.cue(ctx, m, "") }

// The handlers of behaviours.
func (a *agent) PlayShut(ctx *actor.Context, m Play) (string, error) { return a.play(ctx, m, "shut") }
func (a *agent) CueShut(ctx *actor.Context, m Cue) error             { return a.cue(ctx, m, "shut") }
func (a *agent) CueDeaf(ctx *actor.Context, m Cue) error             { return a.cue(ctx, m, "deaf") }

func (a *agent) play(ctx *actor.Context, m Play, as string) (string, error) {
	a.n++
	a.as = as
	return perform(m.Script, ctx, a)
}

func (a *agent) cue(ctx *actor.Context, m Cue, as string) error {
	_, err := a.play(ctx, Play{Script: m.Script}, as)
	return err
}

func (a *agent) News(ctx *actor.Context, m News) error {
	if a.role.hears != nil {
		return a.role.hears(ctx, m)
	}
	a.role.note("%s hears %d", ctx.Self().Name(), m.N)
	return nil
}

func (a *agent) Terminated(ctx *actor.Context, m actor.Terminated) error {
	a.role.note("%s has ended: %v", m.Ref.Name(), reason(m.Why))
	return nil
}

// handlers are those of agents, without a behaviour.
var handlers = []actor.Handler[*agent]{
	actor.Answer((*agent).Play), actor.Handle((*agent).Cue), actor.Handle((*agent).News), actor.Handle((*agent).Terminated),
}

// reason is a short text for why an actor has ended.
func reason(why error) string {
	for text, err := range map[string]error{"idle": actor.ErrIdle, "shutdown": actor.ErrShutdown, "parent": actor.ErrParentStopped} {
		if errors.Is(why, err) {
			return text
		}
	}
	if why == nil {
		return "asked to"
	}
	return rpc.CodeOf(why).String()
}
