package actor

import (
	"reflect"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/supervise"
)

// The lane is how an actor learns of what must not wait behind its messages: that an actor that
// it watches has ended, that a child has failed, that a back-off is over. Signals overtake all
// messages, also those of the batch in hand. They are few, so the lane has no bound of its own:
// each watch, child and timer has at most one signal in it.

// signal is something in the lane.
type signal interface {
	// arrive is called in the run loop, unless the actor ends. A message that it returns is
	// handled at once. nil: there is none. A signal that brings a message is held until the actor is
	// not suspended any more.
	arrive(c *cell) (msg any)
}

// signal puts s into the actor's lane. It never waits. It returns false if the actor is gone.
func (c *cell) signal(s signal) bool {
	a := c.annexed()
	a.mu.Lock()
	if c.life.now() == gone {
		a.mu.Unlock()
		return false
	}
	a.signals = append(a.signals, s)
	c.life.word.Or(signaled)
	parked := a.parked
	a.parked = false
	a.mu.Unlock()
	switch {
	case parked:
		c.self.sys.workers.run(c)
	case c.box.Wake():
		c.run()
	}
	return true
}

// signals returns how many signals wait.
func (c *cell) signals() int {
	a := c.more.Load()
	if a == nil || c.life.word.Load()&signaled == 0 {
		return 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.signals)
}

// bringsMessage reports whether the arrival of s is a message to the actor.
func bringsMessage(s signal) bool {
	switch s.(type) {
	case terminated, *timer:
		return true
	}
	return false
}

// release puts the signals that were held back into the lane, before the others. Those of an
// incarnation that has ended come to nothing.
func (c *cell) release() {
	a := c.annexed()
	a.mu.Lock()
	defer a.mu.Unlock()
	if held := a.failures.held; len(held) > 0 {
		a.signals, a.failures.held = append(held, a.signals...), nil
		c.life.word.Or(signaled)
	}
}

// heed takes one signal and does what it says. It returns false if there is none.
func (c *cell) heed(w *worker) bool {
	if c.life.word.Load()&signaled == 0 {
		return false
	}
	a := c.more.Load()
	a.mu.Lock()
	if len(a.signals) == 0 {
		a.mu.Unlock()
		return false
	}
	s := a.signals[0]
	a.signals[0] = nil
	if a.signals = a.signals[1:]; len(a.signals) == 0 {
		a.signals = nil
		c.life.word.And(^signaled)
	}
	if c.life.now() == suspended && bringsMessage(s) {
		a.failures.held = append(a.failures.held, s)
		a.mu.Unlock()
		return true
	}
	a.mu.Unlock()
	if msg := s.arrive(c); msg != nil && c.life.now() == working {
		c.deliver(w, msg)
	}
	return true
}

// deliver has a handler handle a message from the lane.
func (c *cell) deliver(w *worker, msg any) {
	sys := c.self.sys
	ctx := &Context{cell: c, msg: msg}
	var own *transaction
	if c.kind.keeps != nil {
		own = &transaction{cell: c, stage: turnEnded}
		ctx.req, ctx.asks = own, true
	}
	ctx.life.answer() // it cannot be put aside, because the next incarnation must not get it
	typ := reflect.TypeOf(msg)
	told := toldBySystem(typ)
	if c.kind.incoming != nil && !told {
		ctx.meta = ticked
	}
	c.guarded(w, "the handler of "+typ.String(), func() error {
		h := c.current().handlers[typ]
		w.doing.Store(h)
		switch {
		case h != nil && h.run != nil:
			h.run(c.state, ctx, msg, &w.reusable)
		case c.kind.receiver && told:
			ctx.finish(msg, c.state.(Receiver).Receive(ctx))
		case c.kind.receiver:
			ctx.finish(msg, c.receive(ctx))
		default:
			sys.handBack(c.self.addr, item{msg: msg}, rpc.Errorf(rpc.Unhandled, rpc.NotRun, "%s has no handler for %v now", c.kind.name, typ))
		}
		return nil
	}, func(err *rpc.Error) {
		ctx.end()
		if own != nil {
			if err != nil {
				own.fails(err)
			}
			c.conclude(own)
		}
		sys.stats.handled.Add(1)
		c.handled.Add(1)
		if err != nil {
			c.noteFailure(typ.String(), err)
			c.fail(supervise.Failure{Err: err, Message: typ.String()})
		}
	})
}

