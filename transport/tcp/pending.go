package tcp

import (
	"net"
	"net/netip"
	"time"
)

// pending decides which connections may be greeting at once, before their peers have proved
// anything. It has no lock and no clock of its own.
//
// An address may have perAddr connections here. A connection that is older than
// shortGreeting makes room for a new one of its address or, if all places are taken, for a
// new one of any address. For a new connection whose address has at least two fewer, the
// oldest connection of the address that has the most makes room, whatever its age: so a few
// addresses cannot keep others out. Otherwise young connections are safe, so many honest
// diallers, each at its own address, do not replace each other.
type pending struct {
	max, perAddr  int
	shortGreeting time.Duration

	conns map[*pendingConn]struct{}
	of    map[netip.Addr]int
}

// pendingConn is a connection that is greeting.
type pendingConn struct {
	conn  net.Conn
	from  netip.Addr
	since time.Time
}

func newPending(cfg Config) pending {
	return pending{max: cfg.MaxPending, perAddr: cfg.MaxPendingPerIP, shortGreeting: cfg.shortGreeting(),
		conns: make(map[*pendingConn]struct{}), of: make(map[netip.Addr]int)}
}

// network returns what counts as one address. For IPv6 that is a /64 network, because the owner
// of one IPv6 address usually has 2^64 of them.
func network(ip netip.Addr) netip.Addr {
	if ip.Is6() {
		if p, err := ip.WithZone("").Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return ip
}

// enter adds a connection, or returns the limit that forbids it. out is the connection that
// was removed to make room, if there is one.
func (b *pending) enter(conn net.Conn, ip netip.Addr, now time.Time) (in, out *pendingConn, why limit) {
	from := network(ip)
	late := func(g *pendingConn) bool { return g != nil && now.Sub(g.since) >= b.shortGreeting }
	switch {
	case b.of[from] >= b.perAddr:
		if out = b.oldest(func(g *pendingConn) bool { return g.from == from }); !late(out) {
			return nil, nil, maxPendingPerIP
		}
	case len(b.conns) >= b.max:
		if out = b.oldestOfLargest(b.of[from] + 2); out == nil {
			if out = b.oldest(func(*pendingConn) bool { return true }); !late(out) {
				return nil, nil, maxPending
			}
		}
	}
	if out != nil {
		b.leave(out)
	}
	in = &pendingConn{conn: conn, from: from, since: now}
	b.conns[in] = struct{}{}
	b.of[from]++
	return in, out, admitted
}

// leave removes g, and reports whether it was still there.
func (b *pending) leave(g *pendingConn) bool {
	if _, in := b.conns[g]; !in {
		return false
	}
	delete(b.conns, g)
	if b.of[g.from]--; b.of[g.from] == 0 {
		delete(b.of, g.from)
	}
	return true
}

// nearlyFull reports whether new connections must greet faster than usual.
func (b *pending) nearlyFull() bool { return 4*len(b.conns) > 3*b.max }

// oldestOfLargest returns the oldest connection of the address that has the most connections, if
// these are at least least.
func (b *pending) oldestOfLargest(least int) *pendingConn {
	most := 0
	for _, n := range b.of {
		most = max(most, n)
	}
	if most < least {
		return nil
	}
	return b.oldest(func(g *pendingConn) bool { return b.of[g.from] == most })
}

func (b *pending) oldest(among func(*pendingConn) bool) (first *pendingConn) {
	for g := range b.conns {
		if among(g) && (first == nil || g.since.Before(first.since)) {
			first = g
		}
	}
	return first
}
