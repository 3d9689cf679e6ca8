// Package retry decides whether a failed request is retried, and when. Next is the decision for
// one request, and a Budget limits the retries of all requests of a node together. Users set
// rpc.Retry.
package retry

import (
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// Failure describes a request to Next. All attempts made so far have failed.
type Failure struct {
	Made       int           // attempts made
	Cost       int           // how many of them count against Retry.Attempts: see Costs
	Err        *rpc.Error    // the error of the last attempt
	Idempotent bool          // the request may run twice
	Named      bool          // its receiver knows it again, at whatever node: an attempt that may have run is like one that has not
	Service    bool          // it goes to a service
	Untried    bool          // an instance of the service is left that has had no attempt
	Left       time.Duration // time until the deadline
}

// Costs reports whether the last attempt counts against Retry.Attempts and the budget. It does not
// if it did not run because the node is away or is leaving, or if its receiver will know whether it ran.
func (f Failure) Costs() bool {
	if f.Named && f.Err.Verdict == rpc.Unknown {
		return false
	}
	return f.Err.Verdict != rpc.NotRun || f.Err.Code == rpc.Overloaded || f.Err.Code == rpc.SessionLost ||
		errors.Is(f.Err, transport.ErrVersion) || errors.Is(f.Err, transport.ErrCluster)
}

// Next returns whether r allows another attempt, and the pause before it. random is uniform in
// [0, 1). It has no side effects and does not ask the budget.
func Next(r rpc.Retry, f Failure, random float64) (pause time.Duration, again bool) {
	r = r.WithDefaults()
	switch {
	case r.Attempts == 1 || f.Cost >= r.Attempts || !safe(f.Err.Verdict, f.Idempotent):
		return 0, false
	case f.Untried && !everywhere(f.Err.Code):
		return 0, f.Left > 0
	case !worthWhile(f.Err.Code) && !(f.Service && f.Err.Code == rpc.NotFound):
		return 0, false
	}
	high := math.Min(float64(r.MinPause)*math.Pow(2, float64(f.Made-1)), float64(r.MaxPause))
	pause = max(time.Duration(random*high), f.Err.RetryAfter)
	return pause, pause < f.Left
}

// safe reports whether another attempt does no harm: the request did not run, or nobody knows
// whether it ran and it may run twice.
func safe(v rpc.Verdict, idempotent bool) bool {
	return v == rpc.NotRun || v == rpc.Unknown && idempotent
}

// everywhere reports whether every other instance would answer with the same code.
func everywhere(c rpc.Code) bool {
	switch c {
	case rpc.Invalid, rpc.TooLarge, rpc.IDReused, rpc.Stale, rpc.Expired, rpc.Canceled:
		return true
	}
	return false
}

// worthWhile reports whether the same node may answer otherwise after a pause.
func worthWhile(c rpc.Code) bool {
	switch c {
	case rpc.Overloaded, rpc.Unavailable, rpc.Leaving, rpc.Moved, rpc.SessionLost, rpc.OutcomeUnknown:
		return true
	}
	return false
}

// Budget is a token bucket: retries take tokens, and successes add some. Its methods may be called
// concurrently.
type Budget struct {
	short atomic.Bool // spent is not 0; while it is 0, successes need not take the lock

	mu    sync.Mutex // guards what follows
	retry rpc.Retry
	spent float64 // tokens missing from the full bucket
}

// NewBudget returns a full bucket.
func NewBudget(r rpc.Retry) *Budget { return &Budget{retry: r.WithDefaults()} }

// Set changes what the bucket holds and what a success adds. The tokens that are missing stay missing, but
// never more than the bucket holds.
func (b *Budget) Set(r rpc.Retry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.retry = r.WithDefaults()
	b.spent = min(b.spent, b.retry.Burst)
}

// Earn adds the tokens for one success.
func (b *Budget) Earn() {
	if !b.short.Load() {
		return
	}
	b.mu.Lock()
	b.spent = max(0, b.spent-b.retry.Earn)
	b.short.Store(b.spent > 0)
	b.mu.Unlock()
}

// Spend takes the token for one retry. It returns false if less than one is left.
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
