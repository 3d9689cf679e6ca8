package client

import (
	"time"

	"github.com/tandem-go/tandem/internal/trail"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// This file has the timer of a peer, and what it sends and ends by the clock.

// arm makes tick run at the given time of the node clock, or earlier. p.mu is held.
func (p *peer) arm(at time.Duration) {
	if p.closed || p.timerAt != 0 && p.timerAt <= at {
		return
	}
	p.timerAt = at
	wait := at - p.client.host.Now()
	if p.timer == nil {
		p.timer = time.AfterFunc(wait, p.tick)
	} else {
		p.timer.Reset(wait)
	}
}

// tick ends the calls whose deadlines have passed, probes those that have been silent on a bus,
// and sends an ack that no message has carried.
func (p *peer) tick() {
	p.mu.Lock()
	p.timerAt = 0
	if p.closed {
		p.mu.Unlock()
		return
	}
	now := p.client.host.Now()
	var expired, unlinked []*Call
	for c := range p.win.all() {
		if c.deadline <= now {
			expired = append(expired, c)
			continue
		}
		if p.linkless(c, now) {
			unlinked = append(unlinked, c)
			continue
		}
		p.arm(c.deadline)
		if c.req.hedge() > 0 && !c.hedged && c.on != nil {
			if now >= c.hedgeAt {
				p.hedge(c, now)
			} else {
				p.arm(c.hedgeAt)
			}
		}
		if c.on != nil && !c.on.Direct {
			if now-c.quiet >= c.patience {
				c.patience = min(2*c.patience, probeMax)
				c.unusual(trail.Probed, c.on.Road(), nil)
				c.quiet = now
				_, _ = c.on.Send(&transport.Envelope{Verb: transport.VerbProbe, Seq: c.seq, Grant: p.grant})
			}
			p.arm(c.quiet + max(c.patience, 4*time.Duration(c.on.rtt.Load())))
		}
	}
	for _, c := range unlinked {
		p.remove(c)
	}
	verdicts := make([]rpc.Verdict, len(expired))
	for i, c := range expired {
		verdicts[i] = c.verdict()
		p.abandon(c)
	}
	expired = p.expireUnresolved(now, expired)
	verdicts = append(verdicts, make([]rpc.Verdict, len(expired)-len(verdicts))...) // Unknown
	p.queryUnresolved(now)
	if p.ackArmed {
		switch {
		case p.win.unacked == 0 || p.current == nil:
			p.ackArmed = false
		case now-p.lastSent >= ackIdle:
			p.ackArmed = false
			p.sendAck()
		default:
			p.arm(p.lastSent + ackIdle)
		}
	}
	p.repeatLost(now)
	p.mu.Unlock()
	for _, c := range unlinked {
		c.fail(rpc.Errorf(rpc.Unavailable, rpc.NotRun, "no link to %s within %v", p.name, c.req.Rare.LinkWait))
	}
	for i, c := range expired {
		c.end(rpc.Errorf(rpc.Expired, verdicts[i], "no reply from %s within the deadline", p.name))
	}
}

// waitForLink sets how long c, of which no copy was sent, waits for a link. p.mu is held.
func (p *peer) waitForLink(c *Call, now time.Duration) {
	c.linkBy = 0
	if wait := c.req.linkWait(); wait > 0 {
		c.linkBy = now + wait
		p.arm(c.linkBy)
	}
}

// linkless reports whether c has waited too long for a link. p.mu is held.
func (p *peer) linkless(c *Call, now time.Duration) bool {
	if c.linkBy == 0 || c.verdict() != rpc.NotRun {
		return false
	}
	if now < c.linkBy {
		p.arm(c.linkBy)
		return false
	}
	c.linkBy = 0
	return c.req.linkWait() > 0
}

// sendAck sends an ack frame with the full mark. p.mu is held.
func (p *peer) sendAck() {
	if p.current == nil {
		return
	}
	m := p.win.full()
	e := &transport.Envelope{Verb: transport.VerbAck, Mark: transport.Mark{Below: m.Below}, Body: transport.AppendSeqBytes(nil, m.Except)}
	if !p.current.Direct {
		e.Grant = p.grant
	}
	_, _ = p.current.Send(e) // if it is lost with the link, the next mark covers it
}

// mark adds the session to a heartbeat, which renews the session's lease, and an ack mark, because
// an ack frame may have been lost.
func (p *peer) mark(k *Link, e *transport.Envelope, heard bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if heard {
		k.older, k.cancels = k.cancels, nil
	}
	if k.ready && k.grant == p.grant {
		e.Grant, e.Mark = p.grant, p.win.inline(nil)
	}
}
