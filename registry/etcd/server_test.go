package etcd_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/etcd"
	"github.com/tandem-go/tandem/test/ports"
)

// server is an etcd server of the test, which can be stopped and started again.
type server struct {
	testing.TB
	dir          string
	client, peer int // ports
	running      *embed.Etcd
}

func startServer(t testing.TB) *server {
	t.Helper()
	s := &server{TB: t, dir: t.TempDir(), client: ports.Free(), peer: ports.Free()}
	s.start()
	t.Cleanup(s.stop)
	return s
}

func (s *server) start() {
	s.Helper()
	cfg := embed.NewConfig()
	cfg.Dir, cfg.LogLevel, cfg.UnsafeNoFsync = s.dir, "panic", true
	cfg.BcryptCost = 4 // quick, also with the race detector
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	at := func(port int) []url.URL { return []url.URL{{Scheme: "http", Host: fmt.Sprint("127.0.0.1:", port)}} }
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = at(s.client), at(s.client)
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = at(s.peer), at(s.peer)
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		s.Fatal(err)
	}
	s.running = e
	select {
	case <-e.Server.ReadyNotify():
	case err := <-e.Err():
		s.Fatal(err)
	case <-time.After(30 * time.Second):
		s.Fatal("etcd does not start")
	}
}

func (s *server) stop() {
	if s.running != nil {
		s.running.Server.HardStop() // at once: a graceful stop lets leases end meanwhile
		s.running.Close()
		s.running = nil
	}
}

// wipe has the server lose its data, while it is stopped.
func (s *server) wipe() { s.dir = s.TempDir() }

// dial returns a client of the server.
func (s *server) dial(change ...func(*clientv3.Config)) *clientv3.Client {
	s.Helper()
	cfg := clientv3.Config{Endpoints: []string{fmt.Sprint("127.0.0.1:", s.client)}, Logger: zap.NewNop()}
	for _, f := range change {
		f(&cfg)
	}
	c, err := clientv3.New(cfg)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { c.Close() })
	return c
}

func open(t testing.TB, c *clientv3.Client, cfg etcd.Config) *etcd.Registry {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	r, err := etcd.New(within(t, 30*time.Second), c, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// faulty is a server in the hands of the suite.
type faulty struct {
	*server
	hand *clientv3.Client // by which somebody writes
}

func (f *faulty) Addr() string { return fmt.Sprint("127.0.0.1:", f.client) }
func (f *faulty) Stop()        { f.stop() }
func (f *faulty) Start()       { f.start() }
func (f *faulty) Wipe()        { f.wipe() }

func (f *faulty) Open(t *testing.T, addr string, lease time.Duration, log *slog.Logger) registry.Registry {
	t.Helper()
	c := f.dial(func(cfg *clientv3.Config) { cfg.Endpoints = []string{addr} })
	return open(t, c, etcd.Config{Lease: lease, Logger: log})
}

func (f *faulty) Drop(name string) {
	f.Helper()
	got, err := f.hand.Get(f.Context(), "tandem/nodes/"+name)
	if err == nil {
		_, err = f.hand.Revoke(f.Context(), clientv3.LeaseID(got.Kvs[0].Lease))
	}
	if err != nil {
		f.Fatal(err)
	}
}

func (f *faulty) Spoil(name string, value []byte) {
	f.Helper()
	if _, err := f.hand.Put(f.Context(), "tandem/nodes/"+name, string(value)); err != nil {
		f.Fatal(err)
	}
}
