package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tandem-go/tandem/test/ports"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func start(t *testing.T, cfg embedded.Config) *embedded.Server {
	t.Helper()
	if cfg.Port == 0 {
		cfg.Port = ports.Free() // it may be started again there
	}
	s, err := embedded.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

func connect(t *testing.T, s *embedded.Server, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := s.Connect(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func jets(t *testing.T, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestServesJetStreamAndForgets(t *testing.T) {
	s := start(t, embedded.Config{})
	nc := connect(t, s)
	if nc.Opts.ReconnectBufSize != -1 || nc.Opts.MaxReconnect != -1 {
		t.Errorf("reconnect buffer %d, reconnects %d; want -1, -1", nc.Opts.ReconnectBufSize, nc.Opts.MaxReconnect)
	}
	ctx := within(t, 10*time.Second)
	kv, err := jets(t, nc).CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "b"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(ctx, "k", "v"); err != nil {
		t.Fatal(err)
	}
	dir := s.Server().StoreDir()
	if _, err := os.Stat(dir); err != nil {
		t.Fatal(err)
	}
	s.Shutdown()
	s.Shutdown()
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("store folder after Shutdown: %v, want it gone", err)
	}
}

func TestRestartKeepsWhatItStored(t *testing.T) {
	cfg := embedded.Config{StoreDir: t.TempDir(), SyncAlways: true}
	s := start(t, cfg)
	back := make(chan struct{}, 1)
	nc := connect(t, s, nats.ReconnectHandler(func(*nats.Conn) { back <- struct{}{} }))
	ctx := within(t, 20*time.Second)
	kv, err := jets(t, nc).CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "b"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(ctx, "k", "v"); err != nil {
		t.Fatal(err)
	}
	cfg.Port = s.Port()
	s.Shutdown()
	start(t, cfg)
	select {
	case <-back:
	case <-ctx.Done():
		t.Fatal("the connection did not come back")
	}
	e, err := kv.Get(ctx, "k")
	if err != nil || string(e.Value()) != "v" {
		t.Fatalf("after the restart: %v, %v", e, err)
	}
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	began := time.Now()
	for _, cfg := range []embedded.Config{
		{Port: port},
		{Name: "a", Cluster: &embedded.ClusterConfig{Name: "c", Port: port}},
	} {
		_, err = embedded.Start(cfg)
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("got %v, want EADDRINUSE", err)
		}
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
}

// A child process that is being started has a copy of the sockets that its parent closes, for a moment.
func TestPortInUseForAMoment(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	held, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if l, err := net.Listen("tcp", l.Addr().String()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("the copy does not hold the port: %v, %v", l, err)
	}
	time.AfterFunc(100*time.Millisecond, func() { held.Close() })
	start(t, embedded.Config{Port: port})
}

// If the server only logs an error, Start must fail at once nevertheless.
func TestFatalComplaint(t *testing.T) {
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, err := embedded.Start(embedded.Config{StoreDir: file})
	if err == nil || !strings.Contains(err.Error(), "JetStream") {
		t.Errorf("got %v, want JetStream's complaint", err)
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestConfigure(t *testing.T) {
	var text strings.Builder // the handler locks it; read once the server is down
	s := start(t, embedded.Config{
		MaxPayload: 4096,
		Logger:     slog.New(slog.NewTextHandler(&text, nil)),
		Configure:  func(o *server.Options) { o.Username, o.Password = "u", "p" },
	})
	if _, err := s.Connect(); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("without a password: %v, want ErrAuthorization", err)
	}
	nc := connect(t, s, nats.UserInfo("u", "p"))
	if nc.MaxPayload() != 4096 {
		t.Errorf("max payload %d", nc.MaxPayload())
	}
	nc.Close()
	s.Shutdown()
	if !strings.Contains(text.String(), "Listening for client connections") {
		t.Errorf("log:\n%s", text.String())
	}
}

func TestClusterOfThree(t *testing.T) {
	between, routes := make([]int, 3), make([]string, 3)
	for i := range between {
		between[i] = ports.Free()
		routes[i] = fmt.Sprintf("nats://127.0.0.1:%d", between[i])
	}
	var nc *nats.Conn
	for i, port := range between {
		s := start(t, embedded.Config{
			Name:    fmt.Sprintf("n%d", i),
			Cluster: &embedded.ClusterConfig{Name: "c", Port: port, Routes: routes},
		})
		if i == 0 {
			nc = connect(t, s)
		}
	}
	ctx := within(t, 30*time.Second)
	js := jets(t, nc)
	for { // until a majority is connected, for which a connection gets no event
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err := js.CreateKeyValue(try, jetstream.KeyValueConfig{Bucket: "b", Replicas: 3})
		cancel()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func TestClusterNeedsNames(t *testing.T) {
	if _, err := embedded.Start(embedded.Config{Cluster: &embedded.ClusterConfig{Port: 1}}); err == nil {
		t.Error("no error")
	}
}
