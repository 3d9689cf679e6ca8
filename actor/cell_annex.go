package actor

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/supervise"
)

// annex holds the parts of a cell that few actors have. It is made on first use.
type annex struct {
	role  *role  // nil: it is a plain actor, without a parent. It never changes once others can see the actor
	place *place // of an activation of a virtual actor; else nil. It does not change, either

	// Only the run loop uses these.
	pace     *pace     // of recording requests as begun; nil until it has recorded one
	failures *failures // nil: it has never failed
	hand     *hand     // what the run loop had in hand when it parked; nil: nothing
	step     step
	entered  bool // Started was called in this incarnation

	stashed          atomic.Int32         // the length of the stash
	failed, restarts atomic.Uint64        // messages whose handlers failed; how often it has got fresh state since it was spawned
	acts             atomic.Pointer[Kind] // the behaviour on top, or nil

	mu       sync.Mutex // guards what follows
	parked   bool       // it is suspended or ends, and no run loop has it: the next signal starts one
	barren   bool       // it may have no more children
	spawning int32      // how many children are being made
	ticking  int32      // how many timers have not ended
	children map[*cell]struct{}
	signals  []signal  // the lane, oldest first
	timers   *timer    // the first one that has not ended
	idle     *idleness // nil unless the kind has Idle
	why      error     // why it ends; nil: somebody wanted it to
	watching map[*target]*watch
	watchers map[*watch]struct{}
	hears    *hears   // nil: it has never subscribed
	conduct  *conduct // nil: it has had no behaviour, and has put nothing aside
}

// role is what an actor is besides a plain one. It never changes.
type role struct {
	services []string // the services that it is an instance of
	local    bool     // it is LocalOnly
	stream   *stream  // the stream, for the hidden actor of a stream
	parent   *cell    // nil for most actors
	pool     *pool    // of an actor that is a pool; else nil
	seat     *seat    // of a worker in its pool; nil for other actors
}

// hears is what an actor has subscribed to.
type hears struct {
	topics []*subscription
	feeds  []*feed
}

// conduct is how an actor has changed what it does with its messages.
type conduct struct {
	stack []*Kind // its behaviours, see Become; the last one is on top
	aside []item  // its stash, oldest first
	back  []item  // messages that Unstash has taken out of it, oldest first
}

// hearing returns what the actor has subscribed to, which it makes on first use. a.mu is held.
func (a *annex) hearing() *hears {
	if a.hears == nil {
		a.hears = new(hears)
	}
	return a.hears
}

// conducts returns the conduct of the actor, which it makes on first use. a.mu is held.
func (a *annex) conducts() *conduct {
	if a.conduct == nil {
		a.conduct = new(conduct)
	}
	return a.conduct
}

// failures is what there is to know of the failures of an actor.
type failures struct {
	record    supervise.Record
	latest    supervise.Failure
	again     *time.Timer // ends the back-off; nil: there was none
	backedOff bool        // the back-off is over
	held      []signal    // those that come with a message, and wait because the actor is suspended
}

// has notes a failure.
func (a *annex) has(f supervise.Failure) {
	if a.failures == nil {
		a.failures = new(failures)
	}
	a.failures.latest = f
}

// step is what the run loop does next for an actor that is suspended or ends.
type step uint8

const (
	deciding step = iota + 1 // asks the strategy
	awaiting                 // waits for the children to end, and for the back-off
	givingUp                 // calls Restarting
	making                   // makes fresh state
	closing                  // waits for the children to end
	lastCall                 // calls Stopping
	settling                 // waits for what a stored actor commits
	leaving                  // frees the name
)

// annexed returns the annex of c, which it makes on first use.
func (c *cell) annexed() *annex {
	if a := c.more.Load(); a != nil {
		return a
	}
	c.more.CompareAndSwap(nil, new(annex))
	return c.more.Load()
}

// role is what the actor is besides a plain one, or nil.
func (c *cell) role() *role {
	if a := c.more.Load(); a != nil {
		return a.role
	}
	return nil
}

// services are the services that the actor is an instance of.
func (c *cell) services() []string {
	if r := c.role(); r != nil {
		return r.services
	}
	return nil
}

// stream is the stream whose hidden actor c is, or nil.
func (c *cell) stream() *stream {
	if r := c.role(); r != nil {
		return r.stream
	}
	return nil
}

// localOnly reports whether other nodes may not send to the actor.
func (c *cell) localOnly() bool {
	r := c.role()
	return r != nil && r.local
}

// parent is the parent of the actor, or nil.
func (c *cell) parent() *cell {
	if r := c.role(); r != nil {
		return r.parent
	}
	return nil
}

// pool is what the actor has as a pool, or nil.
func (c *cell) pool() *pool {
	if r := c.role(); r != nil {
		return r.pool
	}
	return nil
}

// seat is what the actor has as a worker of a pool, or nil.
func (c *cell) seat() *seat {
	if r := c.role(); r != nil {
		return r.seat
	}
	return nil
}
