package rpc

import "github.com/tandem-go/tandem/transport"

// This file is what a peer does about calls whose callers do not want their outcomes any more.

// giveUp ends a call whose caller does not want its outcome any more.
func (p *peer) giveUp(c *Call, code Code, message string) {
	p.mu.Lock()
	verdict := c.verdict()
	switch d := p.doubts[c.seq]; {
	case p.win.get(c.seq) == c:
		p.abandon(c)
	case d != nil && d.call == c:
		p.dispel(c.seq, d)
		verdict = Unknown
	default:
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	c.end(Errorf(code, verdict, "%s", message))
}

// abandon takes c out of the window and tells the server. p.mu is held.
func (p *peer) abandon(c *Call) {
	switch k := c.on; {
	case k != nil && k.grant == p.grant:
		p.cancel(k, c.seq)
	case c.handed: // with a link that is no more
		p.recancel, p.cancelLost = append(p.recancel, c.seq), p.node.now()
		p.cancelAgain()
	}
	p.remove(c)
}

// cancel sends a cancel on k, which remembers it until a heartbeat has shown that it
// arrived: the ack mark that covers the request stops one that waits, but not one that
// runs. p.mu is held.
func (p *peer) cancel(k *conn, seq uint64) {
	e := &transport.Envelope{Verb: transport.VerbCancel, Seq: seq}
	if !k.direct {
		e.Grant = p.grant
	}
	_, _ = k.link.Send(e) // lost with the link: then it is sent again on another
	k.cancels = append(k.cancels, seq)
}

// cancelAgain sends the cancels that were lost. p.mu is held.
func (p *peer) cancelAgain() {
	if p.current == nil {
		return
	}
	lost := p.recancel
	p.recancel = nil
	for _, seq := range lost {
		p.cancel(p.current, seq)
	}
}

// lostCancels takes those of a link that may not have arrived. p.mu is held.
func (p *peer) lostCancels(k *conn) {
	if k.grant == p.grant && len(k.older)+len(k.cancels) > 0 {
		p.recancel, p.cancelLost = append(append(p.recancel, k.older...), k.cancels...), p.node.now()
	}
	k.older, k.cancels = nil, nil
}
