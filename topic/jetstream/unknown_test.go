package jetstream_test

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/topic"
	"github.com/tandem-go/tandem/topic/jetstream"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// relay stands between a client and a server. It passes all requests on, but can keep the answers back.
type relay struct {
	url  string
	to   string
	mute atomic.Bool // what the server says is thrown away

	mu    sync.Mutex // guards what follows
	conns []net.Conn
}

func startRelay(t *testing.T, port int) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	r := &relay{url: "nats://" + l.Addr().String(), to: (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}).String()}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", r.to)
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
	t.Cleanup(func() { l.Close(); r.cut(); all.Wait() })
	return r
}

// cut closes all connections.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		c.Close()
	}
	r.conns = nil
}

// speak ends the silence, also of who has begun to connect during it.
func (r *relay) speak() {
	r.mute.Store(false)
	r.cut()
}

// answers writes to the client, unless the relay is mute.
type answers struct {
	r  *relay
	to io.Writer
}

func (a answers) Write(b []byte) (int, error) {
	if a.r.mute.Load() {
		return len(b), nil
	}
	return a.to.Write(b)
}

// The connection is cut when the server has stored the message, and before the publisher has the answer.
// If the connection comes back, Publish learns that the message is stored, once; otherwise its verdict is
// Unknown.
func TestAnswerLost(t *testing.T) {
	for _, back := range []bool{true, false} {
		name := map[bool]string{true: "the connection comes back", false: "it does not"}[back]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t, embedded.Config{})
			direct := connect(t, server)
			r := startRelay(t, server.Port())
			nc, err := nats.Connect(r.url, nats.ReconnectWait(20*time.Millisecond), nats.ReconnectBufSize(-1), nats.MaxReconnects(-1), nats.IgnoreDiscoveredServers())
			ok(t, err)
			t.Cleanup(nc.Close)
			js, err := natsjs.New(nc)
			ok(t, err)
			sys := system(t, open(t, js, jetstream.Config{}))
			publish(t, sys, "orders.a", 1)

			r.mute.Store(true)
			result := make(chan error)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() { result <- actor.Publish(ctx, Orders.Bind(sys).At("orders.a"), Order{2}) }()
			for streamOf(t, direct).CachedInfo().State.Msgs < 2 {
				time.Sleep(time.Millisecond)
			}
			r.cut()
			if back {
				r.speak()
				ok(t, <-result)
			} else {
				cancel()
				if err := <-result; rpc.Ran(err) != rpc.Unknown || rpc.CodeOf(err) != rpc.Canceled {
					t.Errorf("%v, verdict %v", err, rpc.Ran(err))
				}
				r.speak()
			}
			if n := streamOf(t, direct).CachedInfo().State.Msgs; n != 2 {
				t.Errorf("%d messages are stored, want 2", n)
			}
			seen := make(chan got, 4)
			spawn(t, sys, "clerk", seen, nil, topic.FromStart())
			want(t, "orders", take(t, seen, 2), upTo(2))
		})
	}
}
