// Package tcp is Tandem's direct road: each link is one TCP connection, with or without TLS. It
// promises what transport.Link requires and nothing more: it does not reconnect, send heartbeats
// or retry. The layer above does that.
//
//	tr := tcp.New(tcp.Config{Listen: "127.0.0.1:0"})
//	addr, err := tr.Start(ctx, local, accept)
//	link, err := tr.Dial(ctx, transport.Endpoint{Node: "b", Addr: addrOfB}, open)
//
// A listener beyond loopback refuses to start unless it can verify who connects, by mutual TLS or
// a token inside TLS, or Config.Insecure is set. No envelope is decoded before the greeting is
// complete, for which a peer has five seconds. In the greeting both sides prove that they know
// the token, which is never sent, and that they take part in this very greeting: the recorded
// bytes of one connection are refused on another.
//
// A connection that exceeds one of the limits of Config is told which one. Stats counts these
// connections, and at most one log line a minute reports them.
//
// A link has two goroutines. One reads and calls the Receiver; the other one takes everything
// that is queued and writes it at once. The wire is specified in transport/SPEC.md.
package tcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// Road is the name of this road.
const Road = "tcp"

// Transport is the TCP road of one system. Make it with New.
type Transport struct {
	cfg    Config
	ctx    context.Context // ends when Close begins, and aborts dials and greetings
	cancel context.CancelFunc
	tasks  sync.WaitGroup // the accept loop, the recheck loop, and one for each connection

	rechecking sync.Mutex // one Recheck at a time; guards expiries
	expiries   expiries

	mu          sync.Mutex // guards what follows
	local       transport.Local
	accept      func(transport.Link) transport.Receiver
	listener    net.Listener // nil if dial only
	started     bool
	closed      bool
	links       map[*link]struct{}
	pending     pending               // accepted, and not yet a link
	perIP       map[netip.Addr]int    // accepted connections by address, greeting or linked
	refusing    map[net.Conn]struct{} // accepted, to be told that there is no room
	established int                   // accepted connections that became links, or are about to
	principals  map[string]*principal // who has some of these
	limits      [manyLimits]meter
	stats       Stats // what is counted here; see Stats
}

var _ transport.Transport = (*Transport)(nil)

// New returns a transport that is not yet started. Start returns an error if something is wrong
// with cfg.
func New(cfg Config) *Transport {
	cfg = cfg.withDefaults()
	t := &Transport{
		cfg:        cfg,
		pending:    newPending(cfg),
		links:      make(map[*link]struct{}),
		perIP:      make(map[netip.Addr]int),
		principals: make(map[string]*principal),
		refusing:   make(map[net.Conn]struct{}),
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// Road returns "tcp".
func (t *Transport) Road() string { return Road }

// Direct returns true.
func (t *Transport) Direct() bool { return true }

// Start implements transport.Transport. It returns the address to advertise, which is empty
// without Config.Listen. The error names everything that is wrong with the Config. It wraps
// ErrInsecure if a protection is missing, and the system's error if the address cannot be
// listened on.
func (t *Transport) Start(ctx context.Context, local transport.Local, accept func(transport.Link) transport.Receiver) (string, error) {
	bind, err := t.cfg.check()
	if err != nil {
		return "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return "", fmt.Errorf("%w: transport was closed", transport.ErrClosed)
	case t.started:
		return "", errors.New("tcp: Start called twice")
	}
	t.local, t.accept = local, accept
	var addr string
	if bind != nil {
		// Binding does not wait for anything, so the lock may be held.
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", bind.String())
		if err != nil {
			return "", fmt.Errorf("tcp: %w", err)
		}
		addr = t.cfg.advertised(l.Addr())
		t.listener = l
		t.tasks.Go(func() { t.acceptLoop(l) })
	}
	t.started = true
	if t.cfg.rechecks() {
		t.tasks.Go(t.recheckLoop)
	}
	return addr, nil
}

// Addr returns the address that is listened on; nil before Start, and if the transport only
// dials. It differs from what Start returned if Config.Advertise names another address, such as
// that of a proxy.
func (t *Transport) Addr() net.Addr {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.listener == nil {
		return nil
	}
	return t.listener.Addr()
}

// begin adds l to the transport's links. It returns false if the transport is closed. For each
// link that was added, end must be called.
func (t *Transport) begin(l *link) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.links[l] = struct{}{}
	t.tasks.Add(1)
	return true
}

func (t *Transport) end(l *link) {
	t.mu.Lock()
	delete(t.links, l)
	t.mu.Unlock()
	t.tasks.Done()
}

// flushTime is how long Close lets links write their queues.
const flushTime = time.Second

// Close implements transport.Transport. It must not be called from a Receiver.
func (t *Transport) Close() error {
	t.mu.Lock()
	first := !t.closed
	t.closed = true
	var links []*link
	if first {
		t.cancel()
		if t.listener != nil {
			t.listener.Close()
		}
		for g := range t.pending.conns {
			g.conn.Close()
		}
		for c := range t.refusing {
			c.Close()
		}
		for l := range t.links {
			links = append(links, l)
		}
	}
	t.mu.Unlock()

	for _, l := range links {
		l.finish()
	}
	late := time.AfterFunc(flushTime, func() {
		for _, l := range links {
			l.Close(fmt.Errorf("%w: transport closed before the queue was written", transport.ErrClosed))
		}
	})
	defer late.Stop()
	t.tasks.Wait()
	return nil
}
