package actor

import (
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// ErrParentStopped is the error of a Context.Spawn by an actor that ends or is being restarted,
// and why the children of such an actor end.
var ErrParentStopped error = rpc.NewError("actor.parent_stopped", "the actor's parent ends, or is being restarted")

// end ends the actor after the message that it is handling. The messages that wait in its mailbox
// are handed back. Any goroutine may call it; the first call counts. why is nil if somebody wanted
// the actor to end.
func (c *cell) end(why error) {
	if !c.beginEnd(why) {
		return
	}
	rest, _ := c.box.Close()
	for _, it := range rest {
		c.giveBack(it)
	}
	if c.box.Wake() {
		c.runToEnd()
		return
	}
	c.unpark() // it may have been suspended
}

// beginEnd changes the state. It returns false if the actor ends already.
func (c *cell) beginEnd(why error) bool {
	if why == nil || c.isPlain() { // nobody asks why
		return c.life.move(cellStopped)
	}
	a := c.annexed()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !c.life.move(cellStopped) {
		return false
	}
	a.why = why
	return true
}

// seal ends the actor once it has handled the messages that wait in its mailbox.
func (c *cell) seal() {
	c.withdraw()
	c.life.seal()
	c.box.Seal()
	if !c.box.Wake() {
		return
	}
	if c.box.Len() == 0 && !c.kind.pool { // the workers of a pool may still have messages
		c.life.move(cellStopped)
	}
	c.runToEnd()
}

// withdraw makes the actor no longer an instance of its services.
func (c *cell) withdraw() {
	for _, service := range c.services() {
		c.self.sys.members.withdraw(service, c)
	}
}

// runToEnd is run for an actor that has no run loop. If nothing is left to do, it ends here.
func (c *cell) runToEnd() {
	if c.life.now() == ending && c.isPlain() {
		c.leave()
		return
	}
	c.run()
}

// isPlain reports whether the end of c needs no turn of its own.
func (c *cell) isPlain() bool { return c.more.Load() == nil && !c.kind.hooks.stopping }

// finish does the next step of the actor's end: it has the children end, calls Stopping, and
// frees the name. It returns false while children are left.
func (c *cell) finish(w *worker) bool {
	if c.isPlain() {
		c.leave()
		return true
	}
	a := c.annexed()
	switch a.step {
	default:
		c.withdraw()
		if t := a.failures; t != nil && t.again != nil {
			t.again.Stop()
		}
		c.dropTimers()
		c.stopChildren()
		a.step = closing
	case closing:
		if c.hasChildren() {
			return false
		}
		a.step = lastCall
	case lastCall:
		if a.step = leaving; c.kind.keeps != nil && c.place().store != nil {
			a.step = settling
		}
		c.callStopping(w)
	case settling:
		if !c.settled() {
			return false
		}
		a.step = leaving
	case leaving:
		c.leave()
	}
	return true
}

// leave frees the actor's name. Nothing of the actor runs any more. The name is freed last, so
// that nothing of the old actor is left when the name can be taken again. Then those who wait for
// the end learn of it.
func (c *cell) leave() {
	if c.life.now() != ending {
		return
	}
	sys := c.self.sys
	c.state = nil // a context that the application keeps still refers to the cell
	sys.waitLists.end(c)
	sys.refs.leave(c)
	c.life.move(cellLeft)
	a := c.more.Load()
	if a == nil {
		sys.event(Event{Type: ActorStopped, Actor: c.self.addr.String()})
		return
	}
	c.leavePlace()
	c.dropWatches()
	c.dropTopics()
	c.dropTimers()
	a.mu.Lock()
	why, watchers := a.why, a.watchers
	a.stopIdle()
	a.signals, a.watchers = nil, nil
	a.mu.Unlock()
	e := Event{Type: ActorStopped, Actor: c.self.addr.String()}
	if t := a.failures; t != nil {
		t.held = nil
		if why != nil && why == t.latest.Err {
			e.Err = why
		}
	}
	sys.event(e)
	for w := range watchers {
		w.tell(why)
	}
	r := a.role
	if r == nil {
		return
	}
	if r.pool != nil {
		r.pool.opened(errGone)
	}
	if r.parent != nil {
		r.parent.childGone(c)
	}
	if r.seat != nil {
		r.parent.signal(workerGone{c, why})
	}
}

// endTurn is the request behind the context of Stopping during a shutdown. It has the shutdown's
// deadline, and no caller.
type endTurn struct{ by time.Time }

func (endTurn) Start() bool                   { return true }
func (endTurn) WillNotRun() bool              { return false }
func (endTurn) Fail(*rpc.Error)               {}
func (t endTurn) Deadline() (time.Time, bool) { return t.by, true }
func (endTurn) OnCancel(func())               {}
func (endTurn) PutBack() bool                 { return false }
