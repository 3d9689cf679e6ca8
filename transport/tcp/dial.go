package tcp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// Dial implements transport.Transport. Config.HandshakeTimeout bounds it beside ctx.
// Where the address calls for TLS and the Config has none, its error wraps
// ErrInsecure.
func (t *Transport) Dial(ctx context.Context, to transport.Endpoint, open func(transport.Link) transport.Receiver) (transport.Link, error) {
	t.mu.Lock()
	ready := t.started && !t.closed
	t.mu.Unlock()
	if !ready {
		return nil, fmt.Errorf("%w: transport not started, or closed", transport.ErrClosed)
	}
	ctx, cancel := context.WithTimeout(ctx, t.cfg.HandshakeTimeout)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)()

	raw, err := new(net.Dialer).DialContext(ctx, "tcp", to.Addr)
	if err != nil {
		return nil, t.unlessClosed(fmt.Errorf("%w: %w", transport.ErrNoPeer, err))
	}
	conn, peer, largest, err := t.greet(ctx, raw, to)
	if err != nil {
		raw.Close()
		return nil, t.unlessClosed(err)
	}
	l := newLink(t, raw, conn, peer, largest)
	if !t.begin(l) {
		raw.Close()
		return nil, t.unlessClosed(transport.ErrClosed)
	}
	l.open(open)
	go l.run()
	return l, nil
}

// unlessClosed returns err, or ErrClosed if it came because the transport closed.
func (t *Transport) unlessClosed(err error) error {
	if t.ctx.Err() != nil {
		return fmt.Errorf("%w: transport closed while dialling", transport.ErrClosed)
	}
	return err
}

// greet is the dialling side of the greeting. ctx bounds it.
func (t *Transport) greet(ctx context.Context, raw net.Conn, to transport.Endpoint) (conn net.Conn, peer transport.Peer, largest uint64, err error) {
	if t.cfg.Token != "" && t.cfg.TLS == nil && !t.cfg.Insecure && !raw.RemoteAddr().(*net.TCPAddr).IP.IsLoopback() {
		return nil, peer, 0, fmt.Errorf("%w: a token for %s without TLS", ErrInsecure, raw.RemoteAddr())
	}
	// Reads and writes know nothing of ctx: when it ends, a deadline in the past wakes them.
	stop := context.AfterFunc(ctx, func() { raw.SetDeadline(time.Unix(1, 0)) })
	conn, w, err := t.exchange(ctx, raw, to)
	if !stop() {
		return nil, peer, 0, fmt.Errorf("%w: greeting %s: %w", transport.ErrNoPeer, to.Addr, context.Cause(ctx))
	}
	if err != nil {
		return nil, peer, 0, err
	}
	peer = transport.Peer{Node: w.Node, Epoch: w.Epoch, Principal: t.cfg.principal(conn, false)}
	switch {
	case w.Version < transport.MinVersion || w.Version > transport.Version:
		err = fmt.Errorf("%w: peer chose version %d", transport.ErrVersion, w.Version)
	case w.Node != to.Node, to.Epoch != "" && w.Epoch != to.Epoch:
		err = fmt.Errorf("%w: at %s is %s in epoch %s, wanted %s in epoch %q", transport.ErrIdentity, to.Addr, w.Node, w.Epoch, to.Node, to.Epoch)
	case transport.ValidName("epoch", w.Epoch) != nil:
		err = fmt.Errorf("%w: peer's epoch is %q", transport.ErrProtocol, w.Epoch)
	case peer.Principal == "":
		err = fmt.Errorf("%w: the peer at %s is nobody known here", transport.ErrDenied, to.Addr)
	}
	return conn, peer, w.Largest, err
}

// exchange speaks TLS if it is to, sends the hello and reads the welcome.
func (t *Transport) exchange(ctx context.Context, raw net.Conn, to transport.Endpoint) (net.Conn, transport.Welcome, error) {
	conn := raw
	if t.cfg.TLS != nil {
		cfg := t.cfg.TLS
		if cfg.ServerName == "" {
			cfg = cfg.Clone()
			cfg.ServerName, _, _ = net.SplitHostPort(to.Addr)
		}
		secured := tls.Client(raw, cfg)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, transport.Welcome{}, explain(err, to)
		}
		conn = secured
	}
	if _, err := conn.Write(frame(transport.Greet(t.local, to, t.cfg.Token).Append)); err != nil {
		return nil, transport.Welcome{}, explain(err, to)
	}
	b, err := readFrame(conn)
	if err != nil {
		return nil, transport.Welcome{}, explain(err, to)
	}
	w, err := transport.ParseWelcome(b)
	if err == nil {
		err = w.Err()
	}
	return conn, w, err
}

// explain wraps what went wrong while greeting in the sentinel that fits. With TLS
// 1.3 a client learns only when it reads that its certificate was refused.
func explain(err error, to transport.Endpoint) error {
	var (
		alert    *net.OpError
		verify   *tls.CertificateVerificationError
		notTLS   tls.RecordHeaderError
		sentinel = transport.ErrNoPeer
	)
	switch {
	case errors.As(err, &verify), errors.As(err, &alert) && alert.Op == "remote error":
		sentinel = transport.ErrDenied
	case errors.As(err, &notTLS), errors.Is(err, transport.ErrProtocol):
		sentinel = transport.ErrProtocol
	}
	return fmt.Errorf("%w: greeting %s: %w", sentinel, to.Addr, err)
}
