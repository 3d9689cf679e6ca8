// Package servers has NATS servers for tests: one, or a cluster of three whose servers can be stopped
// and started; a relay that cuts connections; and a JetStream that loses messages and answers. All of it
// is real, in the test's process, and ends with the test.
package servers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/test/ports"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// Start starts a server. It can be started again at the same port.
func Start(t testing.TB, cfg embedded.Config) *embedded.Server {
	t.Helper()
	if cfg.Port == 0 {
		cfg.Port = ports.Free()
	}
	s, err := embedded.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

// Connect opens a connection of its own to a server.
func Connect(t testing.TB, s *embedded.Server, opts ...nats.Option) natsjs.JetStream {
	t.Helper()
	opts = append([]nats.Option{nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})}, opts...) // the default one prints
	nc, err := s.Connect(opts...)
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

// Within returns a context that ends after d, or with the test.
func Within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// Cluster is three servers that know one another, named n0, n1 and n2. It belongs to one goroutine.
type Cluster struct {
	Servers []*embedded.Server
	t       testing.TB
	cfgs    []embedded.Config
}

// Three starts a cluster. In short mode, it skips the test.
func Three(t testing.TB) *Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a cluster of three")
	}
	c := &Cluster{t: t}
	between, routes := make([]int, 3), make([]string, 3)
	for i := range between {
		between[i] = ports.Free()
		routes[i] = fmt.Sprintf("nats://127.0.0.1:%d", between[i])
	}
	for i, port := range between {
		cfg := embedded.Config{
			Name:     fmt.Sprintf("n%d", i),
			StoreDir: t.TempDir(),
			Cluster:  &embedded.ClusterConfig{Name: "c", Port: port, Routes: routes},
		}
		s := Start(t, cfg)
		cfg.Port = s.Port()
		c.Servers, c.cfgs = append(c.Servers, s), append(c.cfgs, cfg)
	}
	return c
}

// Stop stops one of the servers.
func (c *Cluster) Stop(i int) { c.Servers[i].Shutdown() }

// Again starts a server that was stopped, at its port and with what it has stored, and waits until
// it has all that the leader of a stream has: otherwise no majority might have everything if another
// one stops.
func (c *Cluster) Again(ctx context.Context, i int, stream string) {
	c.t.Helper()
	c.Servers[i] = Start(c.t, c.cfgs[i])
	c.until(ctx, "the server has not caught up", func() bool {
		return c.Servers[i].Server().JetStreamIsStreamCurrent("$G", stream)
	})
}

// Wipe deletes the files of a server that was stopped.
func (c *Cluster) Wipe(i int) {
	c.t.Helper()
	files, err := filepath.Glob(filepath.Join(c.cfgs[i].StoreDir, "*"))
	for _, f := range files {
		err = errors.Join(err, os.RemoveAll(f))
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// Leader returns which server leads a stream.
func (c *Cluster) Leader(ctx context.Context, stream string) (leader int) {
	c.t.Helper()
	c.until(ctx, "no leader", func() bool {
		for i, s := range c.Servers {
			if s.Server().JetStreamIsStreamLeader("$G", stream) {
				leader = i
				return true
			}
		}
		return false
	})
	return leader
}

// until waits until a server says so.
func (c *Cluster) until(ctx context.Context, otherwise string, done func() bool) {
	c.t.Helper()
	for !done() {
		select {
		case <-ctx.Done():
			c.t.Fatal(otherwise)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// StepDown makes the leader of a stream step down. It tries again while there is none: then a server may say so,
// or nobody answers.
func StepDown(ctx context.Context, js natsjs.JetStream, stream string) error {
	for {
		step, cancel := context.WithTimeout(ctx, 2*time.Second)
		m, err := js.Conn().RequestWithContext(step, "$JS.API.STREAM.LEADER.STEPDOWN."+stream, nil)
		cancel()
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
				continue
			}
			return err
		}
		var said struct{ Error *natsjs.APIError }
		if err := json.Unmarshal(m.Data, &said); err != nil || said.Error == nil {
			return err
		}
	}
}

// Recreate deletes a stream and creates it again, empty, with the configuration that it had or, if change is
// not nil, what change makes of it. It is what an operator does.
func Recreate(ctx context.Context, js natsjs.JetStream, name string, change func(*natsjs.StreamConfig)) error {
	s, err := js.Stream(ctx, name)
	if err != nil {
		return err
	}
	if err := js.DeleteStream(ctx, name); err != nil {
		return err
	}
	cfg := s.CachedInfo().Config
	if change != nil {
		change(&cfg)
	}
	return Settled(ctx, func() error {
		_, err := js.CreateStream(ctx, cfg)
		return err
	})
}

// Settled calls create, which creates a stream, until the server has done with the deletion of the one before:
// after its answer to that it removes the folder of all streams, if it is empty. A stream that is created just
// then is refused, one in about a thousand.
func Settled(ctx context.Context, create func() error) error {
	for {
		err := create()
		var said *natsjs.APIError
		if !errors.As(err, &said) || said.ErrorCode != codeCreate || said.Description != "error creating store for stream" {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Millisecond):
		}
	}
}

const codeCreate = 10049 // of any stream that cannot be created
