package servers

import (
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// Relay stands between clients and a server, on TCP. It passes all requests on, but it can keep the answers
// back, and cut the connections. It may be used concurrently.
type Relay struct {
	url  string
	mute atomic.Bool // what the server says is thrown away

	mu    sync.Mutex // guards what follows
	conns []net.Conn
}

// Between starts a relay in front of a server.
func Between(t testing.TB, s *embedded.Server) *Relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r, to := &Relay{url: "nats://" + l.Addr().String()}, net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port()))
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				client.Close()
				continue
			}
			r.mu.Lock()
			r.conns = append(r.conns, client, server)
			r.mu.Unlock()
			all.Go(func() { _, _ = io.Copy(server, client); server.Close() })
			all.Go(func() { _, _ = io.Copy(answers{r, client}, server); client.Close() })
		}
	})
	t.Cleanup(func() { l.Close(); r.Cut(); all.Wait() })
	return r
}

// Connect opens a connection of its own through the relay. It comes back soon after a cut.
func (r *Relay) Connect(t testing.TB) natsjs.JetStream {
	t.Helper()
	nc, err := nats.Connect(r.url, nats.ReconnectWait(20*time.Millisecond), nats.ReconnectBufSize(-1), nats.MaxReconnects(-1), nats.IgnoreDiscoveredServers(),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // the default one prints
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// Cut closes all connections.
func (r *Relay) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		c.Close()
	}
	r.conns = nil
}

// Mute throws away what the server says, until Speak.
func (r *Relay) Mute() { r.mute.Store(true) }

// Speak ends the silence, and cuts the connections: something is missing in what they have passed on.
func (r *Relay) Speak() {
	r.mute.Store(false)
	r.Cut()
}

// answers writes to the client, unless the relay is mute.
type answers struct {
	r  *Relay
	to io.Writer
}

func (a answers) Write(b []byte) (int, error) {
	if a.r.mute.Load() {
		return len(b), nil
	}
	return a.to.Write(b)
}
