package rpc

import (
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// Defaults of Retry.
const (
	DefaultAttempts = 4
	DefaultMinPause = 50 * time.Millisecond
	DefaultMaxPause = 2 * time.Second
	DefaultBurst    = 100.0
	DefaultEarn     = 0.1
)

// Retry says when a request that did not run is made anew: with a new number, and for
// a service at another instance. (Copies of a request under its own number are another
// matter: they are always safe, and no policy governs them.)
//
// Whether a new attempt is safe follows from the verdict alone: after NotRun it is;
// after Unknown it is if the caller said Idempotent; after HasRun never. Whether it is
// worth while at the same place follows from the code: only what can pass by itself is
// tried again (Overloaded, Unavailable, Leaving, SessionLost, and after Unknown also
// OutcomeUnknown; of a service also NotFound).
//
// A request to a service goes to an instance that it was not at, at once, whatever the
// code, save those that say the same everywhere: Invalid, TooLarge, IDReused, Stale,
// Expired, Canceled. (Unhandled and Undecodable do not: instances may be of different
// versions. Nor does Denied: one of them may be set up wrongly.)
//
// To wait for a node that is away, or to turn to another one, loads nobody: it is bounded
// by the request's deadline alone. An attempt that a live node has refused because it has
// too much to do, or because it is of another cluster or wire version, and one that may have
// run, counts: there are Attempts of those at most, and
// within a budget: each costs 1, each success earns 0.1, up to 100, so that retries cannot
// multiply the load of an outage.
//
// The zero value is the default: 4 attempts, pauses with full jitter over a range that
// doubles from 50 ms to 2 s, never before the server's own RetryAfter.
type Retry struct {
	Attempts int           // that a live node refuses, or that may have run; 1: nothing is ever made anew
	MinPause time.Duration // upper end of the first pause's range
	MaxPause time.Duration // upper end of the longest pause's range
	Burst    float64       // retries that the budget holds at most, and at the start
	Earn     float64       // what a success adds to it
}

func (r Retry) withDefaults() Retry {
	set(&r.Attempts, DefaultAttempts)
	set(&r.MinPause, DefaultMinPause)
	set(&r.MaxPause, DefaultMaxPause)
	set(&r.Burst, DefaultBurst)
	set(&r.Earn, DefaultEarn)
	return r
}

// Failure is what Retry decides on: attempts at one request, all of which have failed.
type Failure struct {
	Made       int // attempts
	Cost       int // of them, those that count: see Costs
	Err        *Error
	Idempotent bool          // the request may run twice
	Service    bool          // it is to a service
	Untried    bool          // of which there is an instance that it was not at
	Left       time.Duration // until its deadline
}

// Costs reports whether the last attempt counts against Retry.Attempts and the budget: not
// if it did not run because the node is away, or about to be.
func (f Failure) Costs() bool {
	return f.Err.Verdict != NotRun || f.Err.Code == Overloaded || f.Err.Code == SessionLost ||
		errors.Is(f.Err, transport.ErrVersion) || errors.Is(f.Err, transport.ErrCluster)
}

// Next returns whether to make another attempt, and the pause before it. random is uniform
// in [0, 1). It is a pure function; the budget is not its affair.
func (r Retry) Next(f Failure, random float64) (pause time.Duration, again bool) {
	r = r.withDefaults()
	switch {
	case r.Attempts == 1 || f.Cost >= r.Attempts || !safe(f.Err.Verdict, f.Idempotent):
		return 0, false
	case f.Untried && !everywhere(f.Err.Code):
		return 0, f.Left > 0
	case !worthWhile(f.Err.Code) && !(f.Service && f.Err.Code == NotFound):
		return 0, false
	}
	high := math.Min(float64(r.MinPause)*math.Pow(2, float64(f.Made-1)), float64(r.MaxPause))
	pause = max(time.Duration(random*high), f.Err.RetryAfter)
	return pause, pause < f.Left
}

func safe(v Verdict, idempotent bool) bool {
	return v == NotRun || v == Unknown && idempotent
}

// everywhere reports whether all instances would say the same.
func everywhere(c Code) bool {
	switch c {
	case Invalid, TooLarge, IDReused, Stale, Expired, Canceled:
		return true
	}
	return false
}

func worthWhile(c Code) bool {
	switch c {
	case Overloaded, Unavailable, Leaving, SessionLost, OutcomeUnknown:
		return true
	}
	return false
}

// Budget is a bucket of tokens that retries take from and successes fill. It may be
// used concurrently.
type Budget struct {
	retry Retry
	short atomic.Bool // spent is not 0: spares successes the lock

	mu    sync.Mutex // guards what follows
	spent float64
}

// NewBudget returns a full bucket.
func NewBudget(r Retry) *Budget { return &Budget{retry: r.withDefaults()} }

// Earn takes note of a success.
func (b *Budget) Earn() {
	if !b.short.Load() {
		return
	}
	b.mu.Lock()
	b.spent = max(0, b.spent-b.retry.Earn)
	b.short.Store(b.spent > 0)
	b.mu.Unlock()
}

// Spend takes what one retry costs, or reports that too little is left.
func (b *Budget) Spend() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.spent+1 > b.retry.Burst {
		return false
	}
	b.spent++
	b.short.Store(true)
	return true
}
