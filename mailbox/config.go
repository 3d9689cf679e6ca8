package mailbox

import (
	"errors"
	"fmt"
	"math"
)

// DefaultCapacity is the capacity of a box whose Config says none.
const DefaultCapacity = 1024

// DefaultBacklog is the largest backlog of a box whose Config says none.
const DefaultBacklog = 16384

// DefaultOvertake is Config.Overtake of a box whose Config says none.
const DefaultOvertake = 16

// Policy says what a put into a full box does.
type Policy uint8

// The policies.
const (
	Block      Policy = iota // the put waits for room until its ctx ends: the default
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

// Config describes the boxes of one kind of actor. Its zero value is a box of
// DefaultCapacity that blocks.
type Config struct {
	Capacity  int    // messages that may wait, without those that the consumer has taken; 0 means DefaultCapacity
	Policy    Policy // what a put does when that many wait
	Unbounded bool   // no bound; not together with Capacity or Policy
	Backlog   int    // messages that Enqueue and PushRow may add beyond Capacity, under Block; 0 means DefaultBacklog

	// The others are for boxes that are made with InitOrdered.

	// Overtake is how many messages of higher classes come out, at most, between two messages of a
	// class of which some wait: then the oldest one of that class is next, and of several such
	// classes that of the lowest. 0 means DefaultOvertake.
	Overtake int

	// Fair has senders take turns within a class: each of those of whom messages wait, one message
	// at a time. Without it, messages of one class come out in the order of their arrival.
	Fair bool

	// PerSender is, with Fair, how many messages of one sender and one class may wait; for another
	// one the box is full, so Policy decides, and Backlog holds. 0 means no such bound.
	PerSender int
}

// Validate returns everything that is wrong with c, joined, or nil.
func (c Config) Validate() error {
	var errs []error
	if c.Capacity < 0 {
		errs = append(errs, fmt.Errorf("mailbox: negative Capacity %d", c.Capacity))
	}
	if c.Backlog < 0 {
		errs = append(errs, fmt.Errorf("mailbox: negative Backlog %d", c.Backlog))
	}
	if c.Policy > DropOldest {
		errs = append(errs, fmt.Errorf("mailbox: unknown Policy %d", uint8(c.Policy)))
	}
	if c.Overtake < 0 {
		errs = append(errs, fmt.Errorf("mailbox: negative Overtake %d", c.Overtake))
	}
	if c.PerSender < 0 {
		errs = append(errs, fmt.Errorf("mailbox: negative PerSender %d", c.PerSender))
	}
	if c.PerSender > 0 && !c.Fair {
		errs = append(errs, errors.New("mailbox: PerSender without Fair: such a box does not tell senders apart"))
	}
	if c.Unbounded && (c.Capacity != 0 || c.Policy != Block) {
		errs = append(errs, errors.New("mailbox: Unbounded together with Capacity or Policy: an unbounded box is never full"))
	}
	return errors.Join(errs...)
}

// defaults is the Config of boxes without one. Nothing writes to it.
var defaults Config

// capacity returns how many messages may wait. More than 2³¹ would not fit into memory.
func (c *Config) capacity() int32 {
	switch {
	case c.Unbounded:
		return math.MaxInt32
	case c.Capacity == 0:
		return DefaultCapacity
	}
	return int32(min(c.Capacity, math.MaxInt32))
}

func (c *Config) backlog() int {
	if c.Backlog == 0 {
		return DefaultBacklog
	}
	return min(c.Backlog, math.MaxInt32)
}

func (c *Config) overtake() int {
	if c.Overtake == 0 {
		return DefaultOvertake
	}
	return c.Overtake
}
