package actor

import (
	"reflect"

	"github.com/tandem-go/tandem/rpc"
)

// Terminated is the message that an actor gets when an actor that it watches has ended, see
// Context.Watch. It cannot be sent to another node.
type Terminated struct {
	Ref Ref   // the actor that was watched
	Why error // nil if somebody stopped it; the failure, ErrShutdown, ErrParentStopped; or see Watch
}

// watch is one actor watching another one, or a node watching one for its actors.
type watch struct {
	by *cell   // nil: another node
	of *target // what was asked for
	at *target // the actor: of, or the activation of a virtual actor; nil: it is looked for

	id   uint64    // of a watch between nodes
	far  *farNode  // the node of the actor; nil: this one
	kept *follower // who watches; nil: an actor of this node
}

// Watch has this actor get one Terminated when the actor of r has ended and its name is free, and
// at once if there is no such actor. It overtakes the messages that wait. That an actor is
// restarted is not its end. Watching an actor that is watched already changes nothing. The watch
// ends with Unwatch, and when this actor ends or is restarted; Started may watch anew.
//
// Terminated.Why is rpc.NotFound if there was no such actor. Watch does not wait for the node of an
// actor elsewhere. If that node does not allow it (access.Watch), or has no room for more, Why is
// rpc.Denied or rpc.Overloaded. If it is rpc.Unavailable, the node has left, was restarted, or is
// known to be dead: it is not in the registry, and there is no link to it. A node that is only
// away for a while does not end a watch, and what has ended meanwhile is told when it is back.
// A watch costs no messages while nothing happens.
//
// Of a virtual actor its present activation is watched, wherever it is; none is begun. Terminated comes when that has ended,
// why ever: somebody has stopped it, it was idle, or its node leaves or was lost. The next message activates the actor again.
// If it is not active, Why wraps ErrNotActive; if that cannot be found out, it is rpc.Unavailable.
//
// The error says that the kind of this actor has no handler for Terminated (rpc.Unhandled), or that
// r is this actor itself or a service (rpc.Invalid), or that the system has no roads to other nodes
// (rpc.Unavailable). Watch may be called by any goroutine.
func (c *Context) Watch(r Ref) error {
	t, err := targetOf(r, c)
	if err != nil {
		return err
	}
	by := c.cell
	switch {
	case t == by.self, by.kind.placed && t == by.virtualSelf():
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "%v watches itself", t.addr)
	case t.addr.node == anyNode:
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "%v is a service, which has no end", t.addr)
	case by.kind.handlers[reflect.TypeFor[Terminated]()] == nil && !by.kind.receiver:
		return rpc.Errorf(rpc.Unhandled, rpc.NotRun, "kind %s has no handler for Terminated", by.kind.name)
	}
	if t.addr.node == anywhere {
		if w := (&watch{by: by, of: t}); by.watches(w) {
			w.search()
		}
		return nil
	}
	if t.addr.node != t.sys.cfg.Name {
		if len(t.sys.cfg.Transports) == 0 {
			return rpc.Errorf(rpc.Unavailable, rpc.NotRun, "watch of %v: the system has no Transports", t.addr)
		}
		w := &watch{by: by, of: t, at: t}
		w.far, w.id = t.sys.far.join(t.addr.node)
		w.far.add(w, by.watches(w))
		return nil
	}
	w := &watch{by: by, of: t, at: t}
	if !by.watches(w) {
		return nil
	}
	if c := t.cell.Load(); c == nil || !c.watchedBy(w) {
		by.signal(terminated{w, rpc.Errorf(rpc.NotFound, rpc.NotRun, "no actor %v", t.addr)})
	}
	return nil
}

// Unwatch ends a watch. No Terminated of it is handled any more.
func (c *Context) Unwatch(r Ref) {
	if t, err := targetOf(r, c); err == nil {
		c.cell.unwatch(t)
	}
}

// tell tells who watches that the actor has ended.
func (w *watch) tell(why error) {
	if w.kept != nil {
		w.kept.ended(w, why)
		return
	}
	w.over(why)
}

// over has the actor that watches get its Terminated. An attempt to activate a virtual actor that has come to nothing, because another
// node has it, is no end.
func (w *watch) over(why error) {
	if w.at != w.of && rpc.CodeOf(why) == rpc.Moved {
		w.search()
		return
	}
	w.by.signal(terminated{w, why})
}

// terminated is the signal that an actor that is watched has ended.
type terminated struct {
	*watch
	why error
}

func (s terminated) arrive(c *cell) any {
	a := c.annexed()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.watching[s.of] != s.watch { // the watch has ended
		return nil
	}
	delete(a.watching, s.of)
	return Terminated{Ref{to: s.of}, s.why}
}

// watches begins a watch by c. It returns false if c watches that actor already.
func (c *cell) watches(w *watch) bool {
	a := c.annexed()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.watching[w.of] != nil {
		return false
	}
	if a.watching == nil {
		a.watching = map[*target]*watch{}
	}
	a.watching[w.of] = w
	return true
}

// watchedBy notes that c is watched. It returns false if c is gone.
func (c *cell) watchedBy(w *watch) bool {
	a := c.annexed()
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.life.now() == gone {
		return false
	}
	if a.watchers == nil {
		a.watchers = map[*watch]struct{}{}
	}
	a.watchers[w] = struct{}{}
	return true
}

func (c *cell) unwatch(t *target) {
	a := c.annexed()
	a.mu.Lock()
	w := a.watching[t]
	delete(a.watching, t)
	a.mu.Unlock()
	if w != nil {
		w.end()
	}
}

// dropWatches ends all watches of c, because its incarnation ends.
func (c *cell) dropWatches() {
	a := c.annexed()
	a.mu.Lock()
	all := a.watching
	a.watching = nil
	a.mu.Unlock()
	for _, w := range all {
		w.end()
	}
}

// end has the watched actor forget w.
func (w *watch) end() {
	if w.at == nil { // search will see it
		return
	}
	if w.far != nil {
		w.far.drop(w.id)
		return
	}
	c := w.at.cell.Load()
	if c == nil {
		return
	}
	if a := c.more.Load(); a != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.watchers, w)
	}
}
