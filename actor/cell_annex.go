package actor

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/supervise"
)

// annex holds the parts of a cell that few actors have. It is made on first use.
type annex struct {
	// These never change once others can see the actor.
	services []string // the services that it is an instance of
	local    bool     // it is LocalOnly
	place    *place   // of an activation of a virtual actor; else nil
	stream   *stream  // the stream, for the hidden actor of a stream
	parent   *cell    // nil for most actors
	pool     *pool    // of an actor that is a pool; else nil
	seat     *seat    // of a worker in its pool; nil for other actors

	// Only the run loop uses these.
	pace     *pace     // of recording requests as begun; nil until it has recorded one
	failures *failures // nil: it has never failed
	hand     *hand     // what the run loop had in hand when it parked; nil: nothing
	step     step
	entered  bool // Started was called in this incarnation

	incarnation      atomic.Uint64 // how often it has got fresh state since it was spawned
	failed, restarts atomic.Uint64 // messages whose handlers failed, and restarts

	mu       sync.Mutex // guards what follows
	parked   bool       // it is suspended or ends, and no run loop has it: the next signal starts one
	signals  []signal   // the lane, oldest first
	held     []signal   // signals that come with a message, and wait because the actor is suspended
	timers   *timer     // the first one that has not ended
	ticking  int        // how many have not
	idle     *idleness  // nil unless the kind has Idle
	why      error      // why it ends; nil: somebody wanted it to
	children map[*cell]struct{}
	spawning int  // how many children are being made
	barren   bool // it may have no more children
	watching map[*target]*watch
	watchers map[*watch]struct{}
	topics   []*subscription
	feeds    []*feed
	stack    []*Kind // its behaviours, see Become; the last one is on top
	aside    []item  // its stash, oldest first
	back     []item  // messages that Unstash has taken out of it, oldest first

	acts    atomic.Pointer[Kind] // the last one of stack, or nil
	stashed atomic.Int32         // the length of aside
}

// failures is what there is to know of the failures of an actor.
type failures struct {
	record    supervise.Record
	latest    supervise.Failure
	again     *time.Timer // ends the back-off; nil: there was none
	backedOff bool        // the back-off is over
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

// services are the services that the actor is an instance of.
func (c *cell) services() []string {
	if a := c.more.Load(); a != nil {
		return a.services
	}
	return nil
}

// stream is the stream whose hidden actor c is, or nil.
func (c *cell) stream() *stream {
	if a := c.more.Load(); a != nil {
		return a.stream
	}
	return nil
}

// localOnly reports whether other nodes may not send to the actor.
func (c *cell) localOnly() bool {
	a := c.more.Load()
	return a != nil && a.local
}

// parent is the parent of the actor, or nil.
func (c *cell) parent() *cell {
	if a := c.more.Load(); a != nil {
		return a.parent
	}
	return nil
}

// pool is what the actor has as a pool, or nil.
func (c *cell) pool() *pool {
	if a := c.more.Load(); a != nil {
		return a.pool
	}
	return nil
}

// seat is what the actor has as a worker of a pool, or nil.
func (c *cell) seat() *seat {
	if a := c.more.Load(); a != nil {
		return a.seat
	}
	return nil
}