// guarded calls a function of the application in the run loop, and then done with its error, or
// with why it did not return. If it has ended its goroutine (runtime.Goexit), the run loop goes
// on in another one after done, and guarded does not return. So what follows has to be in done,
// or has to follow from the actor's state.
func (c *cell) guarded(w *worker, what string, call func() error, done func(*rpc.Error)) {
	returned := false
	w.last = lookup{}
	w.doing.Store(nil)
	var result *rpc.Error
	defer func() {
		if returned {
			done(result)
			return
		}
		reason := recover()
		exits := reason == nil
		if exits {
			reason = "it called runtime.Goexit"
		}
		c.self.sys.stats.panics.Add(1)
		done(panicked(what, reason))
		if exits {
			go c.workOn(w)
		}
	}()
	if err := call(); err != nil {
		result = failure(err)
	}
	returned = true
}

// attention is what attend has come to.
type attention uint8

const (
	goesOn attention = iota // the run loop handles the next message
	parks                   // it ends, and a signal starts another one
	over                    // it ends, and the actor is gone
)

// attend does what has precedence over the messages in the mailbox: signals, hooks, a restart,
// the end. At most as many signals are handled at a time as there are at the beginning, so that
// messages have their turn.
func (c *cell) attend(w *worker) attention {
	for n := c.signals(); ; {
		switch c.life.now() {
		case claiming:
			if !c.heed(w) && c.park(w) {
				return parks
			}
		case starting:
			c.start(w)
		case working:
			c.turn(w)
			if n--; n >= 0 && c.heed(w) || c.kind.pool && c.tend(w) {
				continue
			}
			if !c.life.sealed() || !c.isEmpty(w) {
				return goesOn
			}
			if c.kind.pool && !c.dismissed() {
				if c.park(w) {
					return parks
				}
				n = c.signals()
				continue
			}
			c.life.move(cellStopped)
		case suspended:
			if !c.heed(w) && !c.recover(w) && c.park(w) {
				return parks
			}
		case ending:
			c.handBackStash()
			if c.kind.placed { // before anything is given back: who gets something back may send more at once, which must not wait here
				c.box.Seal()
			}
			if w.taken != nil {
				c.handBackRest(w)
				return goesOn
			}
			if c.kind.placed {
				c.giveBackAll()
			}
			if !c.finish(w) && c.park(w) {
				return parks
			}
		case gone:
			return over
		}
	}
}

// isEmpty reports whether nothing waits in the mailbox, which is closed to new messages, or in
// the run loop's hand.
func (c *cell) isEmpty(w *worker) bool {
	c.box.Seal()
	return w.taken == nil && c.box.Len() == 0
}

// handBackRest hands the messages of the batch in hand back that were not handled.
func (c *cell) handBackRest(w *worker) {
	if c.kind.pool {
		c.handBackHead(w)
	}
	for ; w.done < len(w.batch); w.done++ {
		if in, remote := w.batch[w.done].msg.(*server.Inbound); remote {
			w.more += max(in.Left()-1, 0)
		}
		c.giveBack(w.batch[w.done])
		w.batch[w.done] = item{}
	}
}

// park keeps what the run loop has in hand, so that the run loop can end although the actor is
// suspended or ends, or is a pool whose workers have no room. It returns false if there is something to do.
func (c *cell) park(w *worker) bool {
	a := c.annexed()
	a.mu.Lock()
	defer a.mu.Unlock()
	children := a.hasChildren()
	switch c.life.now() {
	case working: // a pool
		if len(a.signals) > 0 || !children {
			return false
		}
	case claiming:
		if len(a.signals) > 0 {
			return false
		}
	case suspended:
		if len(a.signals) > 0 || a.step != awaiting || a.failures.backedOff && !children {
			return false
		}
	case ending:
		waits := a.step == closing && children || a.step == settling && len(a.signals) == 0
		if !waits {
			return false
		}
	}
	if w.taken != nil {
		kept := w.hand
		a.hand, w.hand = &kept, hand{}
	}
	w.plain = nil
	a.parked = true
	return true
}

// unpark starts a run loop if the actor is parked, because its state has changed.
func (c *cell) unpark() {
	a := c.more.Load()
	if a == nil {
		return
	}
	a.mu.Lock()
	parked := a.parked
	a.parked = false
	a.mu.Unlock()
	if parked {
		c.self.sys.workers.run(c)
	}
}

// pickUp takes what the last run loop had in hand when it parked.
func (w *worker) pickUp(c *cell) {
	if w.runs.Load() != c {
		w.runs.Store(c)
	}
	if a := c.more.Load(); a != nil && a.hand != nil {
		w.hand, a.hand = *a.hand, nil
	}
}
