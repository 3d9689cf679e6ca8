package rpc

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
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
// a service perhaps at another instance. (Copies of a request under its own number are
// another matter: they are always safe, and no policy governs them.)
//
// Whether a new attempt is safe follows from the verdict alone: after NotRun it is;
// after Unknown it is if the caller said Idempotent; after HasRun never. Whether it is
// worth while follows from the code: only what can pass by itself is tried again
// (Overloaded, Unavailable, Leaving, SessionLost, and after Unknown also OutcomeUnknown).
// To wait for a node that is away, or to turn to another one, loads nobody: it is bounded
// by the request's deadline alone, and of several instances another one is asked at once.
//
// The zero value is the default: 4 attempts that count, pauses with full jitter over a
// range that doubles from 50 ms to 2 s, never before the server's own RetryAfter, never
// beyond the request's deadline, and within a budget: each retry costs 1, each success
// earns 0.1, up to 100, so that retries cannot multiply the load of an outage.
type Retry struct {
	Attempts int           // in all, save those that did not reach a node that serves; 1 for no retries
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

// Next decides on a request of which made attempts have failed, cost of which count, the last
// with err, and which has left until its deadline. It returns whether to make another, and the
// pause before it. random is uniform in [0, 1). It is a pure function; the budget is
// not its affair.
func (r Retry) Next(made, cost int, err *Error, idempotent bool, left time.Duration, random float64) (pause time.Duration, again bool) {
	r = r.withDefaults()
	if r.Attempts == 1 || cost >= r.Attempts || !safe(err.Verdict, idempotent) || !worthWhile(err.Code) {
		return 0, false
	}
	if err.Code == Leaving && made <= 1 {
		return 0, left > 0
	}
	high := math.Min(float64(r.MinPause)*math.Pow(2, float64(made-1)), float64(r.MaxPause))
	pause = max(time.Duration(random*high), err.RetryAfter)
	return pause, pause < left
}

func safe(v Verdict, idempotent bool) bool {
	return v == NotRun || v == Unknown && idempotent
}

// costs reports whether an attempt that ended so counts against Attempts and the budget:
// not if it did not run because the node is away, or about to be.
func costs(err *Error) bool {
	return err.Verdict != NotRun || err.Code != Unavailable && err.Code != Leaving
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
