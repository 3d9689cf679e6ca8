package natskv_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/registry/registrytest"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// outage is two clients, each with a connection of its own, and a server to stop.
type outage struct {
	*testing.T
	ctx      context.Context
	cfg      embedded.Config
	srv      *embedded.Server
	a, b     *natskv.Registry
	events   <-chan registry.Event // of b
	lost     chan struct{}         // gets a token for each connection that breaks
	restored chan struct{}         // gets a token for each that comes back
}

func newOutage(t *testing.T, lease time.Duration) *outage {
	o := &outage{
		T:        t,
		ctx:      within(t, 60*time.Second),
		cfg:      embedded.Config{StoreDir: t.TempDir(), SyncAlways: true},
		lost:     make(chan struct{}, 16),
		restored: make(chan struct{}, 16),
	}
	o.srv = start(t, o.cfg)
	o.cfg.Port = o.srv.Port()
	opts := []nats.Option{
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // the default one prints
		nats.DisconnectErrHandler(func(*nats.Conn, error) { o.lost <- struct{}{} }),
		nats.ReconnectHandler(func(*nats.Conn) { o.restored <- struct{}{} }),
	}
	cfg := natskv.Config{Lease: lease}
	o.a, o.b = open(t, connect(t, o.srv, opts...), cfg), open(t, connect(t, o.srv, opts...), cfg)
	var err error
	if o.events, err = o.b.Watch(o.ctx); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *outage) stop() {
	o.Helper()
	o.srv.Shutdown()
	o.both(o.lost)
}

func (o *outage) restart() {
	o.Helper()
	o.srv = start(o.T, o.cfg)
	o.Cleanup(func() { o.a.Close(); o.b.Close() }) // before the server stops
	o.both(o.restored)
}

func (o *outage) both(tokens <-chan struct{}) {
	o.Helper()
	for range 2 {
		select {
		case <-tokens:
		case <-o.ctx.Done():
			o.Fatal("the connections did not notice")
		}
	}
}

func (o *outage) register(n registry.Node) {
	o.Helper()
	if err := o.a.Register(o.ctx, n); err != nil {
		o.Fatal(err)
	}
}

func (o *outage) expect(change registry.Change, n registry.Node) {
	o.Helper()
	e, open := <-o.events
	if !open || e.Change != change || !e.Node.Equal(n) {
		o.Fatalf("got %v %+v (open: %v), want %v %+v", e.Change, e.Node, open, change, n)
	}
}

// served checks that b serves want, and that its watcher got no event.
func (o *outage) served(want registry.Node) {
	o.Helper()
	if got, err := o.b.Lookup(o.ctx, want.Name); err != nil || !got.Equal(want) {
		o.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	select {
	case e := <-o.events:
		o.Errorf("told %v %+v", e.Change, e.Node)
	default:
	}
}

// While NATS is away, the cache answers, nothing expires, and what needs NATS fails at once.
func TestAway(t *testing.T) {
	t.Parallel()
	o := newOutage(t, time.Second)
	n := registrytest.Node("n", "e1", "x")
	o.register(n)
	o.expect(registry.Joined, n)
	o.stop()
	began := time.Now()
	for what, f := range map[string]func() error{
		"register":   func() error { return o.a.Register(o.ctx, n) },
		"renew":      func() error { return o.a.Renew(o.ctx, "n", "e1") },
		"deregister": func() error { return o.a.Deregister(o.ctx, "n", "e1", nil) },
		"evict":      func() error { return o.b.Evict(o.ctx, "n", "e1") },
		"lookup":     func() error { _, err := o.b.Lookup(o.ctx, "other"); return err },
	} {
		if err := f(); !errors.Is(err, registry.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", what, err)
		}
	}
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("it took %v to say that NATS is away", d)
	}
	// The test is that time passes and nothing happens.
	<-time.After(2500 * time.Millisecond)
	o.served(n)
	if nodes, err := o.b.Nodes(o.ctx); err != nil || len(nodes) != 1 {
		t.Errorf("nodes: %v, %v", nodes, err)
	}
}

