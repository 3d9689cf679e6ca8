package tcp_test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-go/tandem/test/certs"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/tcp"
	"github.com/tandem-go/tandem/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	transporttest.Run(t, transporttest.Config{
		Network: func(testing.TB) func() transport.Transport {
			return func() transport.Transport { return tcp.New(tcp.Config{Listen: "127.0.0.1:0"}) }
		},
		Backpressure: true,
		Greet:        greet,
	})
}

func TestConformanceTLS(t *testing.T) {
	ca := certs.New(t)
	transporttest.Run(t, transporttest.Config{
		Network: func(t testing.TB) func() transport.Transport {
			return func() transport.Transport {
				return tcp.New(tcp.Config{Listen: "127.0.0.1:0", TLS: ca.Mutual(t, "node"), Token: "secret", IsNode: anyNode})
			}
		},
		Backpressure: true,
	})
}

// anyNode is for certificates that name no node.
func anyNode(tls.ConnectionState, string) bool { return true }

// patience bounds every wait in these tests.
const patience = 20 * time.Second

func local(node string) transport.Local {
	return transport.Local{Cluster: "test", Node: node, Epoch: "epoch-" + node, Logger: slog.New(slog.DiscardHandler)}
}

// sink is a Receiver that counts, and tells how its link ended.
type sink struct {
	got    chan uint64
	closed chan error
}

func newSink() *sink { return &sink{got: make(chan uint64, 1<<16), closed: make(chan error, 1)} }

func (s *sink) Receive(e *transport.Envelope) { s.got <- e.Seq }
func (s *sink) Drained()                      {}
func (s *sink) Flush()                        {}
func (s *sink) Disturbed()                    {}
func (s *sink) Closed(err error)              { s.closed <- err }

func wait[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("waited %v for %s", patience, what)
		panic("unreachable")
	}
}

// accepted is a link that a server accepted.
type accepted struct {
	transport.Link
	*sink
}

// serve starts a transport for node "b".
func serve(t testing.TB, cfg tcp.Config) (to transport.Endpoint, links chan accepted) {
	t.Helper()
	tr := tcp.New(cfg)
	links = make(chan accepted, 64)
	addr, err := tr.Start(t.Context(), local("b"), func(l transport.Link) transport.Receiver {
		s := newSink()
		links <- accepted{l, s}
		return s
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return transport.Endpoint{Node: "b", Addr: addr}, links
}

// dialler starts a transport for node "a" that only dials.
func dialler(t testing.TB, cfg tcp.Config) *tcp.Transport {
	t.Helper()
	tr := tcp.New(cfg)
	if addr, err := tr.Start(t.Context(), local("a"), nil); err != nil || addr != "" {
		t.Fatalf("start: %q, %v", addr, err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

func dial(t testing.TB, tr *tcp.Transport, to transport.Endpoint) (transport.Link, *sink, error) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s := newSink()
	l, err := tr.Dial(ctx, to, func(transport.Link) transport.Receiver { return s })
	return l, s, err
}

// raw opens a bare socket to a server.
func raw(t testing.TB, to transport.Endpoint) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", to.Addr)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { c.Close() })
	return c
}

func framed(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
}

func readFramed(t testing.TB, c net.Conn) []byte {
	t.Helper()
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		t.Fatalf("no answer: %v", err)
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatalf("cut answer: %v", err)
	}
	return b
}

// greet sends h over a bare socket and returns the answer.
func greet(t testing.TB, to transport.Endpoint, h transport.Hello) transport.Welcome {
	t.Helper()
	return greetOn(t, raw(t, to), h)
}

func greetOn(t testing.TB, c net.Conn, h transport.Hello) transport.Welcome {
	t.Helper()
	if _, err := c.Write(framed(h.Append(nil))); err != nil {
		t.Fatal(err)
	}
	w, err := transport.ParseWelcome(readFramed(t, c))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// rawLink is a bare socket with a link of "a" to the server established on it.
func rawLink(t testing.TB, to transport.Endpoint, links chan accepted) (net.Conn, accepted) {
	t.Helper()
	c := raw(t, to)
	if w := introduce(t, c, transport.Greet(local("a"), to)); w.Err() != nil {
		t.Fatal(w.Err())
	}
	return c, wait(t, "accepted link", links)
}

// introduce does the whole greeting on c, which begins with h.
func introduce(t testing.TB, c net.Conn, h transport.Hello) transport.Welcome {
	t.Helper()
	h.Nonce = transport.NewNonce()
	w := greetOn(t, c, h)
	if w.Err() == nil {
		proven(t, c, h, w)
	}
	return w
}

// proven goes on with a greeting after the welcome.
func proven(t testing.TB, c net.Conn, h transport.Hello, w transport.Welcome) {
	t.Helper()
	hello, welcome := h.Append(nil), w.Append(nil)
	if _, err := c.Write(framed(transport.Prove("", true, hello, welcome).Append(nil))); err != nil {
		t.Fatal(err)
	}
	p, err := transport.ParseProof(readFramed(t, c))
	if err == nil {
		err = p.Check("", false, hello, welcome)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// ended waits until the other side ends the connection.
func ended(t testing.TB, c net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); err != nil {
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			t.Fatal("connection stays open")
		}
	}
}
