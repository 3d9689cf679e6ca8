package tcp

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// Stats is a snapshot of what a Transport has counted since it was started.
type Stats struct {
	Links    int    // open now, whoever dialled
	Greeting int    // accepted connections that are still greeting
	Accepted uint64 // connections that were accepted, links or not

	// Connections that were turned away, by the limit of Config that they met.
	RefusedPerIP        uint64 // MaxConnsPerIP
	RefusedPending      uint64 // MaxPending, MaxPendingPerIP
	RefusedConns        uint64 // MaxConns
	RefusedPerPrincipal uint64 // MaxConnsPerPrincipal

	Displaced uint64 // connections that took long to greet, and made room for others
	Panics    uint64 // panics of functions of Config, each of which refused a connection
}

// Stats returns a snapshot. It may be called at any time.
func (t *Transport) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.stats
	s.Links, s.Greeting = len(t.links), len(t.lobby.guests)
	s.RefusedPerIP, s.RefusedConns, s.RefusedPerPrincipal = t.limits[maxConnsPerIP].refused, t.limits[maxConns].refused, t.limits[maxConnsPerPrincipal].refused
	s.RefusedPending = t.limits[maxPending].refused + t.limits[maxPendingPerIP].refused
	s.Displaced, s.Panics = t.limits[displaced].refused, t.limits[panics].refused
	return s
}

// limit is one on accepted connections.
type limit int

const (
	admitted limit = iota // none was met
	closing
	maxPending
	maxPendingPerIP
	maxConnsPerIP
	maxConns
	maxConnsPerPrincipal
	displaced // no limit, but told like one
	panics    // neither
	manyLimits
)

// meter counts what a limit has turned away, and says when that is worth a log line: at
// the first connection, and then once a minute while it goes on.
type meter struct {
	refused uint64
	said    uint64 // of these, when a line was written last
	at      time.Time
}

const sayEvery = time.Minute

// count notes a connection that is turned away now, and returns how many are to be
// spoken of; 0: none yet.
func (m *meter) count(now time.Time) uint64 {
	m.refused++
	if !m.at.IsZero() && now.Sub(m.at) < sayEvery {
		return 0
	}
	n := m.refused - m.said
	m.at, m.said = now, m.refused
	return n
}

// turned counts a connection that is turned away, logs it if need be, and returns the
// reason for its dialler.
func (t *Transport) turned(why limit, from string) string {
	var reason string
	switch why {
	case maxPending:
		reason = fmt.Sprintf("%d connections are greeting already, which is the limit (tcp.Config.MaxPending)", t.cfg.MaxPending)
	case maxPendingPerIP:
		reason = fmt.Sprintf("%d connections from your address are greeting already, which is the limit (tcp.Config.MaxPendingPerIP)", t.cfg.MaxPendingPerIP)
	case displaced:
		reason = "it took long to greet, and others came (tcp.Config.MaxPending, MaxPendingPerIP)"
	case maxConnsPerPrincipal:
		reason = fmt.Sprintf("too many links of this principal: %d, which is the limit (tcp.Config.MaxConnsPerPrincipal)", t.cfg.MaxConnsPerPrincipal)
	case maxConnsPerIP:
		reason = fmt.Sprintf("%d connections from your address, which is the limit (tcp.Config.MaxConnsPerIP)", t.cfg.MaxConnsPerIP)
	case maxConns:
		reason = fmt.Sprintf("too many links: %d, which is the limit (tcp.Config.MaxConns)", t.cfg.MaxConns)
	}
	t.mu.Lock()
	n := t.limits[why].count(time.Now())
	t.mu.Unlock()
	if n > 0 {
		t.local.Logger.Warn("tcp: connections are turned away", "count", n, "latest", from, "reason", reason)
	}
	return reason
}

const (
	maxRefusing = 16          // connections that are told why they are turned away; beyond that they are just closed
	refuseTime  = time.Second // for that, TLS included
)

// turnAway tells the dialler of raw why there is no room for it, and closes it.
func (t *Transport) turnAway(raw net.Conn, ip netip.Addr, why limit) {
	if why == closing {
		raw.Close()
		return
	}
	reason := t.turned(why, ip.String())
	t.mu.Lock()
	tell := !t.closed && len(t.refusing) < maxRefusing
	if tell {
		t.refusing[raw] = struct{}{}
		t.tasks.Add(1)
	}
	t.mu.Unlock()
	if !tell {
		raw.Close()
		return
	}
	go func() {
		defer t.tasks.Done()
		t.refuse(raw, reason)
		raw.Close()
		t.mu.Lock()
		delete(t.refusing, raw)
		t.mu.Unlock()
	}()
}

// refuse answers the hello on raw with a reason.
func (t *Transport) refuse(raw net.Conn, reason string) {
	ctx, cancel := context.WithTimeout(t.ctx, refuseTime)
	defer cancel()
	limit, _ := ctx.Deadline()
	if raw.SetDeadline(limit) != nil {
		return
	}
	var conn net.Conn
	err := t.guarded(func() (err error) {
		conn, err = t.secure(ctx, raw)
		return err
	})
	if err != nil {
		return
	}
	if _, err := readFrame(conn); err != nil { // unread bytes would reset the connection before the answer is read
		return
	}
	w := transport.Welcome{Status: transport.StatusBusy, Version: transport.Version, Node: t.local.Node, Epoch: t.local.Epoch, Reason: reason}
	conn.Write(frame(w.Append))
}

// hangUp ends this side of raw and reads what is on its way, so that the other side is not
// reset before it has read the last words. The deadline of raw bounds it.
func hangUp(raw net.Conn) {
	if half, ok := raw.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
	io.Copy(io.Discard, io.LimitReader(raw, transport.MaxHello))
}
