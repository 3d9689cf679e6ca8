package rpc

import (
	"context"
	"slices"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// This file is what a client does about a node that leaves: it asks it for nothing new,
// and ends what is under way there by the node's last word.

// lookTimeout bounds one look for what a node left behind.
const lookTimeout = 5 * time.Second

// Leaving reports whether a node has said that it takes nothing new, and is still there:
// who has the choice asks another one.
func (n *Node) Leaving(node string) bool { return n.peer(node).left.Load() }

// movable reports whether the request may go to another node.
func (r *Request) movable() bool { return r.route() != nil }

// farewell notes that the peer takes no new requests, or takes its last word on the
// session. From the first on acks go out without delay, so that it need not wait for
// them; and what has not left goes elsewhere, or waits for the peer's next start.
func (p *peer) farewell(c *conn, e *transport.Envelope) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leavingOf = c.id.Epoch
	if p.opening == c {
		p.opening, c.asked = nil, false
		for _, o := range p.conns {
			p.open(o)
		}
	}
	if len(e.Body) > 0 {
		w, err := parseWord(e.Body)
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
		if c.verdict() == NotRun && c.req.movable() {
			p.remove(c)
			c.fail(errLeft(p.name))
		}
	}
}

// seeLeaving finds out whether all that is left of the peer is a start of it that leaves.
// p.mu is held.
func (p *peer) seeLeaving() {
	there := func(c *conn) bool { return c.id.Epoch == p.leavingOf }
	p.leaving = p.leavingOf != "" && (p.epoch == p.leavingOf || p.epoch == "" && slices.ContainsFunc(p.conns, there) &&
		!slices.ContainsFunc(p.conns, func(c *conn) bool { return !there(c) }))
	p.left.Store(p.leaving)
}

// moveOn has a call that provably did not run at a start of the peer that is no more wait
// for the next start. One that was there, as far as that is known, and may go elsewhere, does
// so. p.mu is held.
func (p *peer) moveOn(c *Call) {
	if c.verdict() != NotRun && (c.req.Receipt || c.req.movable()) { // nothing stands in a mailbox any more
		c.fail(errLeft(p.name))
		return
	}
	c.on, c.also, c.handed, c.hedged = nil, nil, false, false
	p.win.add(c)
	p.kept.add(len(c.req.Body))
	p.unsent++
}

// ackNow says what this client needs no more, in case it has nothing to say later.
func (p *peer) ackNow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ackArmed = false
	p.sendAck()
}

// inquire has the last word of an earlier start of the peer looked up, and ends by it what
// was under way there. p.mu is held.
func (p *peer) inquire(epoch string, grant transport.Grant, why string) {
	if p.closed {
		return
	}
	p.node.owned.Go(func() {
		w, ok := p.lookUp(epoch, grant)
		if !ok {
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		var seqs []uint64
		for seq, d := range p.doubts {
			if d.waits && d.grant == grant {
				seqs = append(seqs, seq)
			}
		}
		slices.Sort(seqs)
		for _, seq := range seqs {
			d := p.doubts[seq]
			d.waits = false
			v := Unknown
			if w != nil {
				v = w.judge(seq)
			}
			switch {
			case v == NotRun:
				p.dispel(seq, d)
				p.moveOn(d.call)
			case !d.durable:
				p.dispel(seq, d)
				d.call.fail(errLastWord(p.name, v, why))
			}
		}
		p.askDoubts(p.node.now())
		p.flush()
		if p.current == nil && p.win.count+len(p.doubts) > 0 {
			p.demand()
		}
	})
}

// lookUp finds the last word of an earlier start of the peer; nil: it said none. It tries
// again as long as a call waits for it, else it reports false.
func (p *peer) lookUp(epoch string, grant transport.Grant) (w *lastWord, ok bool) {
	for again := askAfter; ; again = min(2*again, askMax) {
		ctx, cancel := context.WithTimeout(p.node.ctx, lookTimeout)
		b, err := p.node.cfg.LastWord(ctx, p.name, epoch)
		cancel()
		if err == nil {
			return wordIn(b, grant), true
		}
		p.mu.Lock()
		waits := false
		for _, d := range p.doubts {
			waits = waits || d.waits && d.grant == grant
		}
		p.mu.Unlock()
		if !waits || !p.pause(again, nil) {
			return nil, false
		}
	}
}
