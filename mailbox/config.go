package mailbox

import (
	"errors"
	"fmt"
	"math"
)

// DefaultCapacity is how many messages wait in a box whose Config names no number.
const DefaultCapacity = 1024

// DefaultParked is how many messages a box parks whose Config names no number.
const DefaultParked = 16384

// Policy says what becomes of a put into a full box.
type Policy uint8

// The policies.
const (
	Block      Policy = iota // the putter waits in line for room until its ctx ends: the default
	Refuse                   // ErrFull
	DropNewest               // the message itself is dropped, and handed back
	DropOldest               // the message that has waited longest is dropped, and handed back
)

// String returns the policy's name.
func (p Policy) String() string {
	switch p {
	case Block:
		return "block"
	case Refuse:
		return "refuse"
	case DropNewest:
		return "drop-newest"
	case DropOldest:
		return "drop-oldest"
	}
	return fmt.Sprintf("policy(%d)", uint8(p))
}

// Config is what the boxes of one kind of actor have in common. Its zero value
// is a box of DefaultCapacity that blocks.
type Config struct {
	Capacity  int    // how many may wait, a batch already taken not counted; 0 means DefaultCapacity
	Policy    Policy // what happens when that many wait
	Unbounded bool   // no limit at all; goes with neither Capacity nor Policy
	Parked    int    // how many Park may leave in line beyond Capacity, under Block; 0 means DefaultParked
}

// Validate returns everything that is wrong with c, joined, or nil.
func (c Config) Validate() error {
	var errs []error
	if c.Capacity < 0 {
		errs = append(errs, fmt.Errorf("mailbox: negative Capacity %d", c.Capacity))
	}
	if c.Parked < 0 {
		errs = append(errs, fmt.Errorf("mailbox: negative Parked %d", c.Parked))
	}
	if c.Policy > DropOldest {
		errs = append(errs, fmt.Errorf("mailbox: unknown Policy %d", uint8(c.Policy)))
	}
	if c.Unbounded && (c.Capacity != 0 || c.Policy != Block) {
		errs = append(errs, errors.New("mailbox: Unbounded together with Capacity or Policy: an unbounded box is never full"))
	}
	return errors.Join(errs...)
}

// defaults is the Config of boxes that were given none. Nothing writes to it.
var defaults Config

// capacity is how many may wait. More than 2³¹ would not fit into any memory.
func (c *Config) capacity() int32 {
	switch {
	case c.Unbounded:
		return math.MaxInt32
	case c.Capacity == 0:
		return DefaultCapacity
	}
	return int32(min(c.Capacity, math.MaxInt32))
}

func (c *Config) parked() int {
	if c.Parked == 0 {
		return DefaultParked
	}
	return min(c.Parked, math.MaxInt32)
}
