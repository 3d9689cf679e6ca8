package tcp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// Dial implements transport.Transport. Config.HandshakeTimeout bounds it as well as ctx. If the
// address requires TLS and the Config has none, the error wraps ErrInsecure.
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
		sentinel := transport.ErrNoPeer
		if errors.Is(err, syscall.ECONNREFUSED) {
			sentinel = transport.ErrAbsent
		}
		return nil, t.unlessClosed(fmt.Errorf("%w: %w", sentinel, err))
	}
	var (
		conn  net.Conn
		who   standing
		terms transport.Terms
	)
	err = t.guarded(func() (err error) {
		conn, who, terms, err = t.greet(ctx, raw, to)
		return err
	})
	if err != nil {
		raw.Close()
		return nil, t.unlessClosed(err)
	}
	l := newLink(t, raw, conn, who, terms)
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
func (t *Transport) greet(ctx context.Context, raw net.Conn, to transport.Endpoint) (conn net.Conn, who standing, terms transport.Terms, err error) {
	if tokens := t.cfg.tokens(); len(tokens) > 0 {
		who.token = tokens[0]
	}
	if who.token != "" && t.cfg.tls() == nil && !t.cfg.Insecure && !raw.RemoteAddr().(*net.TCPAddr).IP.IsLoopback() {
		return nil, who, terms, fmt.Errorf("%w: a token for %s without TLS", ErrInsecure, raw.RemoteAddr())
	}
	// Reads and writes do not use ctx. When it ends, a deadline in the past makes them return.
	stop := context.AfterFunc(ctx, func() { raw.SetDeadline(time.Unix(1, 0)) })
	conn, w, err := t.exchange(ctx, raw, to, &who)
	if !stop() {
		return nil, who, terms, fmt.Errorf("%w: at %s the connection is accepted, and the greeting is not answered: %w", transport.ErrNoPeer, to.Addr, context.Cause(ctx))
	}
	if err != nil {
		return nil, who, terms, err
	}
	who.peer = transport.Peer{Node: w.Node, Epoch: w.Epoch, Principal: t.named(conn, who.token != "")}
	if who.peer.Principal == "" {
		return nil, who, terms, fmt.Errorf("%w: the peer at %s is nobody known here", transport.ErrDenied, to.Addr)
	}
	return conn, who, w.Terms(), nil
}

// httpEnd follows a hello. A node ignores it. If the port belongs to an HTTP server, that server
// takes the hello for a bad request and answers; without httpEnd it would wait for more.
const httpEnd = "\r\n\r\n"

// exchange does the TLS handshake if there is TLS, sends the hello, reads the welcome, and
// exchanges proofs.
func (t *Transport) exchange(ctx context.Context, raw net.Conn, to transport.Endpoint, who *standing) (conn net.Conn, w transport.Welcome, err error) {
	conn = raw
	if cfg := t.cfg.tls(); cfg != nil {
		if cfg.ServerName == "" {
			cfg = cfg.Clone()
			cfg.ServerName, _, _ = net.SplitHostPort(to.Addr)
			if t.cfg.TLS == nil && t.cfg.IsNode == nil { // with Credentials, certificates have names of nodes and not of hosts
				cfg.ServerName = to.Node
			}
		}
		secured := tls.Client(raw, cfg)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, w, explain(err, to)
		}
		conn = secured
		who.dialled = true
		who.show(conn)
		if err := t.rules().judge(who); err != nil {
			return nil, w, fmt.Errorf("greeting %s: %w", to.Addr, err)
		}
	}
	h := transport.Greet(t.local, to)
	h.Nonce = transport.NewNonce()
	hello := append(h.Append(nil), httpEnd...)
	if _, err := conn.Write(framed(hello)); err != nil {
		return nil, w, explain(err, to)
	}
	welcome, err := readFrame(conn)
	if err != nil {
		return nil, w, explain(err, to)
	}
	if w, err = transport.ParseWelcome(welcome); err == nil {
		err = w.Err()
	}
	if err == nil {
		err = wanted(w, to)
	}
	if secured, ok := conn.(*tls.Conn); ok && err == nil {
		err = t.isNode(secured, to)
	}
	if err == nil {
		err = t.prove(conn, who.token, hello, welcome, to)
	}
	return conn, w, err
}

// wanted returns an error if a welcome is not from the node that was dialled.
func wanted(w transport.Welcome, to transport.Endpoint) error {
	switch {
	case w.Version < transport.MinVersion || w.Version > transport.Version:
		return fmt.Errorf("%w: peer chose version %d", transport.ErrVersion, w.Version)
	case w.Node != to.Node, to.Epoch != "" && w.Epoch != to.Epoch:
		return fmt.Errorf("%w: at %s is %s in epoch %s, wanted %s in epoch %q", transport.ErrIdentity, to.Addr, w.Node, w.Epoch, to.Node, to.Epoch)
	case transport.ValidName("epoch", w.Epoch) != nil:
		return fmt.Errorf("%w: peer's epoch is %q", transport.ErrProtocol, w.Epoch)
	case w.Nonce == transport.Nonce{}:
		return fmt.Errorf("%w: a welcome without a nonce", transport.ErrProtocol)
	}
	return nil
}

// prove is the dialling side of authenticate.
func (t *Transport) prove(conn net.Conn, token string, hello, welcome []byte, to transport.Endpoint) error {
	if _, err := conn.Write(frame(transport.Prove(token, true, hello, welcome).Append)); err != nil {
		return explain(err, to)
	}
	b, err := readFrame(conn)
	if err != nil {
		return explain(err, to)
	}
	p, err := transport.ParseProof(b)
	if err == nil {
		err = p.Check(token, false, hello, welcome)
	}
	if err != nil {
		return fmt.Errorf("greeting %s: %w", to.Addr, err)
	}
	return nil
}

// explain wraps the error of a greeting with the sentinel that fits. With TLS 1.3 a client
// learns that its certificate was refused only when it reads.
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
	case errors.As(err, &notTLS) && isFrame(notTLS.RecordHeader):
		return fmt.Errorf("%w: greeting %s: no TLS is spoken there, and tcp.Config.TLS asks for it: %w", transport.ErrProtocol, to.Addr, err)
	case errors.As(err, &notTLS):
		return fmt.Errorf("greeting %s with TLS: %w", to.Addr, notTandem(notTLS.RecordHeader[:]))
	case errors.Is(err, transport.ErrProtocol):
		return fmt.Errorf("greeting %s: %w", to.Addr, err)
	}
	return fmt.Errorf("%w: greeting %s: %w", sentinel, to.Addr, err)
}

// notTandem is the error for an answer that begins with b.
func notTandem(b []byte) error {
	looks := fmt.Sprintf("its first bytes are %q", b)
	switch {
	case bytes.HasPrefix(b, []byte("HTTP")):
		looks = "it looks like HTTP"
	case b[0] == 0x15 || b[0] == 0x16: // an alert, or a handshake
		looks = "it looks like TLS"
	}
	return fmt.Errorf("%w: what answers there does not speak Tandem: %s", transport.ErrProtocol, looks)
}

// isFrame reports whether these are the first bytes of a frame of a greeting.
func isFrame(header [5]byte) bool { return header[0] == 0 && header[1] == 0 && header[4] == 'T' }
