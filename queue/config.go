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

// MaxLease is the longest that a lease can be made by one Extend.
const MaxLease = 24 * time.Hour

// Policy says what becomes of an item for which there is no room.
type Policy uint8

// The policies.
const (
	Refuse     Policy = iota // it is refused: the default
	DropOldest               // the one that has been there longest is dropped for it
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
	Capacity int // items held: ready, delayed or under a lease; default 16,384

	// Policy is what a push into the full queue does. DropOldest drops of what is ready
	// and of the lowest priority what is ready longest; if all that is ready has a higher
	// priority than the push, or nothing is, the push is refused.
	Policy Policy

	Lease    time.Duration // of a delivery, unless it is extended; default 30 s
	Attempts int           // deliveries of an item before it becomes a dead letter; default 5

	Dead int // dead letters kept; default 1,024

	// DeadPolicy is what happens when there are that many. Refuse: an item goes on being
	// delivered, from the end of its priority, so that nothing is lost. DropOldest: the
	// oldest dead letter goes.
	DeadPolicy Policy

	// An id is known while its item is held or a dead letter, and then for Remember
	// (default 2 min), or until Remembered other ids have ended (default 65,536).
	Remember   time.Duration
	Remembered int

	Waiters int // consumers in line for items; default 4,096
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
