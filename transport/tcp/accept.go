package tcp

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// acceptLoop accepts connections until the listener closes. It has no state of its
// own; each connection gets a goroutine that greets it and then reads its link.
func (t *Transport) acceptLoop(l net.Listener) {
	const minPause, maxPause = 5 * time.Millisecond, time.Second
	pause := minPause
	for {
		raw, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of file descriptors, for one: it may pass
			t.local.Logger.Warn("tcp: accept failed", "error", err, "pause", pause)
			select {
			case <-time.After(pause):
			case <-t.ctx.Done():
				return
			}
			pause = min(2*pause, maxPause)
			continue
		}
		pause = minPause
		if ip, ok := t.admit(raw); ok {
			go func() {
				defer t.tasks.Done()
				defer t.leave(ip)
				t.serve(raw)
			}()
		} else {
			raw.Close()
		}
	}
}

// admit counts raw as greeting, or reports that there is no room for it. After ok
// the caller must call leave and tasks.Done.
func (t *Transport) admit(raw net.Conn) (ip netip.Addr, ok bool) {
	ip = raw.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.greeting) >= t.cfg.MaxPending || t.perIP[ip] >= t.cfg.MaxConnsPerIP {
		return ip, false
	}
	t.greeting[raw] = struct{}{}
	t.perIP[ip]++
	t.tasks.Add(1)
	return ip, true
}

func (t *Transport) leave(ip netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.perIP[ip]--; t.perIP[ip] == 0 {
		delete(t.perIP, ip)
	}
}

// serve greets raw and, if all is well, runs the link on it until it ends.
func (t *Transport) serve(raw net.Conn) {
	conn, peer, largest, err := t.welcome(raw)
	t.mu.Lock()
	delete(t.greeting, raw)
	t.mu.Unlock()
	if err != nil {
		raw.Close()
		t.local.Logger.Debug("tcp: refused a connection", "from", raw.RemoteAddr().String(), "error", err)
		return
	}
	defer t.release()
	l := newLink(t, raw, conn, peer, largest)
	if !t.begin(l) {
		raw.Close()
		return
	}
	l.open(t.accept)
	l.run()
}

// reserve takes one of MaxConns places, which release gives back.
func (t *Transport) reserve() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.established >= t.cfg.MaxConns {
		return false
	}
	t.established++
	return true
}

func (t *Transport) release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.established--
}

// welcome is the accepting side of the greeting. Without an error, one of MaxConns
// places is taken.
func (t *Transport) welcome(raw net.Conn) (conn net.Conn, peer transport.Peer, largest uint64, err error) {
	ctx, cancel := context.WithTimeout(t.ctx, t.cfg.HandshakeTimeout)
	defer cancel()
	limit, _ := ctx.Deadline()
	if err := raw.SetDeadline(limit); err != nil {
		return nil, peer, 0, err
	}
	conn = raw
	if t.cfg.TLS != nil {
		secured := tls.Server(raw, t.cfg.TLS)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, peer, 0, err
		}
		conn = secured
	}
	w, peer, largest := t.judge(conn)
	_, err = conn.Write(frame(w.Append))
	if e := w.Err(); e != nil {
		return nil, peer, 0, e
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		t.release()
		return nil, peer, 0, err
	}
	return conn, peer, largest, nil
}

// judge reads a hello and decides on the answer. It takes one of MaxConns places
// if the answer is StatusOK.
func (t *Transport) judge(conn net.Conn) (w transport.Welcome, peer transport.Peer, largest uint64) {
	refuse := func(s transport.Status, reason string) (transport.Welcome, transport.Peer, uint64) {
		return transport.Welcome{Status: s, Version: transport.Version, Reason: reason}, transport.Peer{}, 0
	}
	b, err := readFrame(conn)
	if err != nil {
		return refuse(transport.StatusProtocol, "no greeting came")
	}
	h, err := transport.ParseHello(b)
	if err != nil {
		return refuse(transport.StatusProtocol, "malformed greeting")
	}
	if subtle.ConstantTimeCompare([]byte(h.Token), []byte(t.cfg.Token)) != 1 && t.cfg.Token != "" {
		return refuse(transport.StatusDenied, "wrong token")
	}
	peer = transport.Peer{Node: h.Node, Epoch: h.Epoch, Principal: t.cfg.principal(conn, t.cfg.Token != "")}
	if peer.Principal == "" {
		return refuse(transport.StatusDenied, "nobody known here")
	}
	w = transport.Answer(t.local, h)
	if w.Status == transport.StatusOK && !t.reserve() {
		w.Status, w.Reason = transport.StatusBusy, "too many links"
	}
	return w, peer, h.Largest
}

// frame returns what write appends, with its length before it.
func frame(write func([]byte) []byte) []byte {
	b := write(make([]byte, 4))
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// readFrame reads one frame of a greeting and not a byte more.
func readFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > transport.MaxHello {
		return nil, fmt.Errorf("%w: greeting of %d bytes", transport.ErrProtocol, n)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	return b, err
}