// The server comes back with its store, within the lease. Everything works again, and later changes
// are seen.
func TestRestart(t *testing.T) {
	o := newOutage(t, 30*time.Second)
	n, m := registrytest.Node("n", "e1", "x"), registrytest.Node("m", "e1", "x")
	o.register(n)
	o.expect(registry.Joined, n)
	for range 2 {
		o.stop()
		o.restart()
		back := time.Now()
		if err := o.a.Renew(o.ctx, "n", "e1"); err != nil {
			t.Fatal(err)
		}
		o.register(m)
		o.expect(registry.Joined, m)
		if d := time.Since(back); d > 5*time.Second { // nats.go by itself takes 10 s
			t.Errorf("the watch came back %v after the connection", d)
		}
		if err := o.a.Deregister(o.ctx, "m", "e1", nil); err != nil {
			t.Fatal(err)
		}
		o.expect(registry.Left, m)
		o.served(n)
	}
}

// All leases end while the server is down. A node that lives registers again, and no watcher gets an
// event about it. A dead one is reported as expired a lease later.
func TestMassExpiryIsNotBelieved(t *testing.T) {
	t.Parallel()
	const lease = 2 * time.Second
	o := newOutage(t, lease)
	alive, moved, dead := registrytest.Node("alive", "e1", "x"), registrytest.Node("moved", "e1", "x"), registrytest.Node("dead", "e1", "x")
	for _, n := range []registry.Node{alive, moved, dead} {
		o.register(n)
		o.expect(registry.Joined, n)
	}
	o.stop()
	<-time.After(lease + 500*time.Millisecond) // until the leases have ended
	o.restart()
	back := time.Now()

	kv, err := connect(t, o.srv).KeyValue(o.ctx, "tandem_nodes")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"alive", "moved", "dead"} {
		for err = nil; err == nil; { // the server may need a moment to find that the leases have ended
			_, err = kv.Get(o.ctx, name)
		}
		if !errors.Is(err, jetstream.ErrKeyNotFound) {
			t.Fatal(err)
		}
	}
	if err := o.a.Renew(o.ctx, "alive", "e1"); !errors.Is(err, registry.ErrLost) {
		t.Fatalf("renew after the lease ended: %v", err)
	}
	o.served(dead)
	o.register(alive)
	o.served(alive)
	after := registrytest.Node("moved", "e2", "y")
	o.register(after)
	o.expect(registry.Joined, after)
	renew := time.NewTicker(lease / 4)
	defer renew.Stop()
	for {
		select {
		case <-renew.C:
			for name, epoch := range map[string]string{"alive": "e1", "moved": "e2"} {
				if err := o.a.Renew(o.ctx, name, epoch); err != nil {
					t.Fatal(err)
				}
			}
			continue
		case e := <-o.events:
			if e.Change != registry.Expired || !e.Node.Equal(dead) {
				t.Fatalf("got %v %+v, want dead to expire", e.Change, e.Node)
			}
		}
		break
	}
	if d := time.Since(back); d < lease-100*time.Millisecond {
		t.Errorf("believed %v after the reconnect", d)
	}
	o.served(alive)
	o.served(after)
}

// The server comes back without its store. The bucket is recreated, nodes register again, and their
// records have lower revisions than before.
func TestStoreIsLost(t *testing.T) {
	const lease = 3 * time.Second
	o := newOutage(t, lease)
	n, gone := registrytest.Node("n", "e1", "x"), registrytest.Node("gone", "e1", "x")
	for range 20 {
		o.register(n)
	}
	o.expect(registry.Joined, n)
	o.register(gone)
	o.expect(registry.Joined, gone)
	o.stop()
	o.cfg.StoreDir = t.TempDir()
	o.restart()
	changed := registrytest.Node("n", "e1", "y")
	for { // until one of the clients has recreated the bucket, for which there is no event
		err := o.a.Register(o.ctx, changed)
		if err == nil {
			break
		}
		if !errors.Is(err, registry.ErrUnavailable) {
			t.Fatal(err)
		}
		<-time.After(10 * time.Millisecond)
	}
	o.expect(registry.Updated, changed)
	o.served(gone)
	if err := o.b.Evict(o.ctx, "gone", "e1"); err != nil { // somebody knows that it is dead
		t.Fatal(err)
	}
	o.expect(registry.Left, gone)
	o.served(changed)
}
