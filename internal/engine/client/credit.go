package client

import (
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/internal/promise"
)

// One-way messages have no answers that could slow down their sender. So after every
// creditStep of them the client asks for a receipt. This is a request without a message; it
// goes through the actor's mailbox like the messages before it, and is answered when it leaves
// the mailbox. While creditReceipts of them are outstanding, senders to that actor wait; senders
// to other actors do not. A receipt is a request like any other, so it survives the loss of a
// link. If it ends with an error, the messages before it are no longer in the mailbox.
const (
	creditStep     = 256
	creditReceipts = 4
	creditBytes    = 64 << 10  // of a body, for each of which it counts as one more message
	creditTargets  = 4096      // with credit for so many actors of a peer, those without an outstanding receipt are forgotten
	receiptLife    = time.Hour // timeout of a receipt, in case its actor is stuck
)

// credit is the flow control of the one-way messages to one actor of a peer.
type credit struct {
	since   int           // messages since the last receipt was asked for; guarded by peer.mu
	waiting int           // senders that wait for a receipt; guarded by peer.mu
	owed    atomic.Int32  // receipts that are outstanding
	came    chan struct{} // holds a token after a receipt came
}

// Complete notes that a receipt came. It implements Completer.
func (c *credit) Complete(*promise.Reply, error) {
	c.owed.Add(-1)
	c.pass()
}

// pass wakes one waiting sender.
func (c *credit) pass() {
	select {
	case c.came <- struct{}{}:
	default:
	}
}

// used reports whether senders must wait for a receipt. peer.mu is held.
func (c *credit) used() bool { return c.since >= creditStep && c.owed.Load() >= creditReceipts }

// creditOf returns the credit of an actor. p.mu is held.
func (p *peer) creditOf(target string) *credit {
	if p.lastCredit != nil && p.lastTarget == target {
		return p.lastCredit
	}
	p.inRow = 0
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

// countTell counts a message that was sent to target, and asks for a receipt if one is due. A
// large message counts as many. p.mu is held.
func (p *peer) countTell(c *credit, target string, body int) {
	if c.since += 1 + body/creditBytes; c.since < creditStep || c.owed.Load() >= creditReceipts {
		return
	}
	c.since = 0
	c.owed.Add(1)
	now := p.client.host.Now()
	call := &Call{req: Request{Node: p.name, Target: target, Receipt: true}, peer: p, to: c, flight: flight{deadline: now + receiptLife, patience: probeMin}}
	call.first = call
	if err := p.enter(call, now); err != nil {
		c.Complete(nil, err)
	}
}
