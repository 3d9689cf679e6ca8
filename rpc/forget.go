package rpc

import (
	"time"

	"github.com/tandem-go/tandem/transport"
)

// This file is how a node forgets others: names come and go, and what is kept of one with
// which there is nothing any more would be kept for ever. A peer that its node was never
// a client of goes with its last link, another one when there was nothing for as long as
// a server keeps a session.

// lockPeer returns the peer of that name, locked.
func (n *Node) lockPeer(name string) *peer {
	for {
		p := n.peer(name)
		p.mu.Lock()
		if !p.gone.Load() {
			return p
		}
		p.mu.Unlock()
	}
}

// idle reports whether there is nothing with the peer: nobody waits for it, and no link
// leads there or is wanted. p.mu is held.
func (p *peer) idle() bool {
	if p.closed || len(p.conns)+p.win.count+len(p.doubts)+len(p.recancel)+p.tellers+p.waiters > 0 {
		return false
	}
	for _, d := range p.dialers {
		if d.running {
			return false
		}
	}
	return true
}

// unused reports whether the node was never a client of the peer. p.mu is held.
func (p *peer) unused() bool {
	return p.opens == 0 && p.attempts == 0 && p.grant == (transport.Grant{}) && len(p.past) == 0
}

// unlinked is called when a link to a peer has closed.
func (n *Node) unlinked(p *peer) {
	n.mu.Lock()
	p.links--
	n.mu.Unlock()
	n.forgetPeer(p, n.now())
}

// forgetPeer forgets a peer if it is time to.
func (n *Node) forgetPeer(p *peer, now time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone.Load() || p.links > 0 || !p.idle() {
		return
	}
	if !p.unused() {
		if p.idleSince == 0 {
			p.idleSince = max(now, 1)
		}
		if now-p.idleSince < n.cfg.SessionLease {
			return
		}
	}
	p.gone.Store(true)
	if p.timer != nil {
		p.timer.Stop()
	}
	delete(n.peers, p.name)
	n.gone.Requests += p.sums.requests
	n.gone.Replies += p.sums.replies
	n.gone.Tells += p.sums.tells
}
