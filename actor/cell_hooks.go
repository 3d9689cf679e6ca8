package actor

import (
	"fmt"
	"reflect"
	"time"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/supervise"
)

// hooks says which of the methods Started, Restarting and Stopping the state of a kind has.
type hooks struct{ started, restarting, stopping bool }

type (
	starter   interface{ Started(*Context) error }
	restarter interface{ Restarting(*Context, error) }
	stopper   interface{ Stopping(*Context, error) }
)

// hooksOf finds the hooks of a type of state by the names of its methods. errs are the methods
// that have such a name and cannot be a hook.
func hooksOf(state reflect.Type) (h hooks, errs []error) {
	for _, hook := range []struct {
		name string
		want reflect.Type
		has  *bool
	}{
		{"Started", reflect.TypeFor[starter](), &h.started},
		{"Restarting", reflect.TypeFor[restarter](), &h.restarting},
		{"Stopping", reflect.TypeFor[stopper](), &h.stopping},
	} {
		_, named := state.MethodByName(hook.name)
		if *hook.has = state.Implements(hook.want); named && !*hook.has {
			errs = append(errs, fmt.Errorf("method %s of %v is a hook by its name: want %v", hook.name, state, hook.want.Method(0).Type))
		}
		if !named && state.Kind() != reflect.Pointer && state.Kind() != reflect.Interface {
			if _, on := reflect.PointerTo(state).MethodByName(hook.name); on {
				errs = append(errs, fmt.Errorf("method %s of *%v is a hook by its name, but the state is not a pointer", hook.name, state))
			}
		}
	}
	return h, errs
}

// start calls Started. The actor is starting.
func (c *cell) start(w *worker) {
	if c.kind.pool && c.hires(w) {
		return
	}
	if !c.kind.hooks.started {
		c.begun()
		return
	}
	c.annexed().entered = true
	ctx := &Context{cell: c}
	c.guarded(w, "Started", func() error { return c.state.(starter).Started(ctx) }, func(err *rpc.Error) {
		ctx.end()
		if err == nil {
			c.begun()
			return
		}
		c.noteFailure("Started", err)
		c.fail(supervise.Failure{Err: err})
	})
}

// begun has the actor handle messages.
func (c *cell) begun() {
	if c.life.move(cellStarted) && c.kind.placed {
		c.keptBegins()
	}
}

// callRestarting calls Restarting on the state that is given up.
func (c *cell) callRestarting(w *worker, why error) {
	if !c.kind.hooks.restarting {
		return
	}
	ctx := &Context{cell: c}
	c.guarded(w, "Restarting", func() error { c.state.(restarter).Restarting(ctx, why); return nil }, func(err *rpc.Error) {
		ctx.end()
		if err != nil {
			c.noteFailure("Restarting", err)
		}
	})
}

// callStopping calls Stopping, if this incarnation has begun. During a shutdown its context has
// the shutdown's deadline.
func (c *cell) callStopping(w *worker) {
	a := c.annexed()
	if !c.kind.hooks.stopping || c.state == nil || c.kind.hooks.started && !a.entered {
		return
	}
	a.mu.Lock()
	why := a.why
	a.mu.Unlock()
	ctx := &Context{cell: c}
	if by := c.self.sys.endBy.Load(); by != nil {
		ctx.req, ctx.asks = endTurn{*by}, true
		ctx.life.answer() // nobody waits for an answer
	}
	c.guarded(w, "Stopping", func() error { c.state.(stopper).Stopping(ctx, why); return nil }, func(err *rpc.Error) {
		ctx.end()
		if err != nil {
			c.noteFailure("Stopping", err)
		}
	})
}

// noteFailure counts and logs a failure of a handler or hook.
func (c *cell) noteFailure(what string, err *rpc.Error) { c.noteFailureUnder(rpc.Trace{}, what, err) }

// noteFailureUnder is noteFailure for the handler of a message that belongs to a trace.
func (c *cell) noteFailureUnder(trace rpc.Trace, what string, err *rpc.Error) {
	c.annexed().failed.Add(1)
	c.self.sys.faults.noteUnder(trace, DeadLetter{Time: time.Now(), To: c.self.addr.String(), Type: what, Reason: err}, c.kind.name)
}
