package actor

import (
	"context"
	"time"

	"github.com/tandem-go/tandem/mailbox"
)

// This file sees to it that requests which never run, because their callers gave up or
// their deadlines passed, do not fill a mailbox while its actor is busy: a put that finds
// it full has it swept first. Nothing is done before that, and nobody is told of a request
// that dies: a request from another node may do so by the clock alone.
//
// The limits: a mailbox is not swept again for 10 µs for each message in it (mailbox.Box.
// Sweep), so what died within that time may still have a put refused or dropped. A sender
// that waits looks again after sweepAgain.

// sweepAgain is how often a sender that waits for room looks whether there is some.
const sweepAgain = 100 * time.Millisecond

// sweep makes room in a full mailbox, if it holds requests that never run.
func (c *cell) sweep() {
	for _, it := range c.box.Sweep(c.self.sys.node.Now(), lapsed) {
		it.req.Start() // false, and ends it as its turn would have
	}
}

func lapsed(it *item) bool { return it.req != nil && it.req.Lapsed() }

// park is box.Park into a mailbox that is swept if it is full.
func (c *cell) park(it item) (mailbox.Put[item], error) {
	if wake, ok := c.box.Push(it); ok {
		return mailbox.Put[item]{Wake: wake}, nil
	}
	c.sweep()
	return c.box.Park(it)
}

// putWhen is box.Put into a full mailbox, which is swept again while the put waits: what
// dies meanwhile wakes nobody.
func (c *cell) putWhen(ctx context.Context, it item) (mailbox.Put[item], error) {
	over := make(chan struct{})
	defer close(over)
	var again func()
	again = func() {
		select {
		case <-over:
		default:
			c.sweep()
			time.AfterFunc(sweepAgain, again)
		}
	}
	defer time.AfterFunc(sweepAgain, again).Stop()
	return c.box.Put(ctx, it)
}
