package actor

import (
	"reflect"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// ErrIdle is why an actor has ended that got nothing for a while, see Idle.
var ErrIdle error = rpc.NewError("actor.idle", "the actor got no message for a while")

// WentIdle is the message that an actor gets when it has got no other one for a while, see Idle. It
// cannot be sent to another node.
type WentIdle struct{}

// Idle has actors of a kind stopped that get no message for d; the latest moment is at 2 d. Stopping
// and those who watch such an actor get ErrIdle. The messages of its timers count, too. An actor whose
// handler runs, that is suspended after a failure, or that has put messages aside (Context.Stash), is
// not idle; nor is a virtual actor that has put an answer off (Defer). One with children is stopped with them.
//
// No message is lost by that: one that is accepted keeps the actor. One that comes later finds an actor
// that has stopped: a request fails as not run (rpc.NotFound), a one-way message is a dead letter; with
// System.GetOrSpawn its sender starts the actor anew.
//
// If the kind has a handler for WentIdle, its actors get that message instead, once until another one
// comes, also if they have put messages aside.
//
// Idle panics if d is not above zero.
func Idle(d time.Duration) KindOption {
	if d <= 0 {
		panic("actor.Idle: " + d.String() + " is not above zero")
	}
	return func(k *Kind) { k.idle = d }
}

// idleness is for an actor whose kind has Idle. The mu of the annex guards it. The messages are not
// timed: when the clock has run down, their number tells whether any was handled meanwhile.
type idleness struct {
	clock *time.Timer
	seen  uint64 // how many messages had been handled when the clock ran down last
	told  uint64 // how many had been handled after the latest WentIdle; 0: it has got none
}

// minds begins to look whether c is idle.
func (c *cell) minds() {
	a := c.annexed()
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.life.now() < gone {
		a.idle = &idleness{clock: time.AfterFunc(c.kind.idle, c.quiet)}
	}
}

// quiet is called when the clock has run down.
func (c *cell) quiet() {
	a := c.annexed()
	a.mu.Lock()
	if c.life.now() >= ending {
		a.mu.Unlock()
		return
	}
	i, n := a.idle, c.handled.Load()
	idle := n == i.seen && (n == 0 || n != i.told)
	i.seen = n
	i.clock.Reset(c.kind.idle)
	a.mu.Unlock()
	switch {
	case !idle:
	case c.kind.tellsIdle():
		if c.box.Wake() {
			c.signal(wentIdle{})
			c.run()
		}
	default:
		c.endIfIdle(ErrIdle)
	}
}

// holdsNothing reports whether no message is put aside, and, of a virtual actor, no answer is put off, and nothing
// waits for a write or to be sent.
func (c *cell) holdsNothing() bool {
	p := c.place()
	return c.annexed().stashed.Load() == 0 && (p == nil || p.deferred.Load() == 0 && (p.store == nil || !p.store.restless.Load()))
}

func (k *Kind) tellsIdle() bool { return k.handlers[reflect.TypeFor[WentIdle]()] != nil }

// wentIdle is the signal that the actor is idle. It finds a run loop that has begun with it.
type wentIdle struct{}

func (wentIdle) arrive(c *cell) any {
	if c.box.Len() > 0 {
		return nil
	}
	a := c.annexed()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.idle.seen = c.handled.Load() + 1 // with this one
	a.idle.told = a.idle.seen
	return WentIdle{}
}

// stopIdle stops the clock. a.mu is held.
func (a *annex) stopIdle() {
	if a.idle != nil {
		a.idle.clock.Stop()
	}
}
