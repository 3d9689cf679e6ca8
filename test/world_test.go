// Package test checks what Tandem promises from outside: with whole systems, real sockets, a
// real NATS server, and faults between them.
package test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/tcp"
)

// world is a client and a server system, joined by a TCP link through a proxy that
// can cut it, and by a NATS server that can be stopped and started.
type world struct {
	t              *testing.T
	proxy          *proxy
	nats           *embedded.Server
	natsDir        string
	natsPort       int
	client, server *actor.System
}

// roads of a world.
type roads uint8

const (
	direct roads = 1 << iota
	bus
)

func newWorld(t *testing.T, r roads, kinds ...*actor.Kind) *world {
	t.Helper()
	w := &world{t: t, natsDir: t.TempDir()}
	reg := static.New()
	var serverRoads, clientRoads []transport.Transport
	if r&bus != 0 {
		w.startNATS()
		t.Cleanup(func() { w.nats.Shutdown() })
		serverRoads = append(serverRoads, w.onBus())
		clientRoads = append(clientRoads, w.onBus())
	}
	var listening *tcp.Transport
	if r&direct != 0 {
		w.proxy = newProxy(t)
		listening = tcp.New(tcp.Config{Listen: "127.0.0.1:0", Advertise: w.proxy.addr()})
		serverRoads = append(serverRoads, listening)
		clientRoads = append(clientRoads, tcp.New(tcp.Config{}))
	}
	w.server = start(t, actor.Config{Name: "server", Transports: serverRoads, Registry: reg, Kinds: kinds})
	if listening != nil {
		w.proxy.forward(listening.Addr().String())
	}
	w.client = start(t, actor.Config{Name: "client", Transports: clientRoads, Registry: reg})
	return w
}

func start(t *testing.T, cfg actor.Config) *actor.System {
	t.Helper()
	cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	sys, err := actor.NewSystem(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := sys.Shutdown(ctx); err != nil {
			t.Errorf("shutting %s down: %v", sys.Name(), err)
		}
	})
	return sys
}

// startNATS starts the server, on the same port and store as before if it ran before.
func (w *world) startNATS() {
	w.t.Helper()
	srv, err := embedded.Start(embedded.Config{StoreDir: w.natsDir, Port: w.natsPort})
	if err != nil {
		w.t.Fatal(err)
	}
	w.nats = srv
	w.natsPort = srv.Server().Addr().(*net.TCPAddr).Port
}

func (w *world) onBus() transport.Transport {
	w.t.Helper()
	nc, err := natsbus.Connect(w.t.Context(), w.nats.URL())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(nc.Close)
	return natsbus.New(nc, natsbus.Config{})
}

// proxy forwards TCP bytes until it is told to cut.
type proxy struct {
	listener net.Listener
	owned    sync.WaitGroup

	mu     sync.Mutex // guards what follows
	target string
	conns  map[*net.TCPConn]bool
	refuse bool
}

func newProxy(t *testing.T) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, conns: map[*net.TCPConn]bool{}}
	p.owned.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.cut()
		p.owned.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) forward(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

func (p *proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		target, refuse := p.target, p.refuse
		p.mu.Unlock()
		s, err := net.Dial("tcp", target)
		if err != nil || refuse {
			c.Close()
			if s != nil {
				s.Close()
			}
			continue
		}
		client, server := c.(*net.TCPConn), s.(*net.TCPConn)
		p.mu.Lock()
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		p.owned.Go(func() { p.pass(server, client) })
		p.owned.Go(func() { p.pass(client, server) })
	}
}

func (p *proxy) pass(dst, src *net.TCPConn) {
	io.Copy(dst, src)
	dst.Close()
	src.Close()
	p.mu.Lock()
	delete(p.conns, src)
	p.mu.Unlock()
}

// cut resets all connections and returns how many there were.
func (p *proxy) cut() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.conns) / 2
	for c := range p.conns {
		c.SetLinger(0)
		c.Close()
	}
	return n
}

// close resets all connections, and refuses new ones until open.
func (p *proxy) close() {
	p.mu.Lock()
	p.refuse = true
	p.mu.Unlock()
	p.cut()
}

func (p *proxy) open() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = false
}
