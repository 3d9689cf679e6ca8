package tcp

import (
	"net"
	"net/netip"
	"time"
)

// lobby decides who may be greeting at once: nobody has proved anything there. It has no
// lock and no clock of its own.
//
// An address may have perAddr guests. Who has been in for hurry makes room for a newcomer
// of its address, or for any if all is full. So does, however young it is, the oldest guest
// of the address that has the most, for a newcomer whose address has at least two fewer:
// what a few addresses hold keeps no other out. Young guests are safe otherwise, so that a
// crowd of honest diallers, each at its own address, does not push itself out in turn.
type lobby struct {
	max, perAddr int
	hurry        time.Duration

	guests map[*guest]struct{}
	of     map[netip.Addr]int
}

// guest is a connection that is greeting.
type guest struct {
	conn  net.Conn
	from  netip.Addr
	since time.Time
}

func newLobby(cfg Config) lobby {
	return lobby{max: cfg.MaxPending, perAddr: cfg.MaxPendingPerIP, hurry: cfg.hurry(),
		guests: make(map[*guest]struct{}), of: make(map[netip.Addr]int)}
}

// network is what counts as one address here: whoever has one of IPv6 has the other 2^64
// beside it.
func network(ip netip.Addr) netip.Addr {
	if ip.Is6() {
		if p, err := ip.WithZone("").Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return ip
}

// enter lets a connection in, or says which limit it meets. out is the guest that made
// room, if one had to: it is no longer in.
func (b *lobby) enter(conn net.Conn, ip netip.Addr, now time.Time) (in, out *guest, why limit) {
	from := network(ip)
	late := func(g *guest) bool { return g != nil && now.Sub(g.since) >= b.hurry }
	switch {
	case b.of[from] >= b.perAddr:
		if out = b.oldest(func(g *guest) bool { return g.from == from }); !late(out) {
			return nil, nil, maxPendingPerIP
		}
	case len(b.guests) >= b.max:
		if out = b.crowding(b.of[from] + 2); out == nil {
			if out = b.oldest(func(*guest) bool { return true }); !late(out) {
				return nil, nil, maxPending
			}
		}
	}
	if out != nil {
		b.leave(out)
	}
	in = &guest{conn: conn, from: from, since: now}
	b.guests[in] = struct{}{}
	b.of[from]++
	return in, out, admitted
}

// leave reports whether g was still in.
func (b *lobby) leave(g *guest) bool {
	if _, in := b.guests[g]; !in {
		return false
	}
	delete(b.guests, g)
	if b.of[g.from]--; b.of[g.from] == 0 {
		delete(b.of, g.from)
	}
	return true
}

// crowded reports whether newcomers should greet faster than usual.
func (b *lobby) crowded() bool { return 4*len(b.guests) > 3*b.max }

// crowding returns the oldest guest of the address that has the most, if it has least.
func (b *lobby) crowding(least int) *guest {
	most := 0
	for _, n := range b.of {
		most = max(most, n)
	}
	if most < least {
		return nil
	}
	return b.oldest(func(g *guest) bool { return b.of[g.from] == most })
}

func (b *lobby) oldest(among func(*guest) bool) (first *guest) {
	for g := range b.guests {
		if among(g) && (first == nil || g.since.Before(first.since)) {
			first = g
		}
	}
	return first
}
