package actor

import (
	"math/rand/v2"
	"time"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/supervise"
)

// Strategy says what becomes of an actor that has failed; see package supervise.
type Strategy = supervise.Strategy

// Supervise sets the strategy for actors of a kind that fail: whose handler panics or ends its
// goroutine, whose Started returns an error, or whose child escalates its failure. Without it,
// and with the zero Strategy, such an actor is restarted with fresh state, at most 10 times
// a minute, and then stops. An error that a handler returns is its answer, and no failure.
//
// The message that was being handled is not handled again, and its caller gets rpc.Panicked. The
// messages that wait stay in the mailbox while the actor is suspended. If the actor stops,
// they are handed back as not run.
//
// Supervise panics if the strategy is invalid.
func Supervise(s Strategy) KindOption {
	if err := s.Validate(); err != nil {
		panic("actor.Supervise: " + err.Error())
	}
	return func(k *Kind) { k.strategy = s }
}

// fail suspends the actor because of a failure. The run loop then does the steps of recover.
func (c *cell) fail(f supervise.Failure) {
	if !c.life.move(cellFailed) {
		return // it ends, or is suspended already
	}
	a := c.annexed()
	f.Actor = c.self.addr.String()
	a.has(f)
	a.step = deciding
}

// recover does the next step for an actor that is suspended. It returns false while the actor
// has to wait.
func (c *cell) recover(w *worker) bool {
	a := c.annexed()
	switch a.step {
	case deciding:
		c.decide(w)
	case awaiting:
		if c.hasChildren() {
			c.refuseWaiting()
			c.refuseInHand(w)
			return false
		}
		if !a.failures.backedOff {
			return false
		}
		a.step = givingUp
	case givingUp:
		a.step = making
		c.callRestarting(w, a.failures.latest.Err)
	case making:
		var state any
		c.guarded(w, "the function that makes the state", func() (err error) { state = c.kind.make(); return c.restore(state) }, func(err *rpc.Error) {
			if err == nil {
				c.begin(state)
				return
			}
			c.noteFailure("the state", err)
			c.self.sys.log.Error("the actor's state could not be recreated; it stops", "actor", c.self.addr.String(), "err", err)
			c.state, a.failures.latest.Err = nil, err
			c.end(err)
		})
	}
	return true
}

// decide asks the strategy what to do about the failure.
func (c *cell) decide(w *worker) {
	t, s := c.annexed().failures, &c.kind.strategy
	d := supervise.Restart
	if s.Decide == nil {
		c.carryOut(d)
		return
	}
	t.latest.Restarts = t.record.Restarts(s, time.Now())
	c.guarded(w, "the Decide of a Strategy", func() error { d = s.Decide(t.latest); return nil }, func(err *rpc.Error) {
		if err != nil {
			c.noteFailure("Decide", err)
			d = supervise.Stop
		}
		c.carryOut(d)
	})
}

// carryOut does what the strategy has decided.
func (c *cell) carryOut(d supervise.Directive) {
	t, s := c.annexed().failures, &c.kind.strategy
	is := t.record.Next(s, time.Now(), d, rand.Float64())
	if s.AllForOne && (is.Directive == supervise.Restart || is.Directive == supervise.Stop) {
		for _, sibling := range c.siblings() {
			sibling.signal(follow{is, t.latest})
		}
	}
	c.obey(is)
}

// obey does what was decided about an actor that is suspended.
func (c *cell) obey(is supervise.Decision) {
	a := c.annexed()
	switch is.Directive {
	case supervise.Resume:
		a.step = 0
		c.release()
		c.life.move(cellResumed)
	case supervise.Restart:
		a.step = awaiting
		c.stopChildren()
		a.failures.backedOff = is.Delay <= 0 || c.self.sys.draining()
		if !a.failures.backedOff {
			n := a.restarts.Load()
			a.failures.again = time.AfterFunc(is.Delay, func() { c.signal(backedOff{n}) })
		}
	default:
		what := "an actor has failed and stops"
		if is.Exhausted {
			what = "an actor has failed too often and stops"
		}
		p := c.parent()
		escalates := is.Directive == supervise.Escalate && p != nil
		if !escalates {
			c.self.sys.log.Error(what, "actor", a.failures.latest.Actor, "kind", c.kind.name, "restarts", a.restarts.Load(), "err", a.failures.latest.Err)
		}
		failure := a.failures.latest
		c.end(failure.Err)
		if escalates { // not before it ends, or the parent, which stops its children, might be first to say why
			p.signal(childFailed{failure})
		}
	}
}

// begin begins a new incarnation.
func (c *cell) begin(state any) {
	a, sys := c.annexed(), c.self.sys
	c.state = state
	c.dropWatches()
	c.dropTopics()
	if p := c.pool(); p != nil {
		p.clear()
	}
	c.dropTimers()
	c.release()
	c.startOver()
	a.mu.Lock()
	a.barren = false
	a.mu.Unlock()
	a.step, a.entered = 0, false
	a.restarts.Add(1)
	sys.waitLists.end(c)
	sys.event(Event{Type: ActorRestarted, Actor: c.self.addr.String(), Err: a.failures.latest.Err})
	c.life.move(cellRestarted)
}

// backedOff is the signal that the back-off before a restart is over. of says how many restarts there were before it.
type backedOff struct{ of uint64 }

func (s backedOff) arrive(c *cell) any {
	if a := c.annexed(); s.of == a.restarts.Load() {
		a.failures.backedOff = true
	}
	return nil
}

// hasten ends the back-off of a suspended actor, because a shutdown waits for it.
func (c *cell) hasten() {
	if c.life.now() == suspended {
		c.signal(backedOff{c.annexed().restarts.Load()})
	}
}

// childFailed is the signal that a child has escalated its failure.
type childFailed struct{ f supervise.Failure }

func (s childFailed) arrive(c *cell) any {
	c.fail(supervise.Failure{Err: s.f.Err, Child: s.f.Actor})
	return nil
}

// follow is the signal that a sibling whose strategy is AllForOne has failed.
type follow struct {
	is  supervise.Decision
	why supervise.Failure
}

func (s follow) arrive(c *cell) any {
	if !c.life.move(cellFailed) {
		return nil
	}
	c.annexed().has(s.why)
	if s.is.Directive == supervise.Stop {
		c.end(s.why.Err)
	} else {
		c.obey(s.is)
	}
	return nil
}
