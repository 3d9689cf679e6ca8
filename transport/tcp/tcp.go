// Package tcp is Tandem's direct road: one TCP connection, plain or TLS, is one
// link. It promises what transport.Link asks for and nothing more: it does not
// reconnect, send heartbeats or retry, which belongs to the layer above.
//
//	tr := tcp.New(tcp.Config{Listen: "127.0.0.1:0"})
//	addr, err := tr.Start(ctx, local, accept)
//	link, err := tr.Dial(ctx, transport.Endpoint{Node: "b", Addr: addrOfB}, open)
//
// A listener beyond loopback refuses to start unless it can tell who connects:
// mutual TLS, or a token inside TLS, or Config.Insecure spelled out. Nothing is
// decoded before the greeting is over, and a peer has five seconds for that. Both sides
// prove in it that they know the token, which never travels, and that they take part in
// this very greeting: the recorded bytes of one connection are refused on another.
//
// A connection that meets one of the limits of Config is told which one; Stats counts
// these, and a line in the log says so, at most once a minute.
//
// A link has two goroutines. One reads and calls the Receiver; one takes all that
// is queued and writes it at once. The wire is specified in transport/SPEC.md.
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
	ctx    context.Context // ends when Close begins: aborts dials and greetings
	cancel context.CancelFunc
	tasks  sync.WaitGroup // the accept loop, the recheck loop, and one for each connection

	rechecking sync.Mutex // one Recheck at a time; guards expiries
	expiries   expiries

	mu           sync.Mutex // guards what follows
	local        transport.Local
	accept       func(transport.Link) transport.Receiver
	listener     net.Listener // nil if dial only
	started      bool
	closed       bool
	links        map[*link]struct{}
	lobby        lobby                 // accepted, and not yet a link
	perIP        map[netip.Addr]int    // accepted connections by address, greeting or linked
	refusing     map[net.Conn]struct{} // accepted, to be told that there is no room
	established  int                   // accepted connections that became links, or are about to
	perPrincipal map[string]int        // of these, by principal
	limits       [manyLimits]meter
	stats        Stats // what is counted here; see Stats
}

var _ transport.Transport = (*Transport)(nil)

// New returns a transport that is not yet started. Start reports what is wrong
// with cfg.
func New(cfg Config) *Transport {
	cfg = cfg.withDefaults()
	t := &Transport{
		cfg:          cfg,
		lobby:        newLobby(cfg),
		links:        make(map[*link]struct{}),
		perIP:        make(map[netip.Addr]int),
		perPrincipal: make(map[string]int),
		refusing:     make(map[net.Conn]struct{}),
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// Road returns "tcp".
func (t *Transport) Road() string { return Road }

// Direct returns true.
func (t *Transport) Direct() bool { return true }

// Start implements transport.Transport. It returns the address to advertise, empty
// without Config.Listen. Its error names all that is wrong with the Config; it
// wraps ErrInsecure where a safeguard is missing, and the system's error where the
// address cannot be had.
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

// Addr is the address that is listened on, nil before Start and if dial only. It
// differs from what Start returned where Config.Advertise names something in between.
func (t *Transport) Addr() net.Addr {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.listener == nil {
		return nil
	}
	return t.listener.Addr()
}

// begin makes l one of the transport's links, or reports that the transport is
// closed. Each link that began must end.
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

// flushTime is what Close gives links to write their queues.
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
		for g := range t.lobby.guests {
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
