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
	Links    int    // open now, dialled by either side
	Greeting int    // accepted connections that are still greeting
	Accepted uint64 // connections that were accepted, whether they became links or not

	// Connections that were refused, by the limit of Config that they exceeded.
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
	s.Links, s.Greeting = len(t.links), len(t.pending.conns)
	s.RefusedPerIP, s.RefusedConns, s.RefusedPerPrincipal = t.limits[maxConnsPerIP].refused, t.limits[maxConns].refused, t.limits[maxConnsPerPrincipal].refused
	s.RefusedPending = t.limits[maxPending].refused + t.limits[maxPendingPerIP].refused
	s.Displaced, s.Panics = t.limits[displaced].refused, t.limits[panics].refused
	return s
}

// limit is a limit on accepted connections.
type limit int

const (
	admitted limit = iota // no limit was exceeded
	closing
	maxPending
	maxPendingPerIP
	maxConnsPerIP
	maxConns
	maxConnsPerPrincipal
	displaced // not a limit, but reported in the same way
	panics    // the same
	manyLimits
)

// meter counts the connections that a limit has refused, and says when to log that: at the first
// one, and then once a minute while it goes on.
type meter struct {
	refused uint64
	said    uint64 // how many of them the log lines so far were about
	at      time.Time
}

const sayEvery = time.Minute

// count counts a connection that is refused now. It returns how many the next log line is about;
// 0 if there is none now.
func (m *meter) count(now time.Time) uint64 {
	m.refused++
	if !m.at.IsZero() && now.Sub(m.at) < sayEvery {
		return 0
	}
	n := m.refused - m.said
	m.at, m.said = now, m.refused
	return n
}

// turned counts a connection that is refused, logs that if it is time, and returns the reason for
// its dialler.
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
	maxRefusing = 16          // how many connections may be told at once why they are refused; others are just closed
	refuseTime  = time.Second // bounds that, including TLS
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

// hangUp ends this side of raw and reads what still arrives, so that the connection is not reset
// before the other side has read the last bytes. The deadline of raw bounds it.
func hangUp(raw net.Conn) {
	if half, ok := raw.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
	io.Copy(io.Discard, io.LimitReader(raw, transport.MaxHello))
}
