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
	"sync"
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
		if err != nil { // for example, there are no file descriptors left; later there may be some
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
		g, ip, why := t.admit(raw)
		if why != admitted {
			t.turnAway(raw, ip, why)
			continue
		}
		go func() {
			defer t.tasks.Done()
			defer t.leave(ip)
			t.serve(g)
		}()
	}
}

// admit lets raw greet, or returns the limit that forbids it. After admitted, the caller
// must call leave and tasks.Done.
func (t *Transport) admit(raw net.Conn) (g *pendingConn, ip netip.Addr, why limit) {
	ip = raw.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	g, out, why := t.enter(raw, ip)
	if out != nil {
		out.conn.Close()
		t.turned(displaced, out.from.String())
	}
	return g, ip, why
}

func (t *Transport) enter(raw net.Conn, ip netip.Addr) (g, out *pendingConn, why limit) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return nil, nil, closing
	case t.perIP[ip] >= t.cfg.MaxConnsPerIP:
		return nil, nil, maxConnsPerIP
	}
	if g, out, why = t.pending.enter(raw, ip, time.Now()); why != admitted {
		return nil, nil, why
	}
	t.perIP[ip]++
	t.stats.Accepted++
	t.tasks.Add(1)
	return g, out, admitted
}

func (t *Transport) leave(ip netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.perIP[ip]--; t.perIP[ip] == 0 {
		delete(t.perIP, ip)
	}
}

// greetingTime returns how long a new connection may take for its greeting.
func (t *Transport) greetingTime() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pending.nearlyFull() {
		return t.cfg.shortGreeting()
	}
	return t.cfg.HandshakeTimeout
}

// serve greets g and, if that succeeds, runs the link on it until it ends.
func (t *Transport) serve(g *pendingConn) {
	raw := g.conn
	var (
		conn  net.Conn
		who   standing
		terms transport.Terms
	)
	err := t.guarded(func() (err error) {
		conn, who, terms, err = t.welcome(raw)
		return err
	})
	t.mu.Lock()
	in := t.pending.leave(g)
	t.mu.Unlock()
	if err == nil {
		defer t.release(who.counted)
		if !in {
			err = fmt.Errorf("%w: it made room for others", transport.ErrBusy)
		}
	}
	if err != nil {
		raw.Close()
		t.local.Logger.Debug("tcp: refused a connection", "from", raw.RemoteAddr().String(), "error", err)
		return
	}
	l := newLink(t, raw, conn, who, terms)
	if !t.begin(l) {
		raw.Close()
		return
	}
	l.open(t.accept)
	l.run()
}

// reserve takes one of the MaxConns places.
func (t *Transport) reserve() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.established >= t.cfg.MaxConns {
		return false
	}
	t.established++
	return true
}

// principal counts the accepted links of one principal.
type principal struct {
	name  string
	links int        // guarded by Transport.mu
	turn  sync.Mutex // held while something large is received on one of them; see link.receive
}

// share counts one more link for the principal of that name. It returns nil if the principal
// has as many links as it may have.
func (t *Transport) share(name string) *principal {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.principals[name]
	if p == nil {
		p = &principal{name: name}
		t.principals[name] = p
	}
	if p.links >= t.cfg.MaxConnsPerPrincipal {
		return nil
	}
	p.links++
	return p
}

// release undoes reserve, and share for p if p is not nil.
func (t *Transport) release(p *principal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.established--
	if p == nil {
		return
	}
	if p.links--; p.links == 0 {
		delete(t.principals, p.name)
	}
}

