package actor

import (
	"context"
	"time"

	"github.com/tandem-go/tandem/mailbox"
)

// Requests that will never run, because their callers cancelled or their deadlines passed,
// must not fill a mailbox while its actor is busy. So a put that finds the mailbox full has
// it swept first. Nothing is done before that: a request from another node can expire by the
// clock alone, so there may be no event at which it could be removed.
//
// A mailbox is not swept again for 10 µs for each message in it (mailbox.Box.Sweep). So a
// request that expired within that time may still cause a put to be refused or dropped. A
// sender that waits has the mailbox swept again after sweepAgain.

// sweepAgain is how often a sender that waits for room has the mailbox swept.
const sweepAgain = 100 * time.Millisecond

// sweep makes room in a full mailbox by removing the requests that will never run.
func (c *cell) sweep() {
	for _, it := range c.box.Sweep(c.self.sys.node.Client.Now(), willNotRun) {
		it.req.Start() // returns false, and ends the request just as its turn would have
	}
}

func willNotRun(it *item) bool { return it.req != nil && it.req.WillNotRun() }

// enqueue is box.Enqueue, but sweeps the mailbox first if it is full. It never waits.
func (c *cell) enqueue(it item) (mailbox.Put[item], error) {
	if wake, ok := c.box.Push(it); ok {
		return mailbox.Put[item]{Wake: wake}, nil
	}
	c.sweep()
	return c.box.Enqueue(it)
}

// putWhen is box.Put into a full mailbox. It has the mailbox swept again while it waits,
// because a request that expires wakes nobody.
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
