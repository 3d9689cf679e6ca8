package rpc

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Retry says when a request that did not run is retried: it gets a new number, and a
// request to a service goes to another instance. (Copies of a request under its own number
// are another matter: they are always safe, and no policy applies to them.)
//
// Whether a new attempt is safe follows from the verdict alone. After NotRun it is safe;
// after Unknown it is safe if the caller said Idempotent; after HasRun it never is. Whether
// it is worth while at the same place follows from the code: only what can pass by itself
// is tried again. That is Overloaded, Unavailable, Leaving and SessionLost, after Unknown
// OutcomeUnknown too, and for a service NotFound.
//
// A request to a service goes at once to an instance where it has not been yet, whatever
// the code is, except the codes that every instance would return: Invalid, TooLarge,
// IDReused, Stale, Expired and Canceled. (Unhandled and Undecodable are not among them,
// because instances may be of different versions; neither is Denied, because one instance
// may be set up wrongly.)
//
// To wait for a node that is away, or to turn to another one, costs nobody anything: only
// the deadline of the request bounds it. An attempt counts if a live node has refused it
// because it has too much to do, or because it is of another cluster or wire version; and
// so does an attempt that may have run. There are at most Attempts of those. All of a
// system's retries share a budget, so that they cannot multiply the load of an outage: a
// retry that counts costs 1, and a success earns Earn, up to Burst.
//
// A Retry is a plain value. The zero value of each field is the default that its comment
// gives.
type Retry struct {
	Attempts int           // how many count, at most; 1: nothing is retried; default 4
	MinPause time.Duration // the first pause is random, between 0 and this; default 50 ms
	MaxPause time.Duration // the range of the pauses doubles up to this; default 2 s; a pause is never shorter than the server's RetryAfter
	Burst    float64       // retries that the budget holds at most, and at the start; default 100
	Earn     float64       // what a success adds to the budget; default 0.1
}

// Validate returns what is wrong with r, joined: a number that is negative, or no number.
func (r Retry) Validate() error {
	var errs []error
	for _, f := range []struct {
		field string
		is    float64
	}{{"Attempts", float64(r.Attempts)}, {"MinPause", float64(r.MinPause)}, {"MaxPause", float64(r.MaxPause)}, {"Burst", r.Burst}, {"Earn", r.Earn}} {
		if !(f.is >= 0) || math.IsInf(f.is, 0) {
			errs = append(errs, fmt.Errorf("rpc: Retry.%s is %v", f.field, f.is))
		}
	}
	return errors.Join(errs...)
}

// WithDefaults returns r with the defaults in place of zero values.
func (r Retry) WithDefaults() Retry {
	set(&r.Attempts, 4)
	set(&r.MinPause, 50*time.Millisecond)
	set(&r.MaxPause, 2*time.Second)
	set(&r.Burst, 100)
	set(&r.Earn, 0.1)
	return r
}