// welcome is the accepting side of the greeting. Without an error, the caller must call
// release.
func (t *Transport) welcome(raw net.Conn) (conn net.Conn, who standing, terms transport.Terms, err error) {
	ctx, cancel := context.WithTimeout(t.ctx, t.greetingTime())
	defer cancel()
	limit, _ := ctx.Deadline()
	if err := raw.SetDeadline(limit); err != nil {
		return nil, who, terms, err
	}
	if conn, err = t.secure(ctx, raw); err != nil {
		return nil, who, terms, err
	}
	who.show(conn)
	said, w, h := t.judge(conn, &who)
	answer := w.Append(nil)
	_, err = conn.Write(framed(answer))
	if e := w.Err(); e != nil {
		return nil, who, terms, e
	}
	who.peer.Node, who.peer.Epoch = h.Node, h.Epoch
	if err == nil {
		err = t.authenticate(conn, said, answer, &who)
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		t.release(who.counted)
		return nil, who, terms, err
	}
	return conn, who, h.Terms(), nil
}

// secure does the TLS handshake if this side has TLS. A dialler without TLS is told so in
// clear text.
func (t *Transport) secure(ctx context.Context, raw net.Conn) (net.Conn, error) {
	cfg := t.cfg.tls()
	if cfg == nil {
		return raw, nil
	}
	secured := tls.Server(raw, cfg)
	err := secured.HandshakeContext(ctx)
	var notTLS tls.RecordHeaderError
	if errors.As(err, &notTLS) && notTLS.Conn != nil && isFrame(notTLS.RecordHeader) {
		w := transport.Welcome{Status: transport.StatusProtocol, Version: transport.Version, Reason: "TLS is spoken here: set tcp.Config.TLS"}
		raw.Write(frame(w.Append))
		hangUp(raw)
	}
	return secured, err
}

// authenticate makes both sides prove that they take part in this greeting and know a
// token. A recorded greeting fails here, because it was made for another nonce. Then it
// determines the peer's principal, and counts the link for it.
func (t *Transport) authenticate(conn net.Conn, hello, welcome []byte, who *standing) error {
	b, err := readFrame(conn)
	if err != nil {
		return err
	}
	p, err := transport.ParseProof(b)
	no := transport.Proof{Status: transport.StatusDenied}
	if err == nil {
		who.token, err = t.tokenOf(p, hello, welcome)
	}
	if err == nil {
		who.peer.Principal = t.named(conn, who.token != "")
		if who.peer.Principal == "" {
			err = fmt.Errorf("%w: nobody known here", transport.ErrDenied)
		} else if who.counted = t.share(who.peer.Principal); who.counted == nil {
			no.Status = transport.StatusBusy
			err = errors.New(t.turned(maxConnsPerPrincipal, who.peer.Principal))
		}
	}
	if err != nil {
		no.Reason = err.Error()
		conn.Write(frame(no.Append))
		return err
	}
	_, err = conn.Write(frame(transport.Prove(who.token, false, hello, welcome).Append))
	return err
}

// tokenOf returns the token of this node that the dialling side proved to know; empty if
// this node has none.
func (t *Transport) tokenOf(p transport.Proof, hello, welcome []byte) (string, error) {
	tokens := t.cfg.tokens()
	if len(tokens) == 0 {
		return "", p.Check("", true, hello, welcome)
	}
	var err error
	for _, token := range tokens {
		if err = p.Check(token, true, hello, welcome); err == nil {
			return token, nil
		}
	}
	return "", err
}

// judge reads a hello and decides on the answer. If the answer is StatusOK, it takes one of
// the MaxConns places. said is the hello as it was received.
func (t *Transport) judge(conn net.Conn, who *standing) (said []byte, w transport.Welcome, h transport.Hello) {
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
	if err := t.guarded(func() error { return t.rules().judge(who) }); err != nil {
		return refuse(transport.StatusDenied, err.Error())
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

// frame returns what write appends, preceded by its length.
func frame(write func([]byte) []byte) []byte {
	b := write(make([]byte, 4))
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// framed returns b, preceded by its length.
func framed(b []byte) []byte {
	return frame(func(dst []byte) []byte { return append(dst, b...) })
}

// readFrame reads exactly one frame of a greeting.
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
