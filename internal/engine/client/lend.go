package client

import (
	"sync"

	"github.com/tandem-go/tandem/transport"
)

// A sender that tells one actor much would take two locks for each message: that of the peer, which
// guards the numbers of one-way messages, and that of the link's queue. So the peer lends the link
// the numbers of the next messages to that actor (transport.Row), and they take only the lock of
// the queue. While numbers are lent nobody holds the peer's lock: whoever locks the peer takes
// back first what was not used. So those who hold the lock find the peer as if nothing was ever lent.

// lendAfter is how many one-way messages in a row to one actor make the peer lend numbers, and how
// many of a loan must be used so that the next one follows at once. It bounds what loans
// cost that requests to the same peer end early.
const lendAfter = 16

// peerLock is the lock of a peer. Lock takes back what the peer has lent.
type peerLock struct {
	sync.Mutex
	peer *peer
}

// Lock locks the peer.
func (l *peerLock) Lock() {
	l.Mutex.Lock()
	if l.peer.row.Load() != nil {
		l.peer.takeBack()
	}
}

// lend lends the numbers of the next messages to target, which has just got one. The last message
// before a receipt is due is not lent. p.mu is held, and nothing may be changed before it is
// released.
func (p *peer) lend(target string, c *credit) {
	most := creditStep - 1 - c.since
	if p.inRow++; p.inRow < lendAfter || most <= 0 || p.tellers > 0 || p.unsent > 0 || !p.flowing() || p.closed {
		return
	}
	k := p.current
	if k.row == nil {
		rower, ok := k.Link.Link.(transport.Rower)
		if !ok {
			p.inRow = 0
			return
		}
		k.row = rower.Row()
	}
	grant := p.grant
	if k.Direct {
		grant = transport.Grant{}
	}
	k.row.Lend(target, grant, p.tells+1, most)
	p.row.Store(k.row)
}

// takeBack ends a loan. p.mu is held.
func (p *peer) takeBack() {
	n := p.row.Load().Settle()
	p.row.Store(nil)
	if n < lendAfter {
		p.inRow = 0
	}
	p.tells += uint64(n)
	p.sums.tells += uint64(n)
	p.traffic.sent += n
	p.lastCredit.since += n
}
