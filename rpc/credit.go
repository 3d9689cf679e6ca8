package rpc

import (
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// One-way messages have no answers that would hold their sender back. So the client
// asks for a receipt behind every creditStep of them: a request without a message
// that goes through the actor's mailbox like the others and is answered when it
// leaves it. While creditReceipts are owed, senders to that actor wait, and those to
// others do not. A receipt is a request like any other, so it survives the death of a
// link; where it ends in an error, nothing stands in the mailbox any more.
const (
	creditStep     = 256
	creditReceipts = 4
	creditTargets  = 4096      // actors of one peer to keep count of, before those that owe nothing are forgotten
	receiptLife    = time.Hour // of a receipt whose actor is stuck
)

// credit is what a client keeps of the one-way messages to one actor of a peer.
type credit struct {
	since   int           // messages since the last receipt was asked for; guarded by peer.mu
	waiting int           // senders that wait for a receipt; guarded by peer.mu
	owed    atomic.Int32  // receipts asked for and not come
	came    chan struct{} // a token when a receipt came
}

// Complete takes a receipt.
func (c *credit) Complete(*Reply, error) {
	c.owed.Add(-1)
	c.pass()
}

// pass wakes one sender that waits.
func (c *credit) pass() {
	select {
	case c.came <- struct{}{}:
	default:
	}
}

func (c *credit) used() bool { return c.since >= creditStep && c.owed.Load() >= creditReceipts }

// creditOf returns the credit of an actor. p.mu is held.
func (p *peer) creditOf(target string) *credit {
	if p.lastCredit != nil && p.lastTarget == target {
		return p.lastCredit
	}
	c := p.credits[target]
	if c != nil {
		p.lastTarget, p.lastCredit = target, c
		return c
	}
	if len(p.credits) >= creditTargets {
		for name, c := range p.credits {
			if c.owed.Load() == 0 && c.waiting == 0 {
				delete(p.credits, name)
			}
		}
	}
	c = &credit{came: make(chan struct{}, 1)}
	p.credits[target] = c
	p.lastTarget, p.lastCredit = target, c
	return c
}

// told takes note of a message that was sent to target, and asks for a receipt behind
// it when it is time. A large one counts for many. p.mu is held.
func (p *peer) told(c *credit, target string, body int) {
	if c.since += 1 + body/transport.LargeBody; c.since < creditStep || c.owed.Load() >= creditReceipts {
		return
	}
	c.since = 0
	c.owed.Add(1)
	now := p.node.now()
	call := &Call{req: Request{Node: p.name, Target: target, Receipt: true}, peer: p, to: c, flight: flight{deadline: now + receiptLife, patience: probeMin}}
	call.first = call
	if err := p.enter(call, now); err != nil {
		c.Complete(nil, err)
	}
}
