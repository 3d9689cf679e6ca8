package natsbus_test

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/tandem-go/tandem/test/ports"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/transporttest"
)

// patience is how long a test waits for something before it fails.
const patience = 20 * time.Second

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", strconv.Itoa(max(8, runtime.GOMAXPROCS(0)))) // most tests wait most of the time
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			slog.Error("goroutines left", "err", err)
			code = 1
		}
	}
	os.Exit(code)
}

func startServer(t testing.TB, cfg embedded.Config) *embedded.Server {
	t.Helper()
	if cfg.Port == 0 {
		cfg.Port = ports.Free() // it may be started again there
	}
	srv, err := embedded.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Shutdown)
	return srv
}

func connect(t testing.TB, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	quiet := nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}) // the default one prints
	nc, err := natsbus.Connect(t.Context(), url, append(opts, quiet)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// bus is a node's road, with what is needed to dial it.
type bus struct {
	*natsbus.Transport
	nc       *nats.Conn
	local    transport.Local
	end      transport.Endpoint
	accepted chan *end
	prepare  func(*end) // runs before an end is open
}

// end is one end of a link and its receiver.
type end struct {
	transport.Link
	t testing.TB
	// on, if set, gets every envelope instead of the list.
	on func(*transport.Envelope)

	mu        sync.Mutex // guards what follows
	got       []uint64   // numbers of the envelopes
	disturbed int
	closed    error
	changed   chan struct{} // closed and replaced by every event
}

func (e *end) event(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f()
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *end) Receive(env *transport.Envelope) {
	if e.on != nil {
		e.on(env)
		return
	}
	seq := env.Seq
	e.event(func() { e.got = append(e.got, seq) })
}
func (e *end) Drained()         { e.event(func() {}) }
func (e *end) Flush()           {}
func (e *end) Disturbed()       { e.event(func() { e.disturbed++ }) }
func (e *end) Closed(err error) { e.event(func() { e.closed = err }) }

// until waits until done, which runs under the lock, holds.
func (e *end) until(what string, done func() bool) {
	e.t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		e.mu.Lock()
		ok, changed := done(), e.changed
		e.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			e.t.Fatalf("waited %v for %s; got %d, disturbed %d, closed %v", patience, what, len(e.got), e.disturbed, e.closed)
		}
	}
}

func (e *end) untilGot(n int) []uint64 {
	e.t.Helper()
	e.until("envelopes", func() bool { return len(e.got) >= n })
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.got)
}

func (e *end) untilClosed() error {
	e.t.Helper()
	e.until("Closed", func() bool { return e.closed != nil })
	return e.closed
}

func (e *end) untilDisturbed(n int) {
	e.t.Helper()
	e.until("Disturbed", func() bool { return e.disturbed >= n })
}

func (e *end) send(seq uint64) uint64 {
	e.t.Helper()
	at, err := e.Send(&transport.Envelope{Verb: transport.VerbTell, Seq: seq})
	if err != nil {
		e.t.Fatalf("send: %v", err)
	}
	return at
}

// startBus starts a node on nc in cluster "test".
func startBus(t testing.TB, nc *nats.Conn, node string, cfg natsbus.Config) *bus {
	t.Helper()
	return startBusWith(t, nc, node, cfg, nil)
}

// startKnowing starts a node b that gets its peers' keys from lookup.
func startKnowing(t testing.TB, nc *nats.Conn, lookup func(ctx context.Context, node, epoch string, anew bool) (string, error)) *bus {
	t.Helper()
	return startBusWith(t, nc, "b", natsbus.Config{}, lookup)
}

func startBusWith(t testing.TB, nc *nats.Conn, node string, cfg natsbus.Config, lookup func(ctx context.Context, node, epoch string, anew bool) (string, error)) *bus {
	t.Helper()
	b := &bus{Transport: natsbus.New(nc, cfg), nc: nc, accepted: make(chan *end, 64),
		local: transport.Local{Cluster: "test", Node: node, Epoch: "e-" + node, Logger: slog.New(slog.DiscardHandler), Lookup: lookup}}
	b.end = transport.Endpoint{Node: node, Epoch: b.local.Epoch}
	addr, err := b.Start(t.Context(), b.local, func(l transport.Link) transport.Receiver {
		e := b.newEnd(t, l)
		b.accepted <- e
		return e
	})
	if err != nil {
		t.Fatal(err)
	}
	b.end.Addr = addr
	t.Cleanup(func() { b.Close() })
	return b
}

