package natsbus_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// protected starts a server that accepts only user "u", with the given password.
func protected(t *testing.T, port int, password string) *embedded.Server {
	t.Helper()
	return startServer(t, embedded.Config{Port: port, Configure: func(o *server.Options) { o.Username, o.Password = "u", password }})
}

// A password that is wrong for a while ends no connection, neither that of Connect nor that of an
// embedded server.
func TestWrongPasswordForAWhile(t *testing.T) {
	var mu sync.Mutex // guards refused
	refused := map[*nats.Conn]int{}
	back, enough := make(chan struct{}, 2), make(chan struct{}, 1)
	opts := []nats.Option{
		nats.UserInfo("u", "right"),
		nats.ReconnectWait(20 * time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.ReconnectHandler(func(*nats.Conn) { back <- struct{}{} }),
		nats.ErrorHandler(func(nc *nats.Conn, _ *nats.Subscription, err error) {
			if !errors.Is(err, nats.ErrAuthorization) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			refused[nc]++
			n := 0
			for _, times := range refused {
				if times >= 4 { // nats.go gives up after two of them
					n++
				}
			}
			if n == 2 {
				select {
				case enough <- struct{}{}:
				default:
				}
			}
		}),
	}
	srv := protected(t, 0, "right")
	port := srv.Port()
	first, err := natsbus.Connect(t.Context(), srv.URL(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := srv.Connect(opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	srv.Shutdown()
	srv = protected(t, port, "wrong")
	select {
	case <-enough:
	case <-time.After(patience):
		t.Fatalf("refused: %v; the connections are %v and %v", refused, first.Status(), second.Status())
	}
	srv.Shutdown()
	protected(t, port, "right")
	for range 2 {
		select {
		case <-back:
		case <-time.After(patience):
			t.Fatalf("the connections are %v and %v", first.Status(), second.Status())
		}
	}
}

// lockedBuffer keeps what is logged.
type lockedBuffer struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// Connect and Start wait for a server that is started later.
func TestConnectBeforeTheServer(t *testing.T) {
	srv := startServer(t, embedded.Config{})
	cfg, url := embedded.Config{Port: srv.Port()}, srv.URL()
	srv.Shutdown()
	begun := make(chan struct{})
	connected := make(chan error, 1)
	go func() {
		close(begun)
		nc, err := natsbus.Connect(t.Context(), url)
		if err == nil {
			nc.Close()
		}
		connected <- err
	}()
	<-begun
	early, err := nats.Connect(url, nats.ReconnectBufSize(-1), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	road := natsbus.New(early, natsbus.Config{})
	var log lockedBuffer
	started := make(chan error, 1)
	go func() {
		_, err := road.Start(t.Context(), transport.Local{Cluster: "test", Node: "a", Epoch: "e", Logger: slog.New(slog.NewTextHandler(&log, nil))}, nil)
		started <- err
	}()
	startServer(t, cfg)
	if err := <-connected; err != nil {
		t.Error(err)
	}
	if err := <-started; err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "waiting for NATS: no connection to NATS"); n > 1 {
		t.Errorf("said %d times what it waited for", n)
	}
	road.Close()
}

// If no server comes, the error says so when ctx ends.
func TestConnectGivesUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := natsbus.Connect(ctx, "nats://127.0.0.1:1")
	if d := time.Since(began); d < 300*time.Millisecond || d > 3*time.Second {
		t.Errorf("it took %v", d)
	}
	if !errors.Is(err, natsbus.ErrNotConnected) || !errors.Is(err, nats.ErrNoServers) || !strings.Contains(err.Error(), "no NATS server answers, still after") {
		t.Errorf("got %v", err)
	}
	lost, err := nats.Connect("nats://127.0.0.1:1", nats.ReconnectBufSize(-1), nats.RetryOnFailedConnect(true))
	if err != nil {
		t.Fatal(err)
	}
	defer lost.Close()
	ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = natsbus.New(lost, natsbus.Config{}).Start(ctx, transport.Local{Cluster: "test", Node: "a", Epoch: "e", Logger: slog.New(slog.DiscardHandler)}, nil)
	if !errors.Is(err, natsbus.ErrNotConnected) || !strings.Contains(err.Error(), "see that a NATS server runs") {
		t.Errorf("start: %v", err)
	}
}

// If a connection is closed for good, that is logged once, as an error.
func TestClosedForGood(t *testing.T) {
	srv := startServer(t, embedded.Config{})
	nc := connect(t, srv.URL())
	log := new(lockedBuffer)
	road := natsbus.New(nc, natsbus.Config{})
	if _, err := road.Start(t.Context(), transport.Local{Cluster: "test", Node: "a", Epoch: "e", Logger: slog.New(slog.NewTextHandler(log, nil))}, nil); err != nil {
		t.Fatal(err)
	}
	nc.Close()
	for deadline := time.Now().Add(patience); !strings.Contains(log.String(), "level=ERROR"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("logged:\n%s", log)
		}
	}
	road.Close()
	if n := strings.Count(log.String(), "closed for good"); n != 1 {
		t.Errorf("logged:\n%s", log)
	}
}

// A connection that does not receive its own messages is refused for that, and not for its
// permissions.
func TestNoEcho(t *testing.T) {
	srv := startServer(t, embedded.Config{})
	_, err := natsbus.New(connect(t, srv.URL(), nats.NoEcho()), natsbus.Config{}).Start(t.Context(),
		transport.Local{Cluster: "test", Node: "a", Epoch: "e", Logger: slog.New(slog.DiscardHandler)}, nil)
	if !errors.Is(err, natsbus.ErrNoEcho) || errors.Is(err, natsbus.ErrPermissions) {
		t.Errorf("got %v", err)
	}
}

// If a node may not publish to a peer, the error says so, and not that nobody answers.
func TestMayNotPublishToPeer(t *testing.T) {
	t.Parallel()
	srv := startServer(t, embedded.Config{Configure: func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "free"},
			{Username: "a", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Allow: []string{"test.node.a.>"}}}},
		}
	}})
	b := startBus(t, connect(t, srv.URL(), nats.UserInfo("free", "")), "b", natsbus.Config{})
	a := startBus(t, connect(t, srv.URL(), nats.UserInfo("a", "")), "a", natsbus.Config{})
	for _, to := range []transport.Endpoint{b.end, {Node: "b"}} {
		began := time.Now()
		if _, err := a.dial(t, to); !errors.Is(err, transport.ErrDenied) || errors.Is(err, transport.ErrNoPeer) {
			t.Errorf("%+v: %v", to, err)
		}
		if d := time.Since(began); d > 4*time.Second {
			t.Errorf("it took %v", d)
		}
	}
}
