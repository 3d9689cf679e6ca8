package redis_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tandem-go/tandem/registry"
	tandemredis "github.com/tandem-go/tandem/registry/redis"
	"github.com/tandem-go/tandem/test/ports"
)

// server is a Redis server of the test, a process that can be killed and started again.
type server struct {
	testing.TB
	dir     string
	addr    string
	port    int
	args    []string
	process *exec.Cmd
	hand    *redis.Client // by which somebody writes
}

func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	s := &server{TB: t, dir: t.TempDir(), port: ports.Free(), args: args}
	s.addr = fmt.Sprint("127.0.0.1:", s.port)
	s.hand = s.dial()
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

func (s *server) Addr() string { return s.addr }

// Start starts the server, and waits until it answers.
func (s *server) Start() {
	s.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		s.Fatalf("these tests need redis-server on the PATH (Debian and Ubuntu: apt-get install redis-server): %v", err)
	}
	args := append([]string{"--port", fmt.Sprint(s.port), "--bind", "127.0.0.1", "--dir", s.dir, "--appendonly", "yes", "--save", ""}, s.args...)
	s.process = exec.Command(path, args...)
	if err := s.process.Start(); err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		err := s.hand.Ping(ctx).Err()
		if err == nil || redis.IsAuthError(err) {
			return
		}
		if ctx.Err() != nil {
			s.Fatalf("redis-server does not answer: %v", err)
		}
		<-time.After(10 * time.Millisecond) // a server that is not there yet has no event
	}
}

// Stop kills the server.
func (s *server) Stop() {
	if s.process != nil {
		_ = s.process.Process.Kill()
		_ = s.process.Wait()
		s.process = nil
	}
}

func (s *server) Wipe() { s.dir = s.TempDir() }

func (s *server) Drop(name string) {
	s.Helper()
	if n, err := s.hand.Del(s.Context(), "tandem:{tandem}:node:"+name).Result(); err != nil || n != 1 {
		s.Fatal(n, err)
	}
}

// Spoil writes a record as another program would, that knows the scheme but not the contents.
func (s *server) Spoil(name string, value []byte) {
	s.Helper()
	const script = `local p = 'tandem:{tandem}:'
local rev = redis.call('HINCRBY', p .. 'state', 'rev', 1)
redis.call('HSET', p .. 'node:' .. ARGV[1], 'rev', rev, 'value', ARGV[2])
redis.call('ZADD', p .. 'changes', rev, ARGV[1])
return rev`
	if err := s.hand.Eval(s.Context(), script, nil, name, value).Err(); err != nil {
		s.Fatal(err)
	}
}

// dial returns a client of the server.
func (s *server) dial(change ...func(*redis.Options)) *redis.Client {
	o := &redis.Options{Addr: s.addr}
	for _, f := range change {
		f(o)
	}
	c := redis.NewClient(o)
	s.Cleanup(func() { c.Close() })
	return c
}

func (s *server) Open(t *testing.T, addr string, lease time.Duration, log *slog.Logger) registry.Registry {
	t.Helper()
	return open(t, s.dial(func(o *redis.Options) { o.Addr = addr }), tandemredis.Config{Lease: lease, Logger: log})
}

func open(t testing.TB, c redis.UniversalClient, cfg tandemredis.Config) *tandemredis.Registry {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	r, err := tandemredis.New(within(t, 30*time.Second), c, cfg)
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
