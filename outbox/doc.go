// Package outbox decides what becomes of reliable one-way messages, see actor.TellReliably: in which
// order they are sent, when one is sent again, and when one is given up.
//
// A [Box] has a queue for each receiver. The first message of a queue is sent, and the next one only
// when it is known what became of it. So messages to one receiver keep their order, and the receiver
// needs one number for each outbox to recognise what it has handled. A message leaves the box when its
// handler has returned, with an error or a panic too, or when it is given up:
//   - it was refused for a reason that does not pass: there is no handler for it, say, or its sender may
//     not send it (NotRun);
//   - its time has passed, if it has one (NotRun, or Unknown if it may have arrived);
//   - its receiver was lost after it had been sent, and keeps no record (Unknown). It is not sent
//     again, because it could then be handled twice.
//
// A box is bounded in number and in bytes, in all and for each receiver.
//
// The package has no lock, clock, goroutine or I/O. A Box is not safe for concurrent use.
package outbox

import (
	"errors"
	"fmt"
	"time"
)

// Config bounds an outbox. Its zero value is the default.
type Config struct {
	Messages int // how many messages it may hold; default 65,536
	Bytes    int // how many bytes they may have; default 64 MiB

	TargetMessages int // how many there may be for one receiver; default a quarter of Messages
	TargetBytes    int // how many bytes they may have; default a quarter of Bytes

	Policy  Policy        // what becomes of a message for which there is no room; default Refuse
	KeepFor time.Duration // how long a message is kept before it is given up; 0: for ever

	// Durable keeps the messages in actor.Config.Store, so that they outlive the process.
	Durable bool
}

// Defaults of Config.
const (
	DefaultMessages = 64 << 10
	DefaultBytes    = 64 << 20

	targetShare = 4  // a receiver may have this part of the outbox
	overhead    = 64 // bytes that count for a message beside its own
)

// Policy is what becomes of a message for which there is no room.
type Policy uint8

// The policies.
const (
	Refuse Policy = iota // its sender gets an error
	Wait                 // its sender waits for room until its context ends
)

// String returns the policy's name.
func (p Policy) String() string {
	if p > Wait {
		return fmt.Sprintf("policy(%d)", uint8(p))
	}
	return [...]string{"refuse", "wait"}[p]
}

// ErrConfig is wrapped by the error of a Config that makes no sense.
var ErrConfig = errors.New("outbox: bad configuration")

// ErrFull and ErrTooLarge are the errors of Add: there is no room now, and there never will be.
var (
	ErrFull     = errors.New("outbox: it is full")
	ErrTooLarge = errors.New("outbox: the message is larger than a receiver's part of it")
)

// WithDefaults returns the Config with its defaults filled in, or an error that wraps ErrConfig.
func (c Config) WithDefaults() (Config, error) {
	for _, d := range []struct {
		name string
		v    *int
		def  func() int
	}{
		{"Messages", &c.Messages, func() int { return DefaultMessages }},
		{"Bytes", &c.Bytes, func() int { return DefaultBytes }},
		{"TargetMessages", &c.TargetMessages, func() int { return max(c.Messages/targetShare, 1) }},
		{"TargetBytes", &c.TargetBytes, func() int { return max(c.Bytes/targetShare, 1) }},
	} {
		if *d.v < 0 {
			return c, fmt.Errorf("%w: %s is negative: %d", ErrConfig, d.name, *d.v)
		} else if *d.v == 0 {
			*d.v = d.def()
		}
	}
	if c.Policy > Wait {
		return c, fmt.Errorf("%w: no such policy: %d", ErrConfig, c.Policy)
	}
	if c.KeepFor < 0 {
		return c, fmt.Errorf("%w: KeepFor is negative: %v", ErrConfig, c.KeepFor)
	}
	return c, nil
}
