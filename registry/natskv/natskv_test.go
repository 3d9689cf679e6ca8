package natskv_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/registry/registrytest"
	"github.com/tandem-go/tandem/test/ports"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

func TestMain(m *testing.M) {
	// Most tests wait for NATS, so more of them run at the same time than there are
	// processors, unless -parallel is given.
	_ = flag.Set("test.parallel", strconv.Itoa(max(8, runtime.GOMAXPROCS(0))))
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

func connect(t *testing.T, s *embedded.Server, opts ...nats.Option) jetstream.JetStream {
	t.Helper()
	nc, err := s.Connect(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func open(t *testing.T, js jetstream.JetStream, cfg natskv.Config) *natskv.Registry {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	r, err := natskv.New(within(t, 30*time.Second), js, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestConformance(t *testing.T) {
	t.Parallel()
	s := start(t, embedded.Config{})
	clusters := 0
	registrytest.Run(t, registrytest.Config{
		New: func(t *testing.T, lease time.Duration) (a, b registry.Registry) {
			clusters++
			cfg := natskv.Config{Cluster: fmt.Sprintf("c%d", clusters), Lease: lease}
			return open(t, connect(t, s), cfg), open(t, connect(t, s), cfg)
		},
	})
}

func TestConfig(t *testing.T) {
	s := start(t, embedded.Config{})
	js := connect(t, s)
	ctx := within(t, 20*time.Second)
	for _, cfg := range []natskv.Config{{Cluster: "a.b"}, {Lease: time.Millisecond}, {Lease: -time.Second}} {
		if r, err := natskv.New(ctx, js, cfg); err == nil {
			r.Close()
			t.Errorf("%+v: no error", cfg)
		}
	}
	if r := open(t, js, natskv.Config{}); r.Lease() != natskv.DefaultLease {
		t.Errorf("default lease %v", r.Lease())
	}
	if r := open(t, js, natskv.Config{Lease: 1100 * time.Millisecond}); r.Lease() != 2*time.Second {
		t.Errorf("a lease of 1.1 s became %v: it must not end early", r.Lease())
	}
	if _, err := js.KeyValue(ctx, "tandem_nodes"); err != nil {
		t.Error(err)
	}
	// Without markers, records would never expire.
	if _, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "old_nodes"}); err != nil {
		t.Fatal(err)
	}
	if _, err := natskv.New(ctx, js, natskv.Config{Cluster: "old"}); err == nil || errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("a bucket without marker TTL: %v", err)
	}
	js.Conn().Close()
	if _, err := natskv.New(ctx, js, natskv.Config{}); !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("on a closed connection: %v", err)
	}
}

// A deleted key's marker must not stay in the bucket for ever, and a renewed record
// must keep its TTL.
func TestEverythingInTheBucketExpires(t *testing.T) {
	js := connect(t, start(t, embedded.Config{}))
	ctx := within(t, 20*time.Second)
	r := open(t, js, natskv.Config{Lease: 3 * time.Second})
	stream, err := js.Stream(ctx, "KV_tandem_nodes")
	if err != nil {
		t.Fatal(err)
	}
	ttl := func() string {
		t.Helper()
		m, err := stream.GetLastMsgForSubject(ctx, "$KV.tandem_nodes.n")
		if err != nil {
			t.Fatal(err)
		}
		return m.Header.Get(jetstream.MsgTTLHeader)
	}
	n := registrytest.Node("n", "e1", "x")
	if err := r.Register(ctx, n); err != nil || ttl() != "3s" {
		t.Errorf("register: %v, TTL %q", err, ttl())
	}
	if err := r.Renew(ctx, "n", "e1"); err != nil || ttl() != "3s" {
		t.Errorf("renew: %v, TTL %q", err, ttl())
	}
	if err := r.Register(ctx, n); err != nil || ttl() != "3s" {
		t.Errorf("register again: %v, TTL %q", err, ttl())
	}
	if err := r.Deregister(ctx, "n", "e1", nil); err != nil || ttl() != "10m0s" {
		t.Errorf("deregister: %v, TTL %q", err, ttl())
	}
	if err := r.Register(ctx, n); err != nil || ttl() != "3s" {
		t.Errorf("register over a marker: %v, TTL %q", err, ttl())
	}
}

// What others write into the bucket by hand does no harm.
func TestStrangeRecords(t *testing.T) {
	js := connect(t, start(t, embedded.Config{}))
	ctx := within(t, 20*time.Second)
	a := open(t, js, natskv.Config{})
	kv, err := js.KeyValue(ctx, "tandem_nodes")
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{"junk": "{", "other": `{"name":"n","epoch":"e"}`, "x.y": "{}", "empty": `{"name":"empty"}`} {
		if _, err := kv.PutString(ctx, key, value); err != nil {
			t.Fatal(err)
		}
	}
	n := registrytest.Node("n", "e1", "x")
	if err := a.Register(ctx, n); err != nil {
		t.Fatal(err)
	}
	b := open(t, js, natskv.Config{})
	for _, r := range []*natskv.Registry{a, b} {
		if nodes, err := r.Nodes(ctx); err != nil || len(nodes) != 1 || !nodes[0].Equal(n) {
			t.Errorf("got %v, %v", nodes, err)
		}
	}
	if err := a.Register(ctx, registrytest.Node("junk", "e1", "x")); err == nil {
		t.Error("a record that cannot be read was overwritten")
	}
	if _, err := a.Lookup(ctx, "no such.name"); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("lookup of an impossible name: %v", err)
	}
}

func TestClose(t *testing.T) {
	js := connect(t, start(t, embedded.Config{}))
	r := open(t, js, natskv.Config{})
	ctx := within(t, 20*time.Second)
	if err := r.Register(ctx, registrytest.Node("n", "e1", "x")); err != nil {
		t.Fatal(err)
	}
	events, err := r.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	r.Close()
	for range events { // closed
	}
	if _, err := r.Watch(ctx); !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("watch: %v", err)
	}
	if _, err := r.Lookup(ctx, "n"); err != nil {
		t.Error(err)
	}
	if err := r.Deregister(ctx, "n", "e1", nil); err != nil {
		t.Error(err)
	}
}
