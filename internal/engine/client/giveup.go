package client

import (
	"github.com/tandem-go/tandem/internal/trail"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// This file cancels calls whose callers do not want the outcome any more.

// giveUp ends a call for a caller that does not want its outcome any more.
func (p *peer) giveUp(c *Call, code rpc.Code, message string) {
	p.mu.Lock()
	verdict := c.verdict()
	switch d := p.unresolved[c.seq]; {
	case p.win.get(c.seq) == c:
		p.abandon(c)
	case d != nil && d.call == c:
		p.resolve(c.seq, d)
		verdict = rpc.Unknown
	default:
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	c.end(rpc.Errorf(code, verdict, "%s", message))
}

// abandon removes c from the window and sends the server a cancel. p.mu is held.
func (p *peer) abandon(c *Call) {
	c.unusual(trail.GaveUp, "", nil)
	switch k := c.on; {
	case k != nil && k.grant == p.grant:
		p.cancel(k, c.seq)
	case c.away: // to a link that has closed
		p.recancel, p.cancelLost = append(p.recancel, c.seq), p.client.host.Now()
		p.cancelAgain()
	}
	p.remove(c)
}

// cancel sends a cancel on k. k remembers it until a heartbeat has shown that it arrived, because
// nothing else replaces it: the ack mark that covers the request stops it if it waits, but not if
// it runs. p.mu is held.
func (p *peer) cancel(k *Link, seq uint64) {
	e := &transport.Envelope{Verb: transport.VerbCancel, Seq: seq}
	if !k.Direct {
		e.Grant = p.grant
	}
	_, _ = k.Send(e) // if it is lost with the link, it is sent again on another one
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

// lostCancels collects the cancels sent on k that may not have arrived. p.mu is held.
func (p *peer) lostCancels(k *Link) {
	if k.grant == p.grant && len(k.older)+len(k.cancels) > 0 {
		p.recancel, p.cancelLost = append(append(p.recancel, k.older...), k.cancels...), p.client.host.Now()
	}
	k.older, k.cancels = nil, nil
}
