package tcp

import (
	"context"
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
		ip, why := t.admit(raw)
		if why != admitted {
			t.turnAway(raw, ip, why)
			continue
		}
		go func() {
			defer t.tasks.Done()
			defer t.leave(ip)
			t.serve(raw)
		}()
	}
}

// admit counts raw as greeting, or says why there is no room for it. After admitted
// the caller must call leave and tasks.Done.
func (t *Transport) admit(raw net.Conn) (ip netip.Addr, why limit) {
	ip = raw.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return ip, closing
	case len(t.greeting) >= t.cfg.MaxPending:
		return ip, maxPending
	case t.perIP[ip] >= t.cfg.MaxConnsPerIP:
		return ip, maxConnsPerIP
	}
	t.greeting[raw] = struct{}{}
	t.perIP[ip]++
	t.stats.Accepted++
	t.tasks.Add(1)
	return ip, admitted
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
	if conn, err = t.secure(ctx, raw); err != nil {
		return nil, peer, 0, err
	}
	said, w, h := t.judge(conn)
	answer := w.Append(nil)
	_, err = conn.Write(framed(answer))
	if e := w.Err(); e != nil {
		return nil, peer, 0, e
	}
	peer = transport.Peer{Node: h.Node, Epoch: h.Epoch, Principal: t.cfg.principal(conn, t.cfg.Token != "")}
	if err == nil {
		err = t.believe(conn, said, answer, peer)
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		t.release()
		return nil, peer, 0, err
	}
	return conn, peer, h.Largest, nil
}

// secure speaks TLS if this side is to. To a dialler that does not it says so, without.
func (t *Transport) secure(ctx context.Context, raw net.Conn) (net.Conn, error) {
	if t.cfg.TLS == nil {
		return raw, nil
	}
	secured := tls.Server(raw, t.cfg.TLS)
	err := secured.HandshakeContext(ctx)
	var notTLS tls.RecordHeaderError
	if errors.As(err, &notTLS) && notTLS.Conn != nil && isFrame(notTLS.RecordHeader) {
		w := transport.Welcome{Status: transport.StatusProtocol, Version: transport.Version, Reason: "TLS is spoken here: set tcp.Config.TLS"}
		raw.Write(frame(w.Append))
		hangUp(raw)
	}
	return secured, err
}

// believe has both sides prove that they take part in this greeting, and know the token.
// What a recording says at this point was good for another nonce.
func (t *Transport) believe(conn net.Conn, hello, welcome []byte, peer transport.Peer) error {
	b, err := readFrame(conn)
	if err != nil {
		return err
	}
	p, err := transport.ParseProof(b)
	if err == nil {
		err = p.Check(t.cfg.Token, true, hello, welcome)
	}
	if err == nil && peer.Principal == "" {
		err = fmt.Errorf("%w: nobody known here", transport.ErrDenied)
	}
	if err != nil {
		no := transport.Proof{Status: transport.StatusDenied, Reason: err.Error()}
		conn.Write(frame(no.Append))
		return err
	}
	_, err = conn.Write(frame(transport.Prove(t.cfg.Token, false, hello, welcome).Append))
	return err
}

// judge reads a hello and decides on the answer. It takes one of MaxConns places
// if the answer is StatusOK. said is the hello as it came.
func (t *Transport) judge(conn net.Conn) (said []byte, w transport.Welcome, h transport.Hello) {
	refuse := func(s transport.Status, reason string) ([]byte, transport.Welcome, transport.Hello) {
		return said, transport.Welcome{Status: s, Version: transport.Version, Reason: reason}, h
	}
	said, err := readFrame(conn)
	if err != nil {
		return refuse(transport.StatusProtocol, "no greeting came")
	}
	if h, err = transport.ParseHello(said); err != nil {
		return refuse(transport.StatusProtocol, "malformed greeting")
	}
	w = transport.Answer(t.local, h)
	switch {
	case w.Status != transport.StatusOK:
	case h.Nonce == transport.Nonce{}:
		return refuse(transport.StatusProtocol, "a greeting without a nonce")
	case !t.reserve():
		w.Status, w.Reason = transport.StatusBusy, t.turned(maxConns, "")
	default:
		w.Nonce = transport.NewNonce()
	}
	return said, w, h
}

// frame returns what write appends, with its length before it.
func frame(write func([]byte) []byte) []byte {
	b := write(make([]byte, 4))
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// framed returns b with its length before it.
func framed(b []byte) []byte {
	return frame(func(dst []byte) []byte { return append(dst, b...) })
}

// readFrame reads one frame of a greeting and not a byte more.
func readFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > transport.MaxHello {
		return nil, notTandem(size[:])
	}
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	return b, err
}