func (b *bus) newEnd(t testing.TB, l transport.Link) *end {
	e := &end{Link: l, t: t, changed: make(chan struct{})}
	if b.prepare != nil {
		b.prepare(e)
	}
	return e
}

func (b *bus) dial(t testing.TB, to transport.Endpoint) (*end, error) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var e *end
	_, err := b.Dial(ctx, to, func(l transport.Link) transport.Receiver {
		e = b.newEnd(t, l)
		return e
	})
	return e, err
}

// link opens a link between two nodes and returns both ends.
func link(t testing.TB, a, b *bus) (from, to *end) {
	t.Helper()
	from, err := a.dial(t, b.end)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case to = <-b.accepted:
		return from, to
	case <-time.After(patience):
		t.Fatal("no link accepted")
		return nil, nil
	}
}

// pair starts nodes a and b on connections of their own to one server.
func pair(t testing.TB) (a, b *bus) {
	t.Helper()
	srv := startServer(t, embedded.Config{})
	return startBus(t, connect(t, srv.URL()), "a", natsbus.Config{}), startBus(t, connect(t, srv.URL()), "b", natsbus.Config{})
}

func TestConformance(t *testing.T) {
	srv := startServer(t, embedded.Config{})
	transporttest.Run(t, transporttest.Config{
		Greet: func(t testing.TB, to transport.Endpoint, h transport.Hello) transport.Welcome {
			r := newRaw(t, srv.URL(), h.Cluster, h.Node, h.Epoch+"-raw")
			h.Epoch += "-raw"
			return r.hail(to, "eve", id1, h)
		},
		Network: func(t testing.TB) func() transport.Transport {
			return func() transport.Transport { return natsbus.New(connect(t, srv.URL()), natsbus.Config{}) }
		},
	})
}

// One connection may carry several roads, here both nodes of each case, and the
// server may be in the process.
func TestConformanceInProcess(t *testing.T) {
	srv := startServer(t, embedded.Config{})
	transporttest.Run(t, transporttest.Config{
		Network: func(t testing.TB) func() transport.Transport {
			nc, err := srv.Connect(nats.ReconnectBufSize(-1))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(nc.Close)
			return func() transport.Transport { return natsbus.New(nc, natsbus.Config{}) }
		},
	})
}

func TestStartRefuses(t *testing.T) {
	srv := startServer(t, embedded.Config{})
	buffered, err := nats.Connect(srv.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer buffered.Close()
	closed := connect(t, srv.URL())
	closed.Close()
	good := transport.Local{Cluster: "test", Node: "a", Epoch: "e", Logger: slog.New(slog.DiscardHandler)}
	bad := good
	bad.Node = "a.b"
	for _, c := range []struct {
		name  string
		nc    *nats.Conn
		local transport.Local
		want  error
	}{
		{"reconnect buffer", buffered, good, natsbus.ErrReconnectBuffer},
		{"closed", closed, good, natsbus.ErrNotConnected},
		{"nil", nil, good, natsbus.ErrNotConnected},
		{"name", connect(t, srv.URL()), bad, nil},
	} {
		tr := natsbus.New(c.nc, natsbus.Config{})
		_, err := tr.Start(t.Context(), c.local, nil)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if err := tr.Close(); err != nil {
			t.Errorf("%s: close: %v", c.name, err)
		}
	}
}

func TestHandlersStayTheUsers(t *testing.T) {
	a, _ := pair(t)
	if a.nc.Opts.ClosedCB != nil || a.nc.Opts.ReconnectedCB != nil || a.nc.Opts.DisconnectedErrCB != nil {
		t.Error("the road installed handlers on the connection")
	}
	before := a.nc.NumSubscriptions()
	a.Close()
	if n := a.nc.NumSubscriptions(); before != 3 || n != 0 {
		t.Errorf("%d subscriptions while running, %d after Close, want 3 and 0", before, n)
	}
	if !a.nc.IsConnected() {
		t.Error("Close closed the user's connection")
	}
}
