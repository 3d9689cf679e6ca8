package client

import (
	"time"

	"github.com/tandem-go/tandem/transport"
)

// This file forgets idle peers, because names of nodes come and go and their state would be kept
// for ever. A peer that this node has never sent anything is forgotten with its last link. Any
// other peer is forgotten once it has been idle for as long as a server keeps a session.

// lockPeer returns the peer of that name with its lock held.
func (cl *Client) lockPeer(name string) *peer {
	for {
		p := cl.peer(name)
		p.mu.Lock()
		if !p.gone.Load() {
			return p
		}
		p.mu.Unlock()
	}
}

// idle reports whether nothing is outstanding at the peer, nobody waits for it, and there is no
// link to it and none is being opened. p.mu is held.
func (p *peer) idle() bool {
	if p.closed || len(p.conns)+p.win.count+len(p.unresolved)+len(p.recancel)+p.tellers+p.waiters > 0 {
		return false
	}
	for _, d := range p.dialers {
		if d.running {
			return false
		}
	}
	return true
}

// unused reports whether this node was never a client of the peer. p.mu is held.
func (p *peer) unused() bool {
	return p.opens == 0 && p.attempts == 0 && p.grant == (transport.Grant{}) && len(p.past) == 0
}

// unlinked is called when a link to a peer has closed.
func (cl *Client) unlinked(p *peer) {
	cl.mu.Lock()
	p.links--
	cl.mu.Unlock()
	cl.forgetPeer(p, cl.host.Now())
}

// forgetPeer forgets p if it has been idle for long enough.
func (cl *Client) forgetPeer(p *peer, now time.Duration) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone.Load() || p.links > 0 || !p.idle() {
		return
	}
	if !p.unused() {
		if p.idleSince == 0 {
			p.idleSince = max(now, 1)
		}
		if now-p.idleSince < cl.cfg.SessionLease {
			return
		}
	}
	p.gone.Store(true)
	p.start.end()
	if p.timer != nil {
		p.timer.Stop()
	}
	delete(cl.peers, p.name)
	cl.gone.Requests += p.sums.requests
	cl.gone.Replies += p.sums.replies
	cl.gone.Tells += p.sums.tells
}
