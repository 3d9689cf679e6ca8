package jetstream_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/queue/jetstream"
	"github.com/tandem-go/tandem/test/ports"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// cluster is three NATS servers, each of which can be stopped and started.
type cluster struct {
	t       testing.TB
	cfg     [3]embedded.Config
	servers [3]*embedded.Server
	urls    []string
}

// startCluster starts all three in this process.
func startCluster(t testing.TB) *cluster {
	t.Helper()
	c := planCluster(t)
	t.Cleanup(func() {
		for i := range c.servers {
			c.stop(i)
		}
	})
	for i := range c.servers {
		c.start(i)
	}
	return c
}

// planCluster chooses ports and folders, and starts nothing.
func planCluster(t testing.TB) *cluster {
	t.Helper()
	c := &cluster{t: t}
	var routes []string
	for i := range c.cfg {
		client, route := ports.Free(), ports.Free()
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", route))
		c.urls = append(c.urls, fmt.Sprintf("nats://127.0.0.1:%d", client))
		c.cfg[i] = embedded.Config{Name: fmt.Sprint("n", i), Port: client, StoreDir: t.TempDir(),
			Cluster: &embedded.ClusterConfig{Name: "queue-test", Port: route}}
	}
	for i := range c.cfg {
		c.cfg[i].Cluster.Routes = routes
	}
	return c
}

func (c *cluster) start(i int) {
	c.t.Helper()
	s, err := embedded.Start(c.cfg[i])
	if err != nil {
		c.t.Error(err)
		return
	}
	c.servers[i] = s
}

func (c *cluster) stop(i int) {
	if c.servers[i] != nil {
		c.servers[i].Shutdown()
		c.servers[i] = nil
	}
}

// connect connects to any of the servers that are there.
func (c *cluster) connect() natsjs.JetStream {
	c.t.Helper()
	nc, err := nats.Connect(strings.Join(c.urls, ","), nats.ReconnectBufSize(-1), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond),
		nats.ReconnectJitter(20*time.Millisecond, 20*time.Millisecond), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	ok(c.t, err)
	c.t.Cleanup(nc.Close)
	js, err := natsjs.New(nc)
	ok(c.t, err)
	return js
}

// connectTo connects to one server only.
func (c *cluster) connectTo(i int) natsjs.JetStream {
	c.t.Helper()
	return connect(c.t, c.servers[i])
}

// leader returns the server that leads a stream.
func (c *cluster) leader(js natsjs.JetStream, stream string) int {
	c.t.Helper()
	for began := time.Now(); time.Since(began) < 30*time.Second; time.Sleep(20 * time.Millisecond) {
		if s, err := js.Stream(c.t.Context(), stream); err == nil && s.CachedInfo().Cluster != nil {
			var i int
			if n, _ := fmt.Sscanf(s.CachedInfo().Cluster.Leader, "n%d", &i); n == 1 {
				return i
			}
		}
	}
	c.t.Fatal("the stream has no leader")
	return 0
}

func replicated(t testing.TB, js natsjs.JetStream, cfg queue.Config) *jetstream.Queue {
	t.Helper()
	q, err := jetstream.Open(t.Context(), js, jetstream.Config{Name: "jobs", Replicas: 3, StartWait: time.Minute, Queue: cfg, Logger: slog.New(slog.DiscardHandler)})
	ok(t, err)
	t.Cleanup(q.Close)
	return q
}

func serveQueue(t testing.TB, sys *actor.System, q *jetstream.Queue) actor.Ref {
	t.Helper()
	ref, err := sys.Spawn("jobs", actor.StoredQueueKind[Work]("test.jobs", q))
	ok(t, err)
	return ref
}

// stored returns how many items are in the stream.
func stored(t testing.TB, js natsjs.JetStream) int {
	t.Helper()
	for began := time.Now(); time.Since(began) < 30*time.Second; time.Sleep(20 * time.Millisecond) {
		if s, err := js.Stream(t.Context(), "tandem_queue_jobs"); err == nil {
			return int(s.CachedInfo().State.Msgs)
		}
	}
	t.Fatal("the stream is not there")
	return 0
}

// A push cannot be confirmed, because the stream's leader has lost the other servers. While
// the leader still tries, the push does not count as refused. In the end the item is stored
// once.
func TestPushWhileStreamHasNoMajority(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	js := c.connect()
	replicated(t, js, queue.Config{})
	at := c.leader(js, "tandem_queue_jobs")
	q := serveQueue(t, system(t), replicated(t, c.connectTo(at), queue.Config{}))
	for i := range c.servers {
		if i != at {
			c.stop(i)
		}
	}
	pushed := make(chan error)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	go func() { pushed <- actor.Push(ctx, q, Work{1}) }()
	select {
	case err := <-pushed:
		t.Fatalf("without a majority: %v", err)
	case <-time.After(2500 * time.Millisecond): // so that it is published a second time
	}
	for i := range c.servers {
		if i != at {
			c.start(i)
		}
	}
	ok(t, <-pushed)
	if n := stored(t, js); n != 1 {
		t.Errorf("%d items are stored, want 1", n)
	}
}
