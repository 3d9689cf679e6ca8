package actor_test

// Clusters in a bubble whose systems can be killed and restarted.

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport/memnet"
)

// addresses is a registry that keeps a node's record until its next start.
type addresses struct{ *static.Registry }

func (addresses) Deregister(context.Context, string, string, []byte) error { return nil }

func (r addresses) Register(ctx context.Context, n registry.Node) error {
	if old, err := r.Lookup(ctx, n.Name); err == nil && old.Epoch != n.Epoch {
		if err := r.Registry.Deregister(ctx, old.Name, old.Epoch, nil); err != nil {
			return err
		}
	}
	return r.Registry.Register(ctx, n)
}

func (r addresses) Update(ctx context.Context, n registry.Node) error {
	if old, err := r.Lookup(ctx, n.Name); err == nil && old.Epoch == n.Epoch && len(old.Services) > 0 && len(n.Services) == 0 {
		return nil // a killed node keeps its services in its record
	}
	return r.Registry.Update(ctx, n)
}

// cluster is a number of systems in a bubble that can be killed and restarted.
type cluster struct {
	t     *testing.T
	net   *memnet.Network
	nodes addresses
	roads []string
}

// clusters runs a test in a bubble with an empty cluster whose systems have the given roads.
func clusters(t *testing.T, roads []string, run func(t *testing.T, c *cluster)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		run(t, &cluster{t, memnet.New(memnet.Config{Seed: 1}), addresses{static.New()}, roads})
	})
}

// onEachRoad runs a test with a direct road, with a bus, and with both.
func onEachRoad(t *testing.T, run func(t *testing.T, c *cluster)) {
	t.Helper()
	for _, roads := range [][]string{{"direct"}, {"bus"}, {"direct", "bus"}} {
		t.Run(strings.Join(roads, "+"), func(t *testing.T) { clusters(t, roads, run) })
	}
}

// start starts a system, whose configuration change may change. The system is shut down at
// the end of the test; an error of that shutdown is ignored, because the system may have been
// killed.
func (c *cluster) start(name string, change ...func(*actor.Config)) *actor.System {
	c.t.Helper()
	synctest.Wait()
	cfg := actor.Config{Name: name, Registry: c.nodes, Logger: quiet}
	for _, road := range c.roads {
		cfg.Transports = append(cfg.Transports, c.net.Transport(road, road == "direct"))
	}
	for _, fn := range change {
		fn(&cfg)
	}
	sys, err := actor.NewSystem(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = sys.Shutdown(c.t.Context()) })
	return sys
}

// kill ends a system as if its process were killed: nothing that it still sends or stores
// arrives. store may be nil.
func (c *cluster) kill(sys *actor.System, store *disk) {
	if store != nil {
		store.unplug()
	}
	c.net.Partition("", sys.Name(), "")
	c.net.Reset("", sys.Name(), "")
	ctx, cancel := context.WithCancel(c.t.Context())
	cancel()
	_ = sys.Shutdown(ctx)
	c.net.Heal("", sys.Name(), "")
}

// mute holds back all that b sends from now on, so that a kill loses it.
func (c *cluster) mute(b *actor.System) { c.net.Hold("", b.Name(), "") }

// moment is long enough for messages and records that are outstanding to arrive.
const moment = 100 * time.Millisecond
