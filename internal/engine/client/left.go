package client

import (
	"context"
	"slices"
	"time"

	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// This file handles a peer that leaves: the client sends it no new requests, and ends the
// outstanding ones by the peer's last word.

// lookTimeout bounds one look-up of a node's last word.
const lookTimeout = 5 * time.Second

// Leaving reports whether a node has said that it accepts no new requests and is still there. A
// caller that can choose should ask another node.
func (cl *Client) Leaving(node string) bool { return cl.peer(node).left.Load() }

// Left says that the registry does not have that start of a node any more. Nobody waits for it any longer: attempts to open
// a link to it begin anew, because a process that is stopped, or a machine that is gone, would have them wait until they time
// out; and requests that wait for a link, and may go to another node, do so.
func (cl *Client) Left(node, epoch string) {
	cl.mu.Lock()
	p := cl.peers[node]
	cl.mu.Unlock()
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.dialers {
		if d.running && d.anew != nil && (d.epoch == "" || d.epoch == epoch) {
			d.anew()
		}
	}
	if p.current != nil {
		return
	}
	for c := range p.win.all() {
		if c.verdict() == rpc.NotRun && c.req.movable() {
			p.remove(c)
			c.fail(rpc.Errorf(rpc.Unavailable, rpc.NotRun, "node %s has left the registry, and there was no link to it", p.name))
		}
	}
}

// movable reports whether the request may go to another node.
func (r *Request) movable() bool { return r.route() != nil }

// receiveBye handles a bye. A bye without a body says that the peer accepts no new requests: from
// then on acks are sent without delay, so that the peer need not wait for them, and calls that
// were not sent yet go to another node or wait for the peer's next start. A bye with a body is the
// peer's last word on the session.
func (p *peer) receiveBye(c *Link, e *transport.Envelope) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leavingOf = c.ID.Epoch
	if p.opening == c {
		p.opening, c.asked = nil, false
		for _, o := range p.conns {
			p.open(o)
		}
	}
	if len(e.Body) > 0 {
		w, err := wire.ParseWord(e.Body)
		if err == nil && c.grant == p.grant && e.Grant == p.grant && p.grant != (transport.Grant{}) {
			p.loseTo(w, "node "+p.name+" has left", true)
		}
		return
	}
	p.seeLeaving()
	p.sendAck()
	if !p.leaving {
		return
	}
	for c := range p.win.all() {
		if c.verdict() == rpc.NotRun && c.req.movable() {
			p.remove(c)
			c.fail(wire.ErrLeft(p.name))
		}
	}
}

// seeLeaving updates p.leaving: whether the only known start of the peer is one that is leaving.
// p.mu is held.
func (p *peer) seeLeaving() {
	there := func(c *Link) bool { return c.ID.Epoch == p.leavingOf }
	p.leaving = p.leavingOf != "" && (p.epoch == p.leavingOf || p.epoch == "" && slices.ContainsFunc(p.conns, there) &&
		!slices.ContainsFunc(p.conns, func(c *Link) bool { return !there(c) }))
	p.left.Store(p.leaving)
}

// moveOn handles a call that certainly did not run at a start of the peer that has ended. The call
// waits for the next start. If it may have reached the earlier start and can go to another node,
// it fails with ErrLeft instead, so that it goes there. p.mu is held.
func (p *peer) moveOn(c *Call) {
	if c.verdict() != rpc.NotRun && (c.req.Receipt || c.req.movable()) { // a receipt has no use, because the mailboxes are empty
		c.fail(wire.ErrLeft(p.name))
		return
	}
	c.leave()
	c.reset()
	p.win.add(c)
	c.session = p.session
	if p.client.cfg.Trail != nil {
		p.begin(c, p.client.host.Now())
	}
	p.kept.add(len(c.req.Body))
	p.unsent++
}

// failLeft ends a call that has run at a start of a peer that has ended, or may have. A request that is recognised
// elsewhere is made again in both cases, for its reply.
func (c *Call) failLeft(v rpc.Verdict, why string) {
	if c.req.recognised() {
		v = rpc.Unknown
	}
	c.fail(wire.ErrLastWord(c.peer.name, v, why))
}

// ackNow sends an ack at once, because there may be no later message to carry it.
func (p *peer) ackNow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ackArmed = false
	p.sendAck()
}

// seekLastWord looks up the last word of an earlier start of the peer in a goroutine of its own,
// and then decides by it what becomes of the calls that were outstanding there. p.mu is held.
func (p *peer) seekLastWord(epoch string, grant transport.Grant, why string) {
	if p.closed {
		return
	}
	p.client.host.Go(func() {
		w, ok := p.lookUp(epoch, grant)
		if !ok {
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		var seqs []uint64
		for seq, d := range p.unresolved {
			if d.lastWordSought && d.grant == grant {
				seqs = append(seqs, seq)
			}
		}
		slices.Sort(seqs)
		for _, seq := range seqs {
			d := p.unresolved[seq]
			d.lastWordSought = false
			v := rpc.Unknown
			if w != nil {
				v = w.Judge(seq)
			}
			switch {
			case v == rpc.NotRun:
				p.resolve(seq, d)
				p.moveOn(d.call)
			case !d.durable:
				p.resolve(seq, d)
				d.call.failLeft(v, why)
			}
		}
		p.queryUnresolved(p.client.host.Now())
		p.flush()
		if p.current == nil && p.win.count+len(p.unresolved) > 0 {
			p.dialRoads()
		}
	})
}

// lookUp returns the last word of an earlier start of the peer, or nil if there is none. After an
// error it tries again while a call waits for the last word; then it returns false.
func (p *peer) lookUp(epoch string, grant transport.Grant) (w *wire.LastWord, ok bool) {
	for again := askAfter; ; again = min(2*again, askMax) {
		ctx, cancel := context.WithTimeout(p.client.host.Context(), lookTimeout)
		b, err := p.client.cfg.LastWord(ctx, p.name, epoch)
		cancel()
		if err == nil {
			return wire.WordIn(b, grant), true
		}
		p.mu.Lock()
		waits := false
		for _, d := range p.unresolved {
			waits = waits || d.lastWordSought && d.grant == grant
		}
		p.mu.Unlock()
		if !waits || !p.pause(again, nil) {
			return nil, false
		}
	}
}
