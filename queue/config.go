package queue

import (
	"errors"
	"fmt"
	"time"
)

// Defaults of Config.
const (
	DefaultCapacity   = 16384
	DefaultLease      = 30 * time.Second
	DefaultAttempts   = 5
	DefaultDead       = 1024
	DefaultRemember   = 2 * time.Minute
	DefaultRemembered = 65536
	DefaultWaiters    = 4096
)

// MaxLease is the longest lease, and the longest one that Extend can give.
const MaxLease = 24 * time.Hour

// Policy says what happens to an item for which there is no room.
type Policy uint8

// The policies.
const (
	Refuse     Policy = iota // it is refused; this is the default
	DropOldest               // the oldest item is dropped to make room for it
)

// String returns the policy's name.
func (p Policy) String() string {
	switch p {
	case Refuse:
		return "refuse"
	case DropOldest:
		return "drop-oldest"
	}
	return fmt.Sprintf("policy(%d)", uint8(p))
}

// Config describes a queue. Its zero value is the documented default.
type Config struct {
	Capacity int // most items, whether ready, delayed or under a lease; default 16,384

	// Policy says what a push into the full queue does. DropOldest drops an item that is
	// ready: of those with the lowest priority, the first in order. If no item is ready,
	// or all have a higher priority than the pushed one, the push is refused.
	Policy Policy

	Lease    time.Duration // of a delivery, unless it is extended; default 30 s
	Attempts int           // deliveries of an item before it becomes a dead letter; default 5

	Dead int // most dead letters; default 1,024

	// DeadPolicy says what happens to an item when there are that many. Refuse: it is
	// delivered further times, as the last one of its priority, so that nothing is lost.
	// DropOldest: it replaces the oldest dead letter.
	DeadPolicy Policy

	// An id is known while its item is in the queue or a dead letter. After that it is
	// known for Remember (default 2 min), or until the items of Remembered other ids are
	// done (default 65,536).
	Remember   time.Duration
	Remembered int

	Waiters int // most consumers that wait for items; default 4,096
}

// Validate returns everything that is wrong with c, joined, or nil.
func (c Config) Validate() error {
	var errs []error
	for _, f := range []struct {
		name string
		v    int64
	}{{"Capacity", int64(c.Capacity)}, {"Lease", int64(c.Lease)}, {"Attempts", int64(c.Attempts)}, {"Dead", int64(c.Dead)},
		{"Remember", int64(c.Remember)}, {"Remembered", int64(c.Remembered)}, {"Waiters", int64(c.Waiters)}} {
		if f.v < 0 {
			errs = append(errs, fmt.Errorf("queue: negative %s %d", f.name, f.v))
		}
	}
	if c.Policy > DropOldest {
		errs = append(errs, fmt.Errorf("queue: unknown Policy %d", uint8(c.Policy)))
	}
	if c.DeadPolicy > DropOldest {
		errs = append(errs, fmt.Errorf("queue: unknown DeadPolicy %d", uint8(c.DeadPolicy)))
	}
	if c.Lease > MaxLease {
		errs = append(errs, fmt.Errorf("queue: Lease %v, at most %v", c.Lease, MaxLease))
	}
	return errors.Join(errs...)
}

// WithDefaults returns c with its zero values replaced.
func (c Config) WithDefaults() Config {
	set(&c.Capacity, DefaultCapacity)
	set(&c.Lease, DefaultLease)
	set(&c.Attempts, DefaultAttempts)
	set(&c.Dead, DefaultDead)
	set(&c.Remember, DefaultRemember)
	set(&c.Remembered, DefaultRemembered)
	set(&c.Waiters, DefaultWaiters)
	return c
}

func set[V comparable](v *V, to V) {
	if *v == *new(V) {
		*v = to
	}
}
