package actor_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport/memnet"

	"github.com/tandem-go/tandem/test/bubble"
)

// A second start under the name of a live node is refused and does not affect the live node:
// its durable actors still serve requests.
func TestRefusedStartDisturbsNobody(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		c := &cluster{t: t, net: memnet.New(memnet.Config{Seed: 1}), roads: []string{"direct", "bus"}}
		reg, d, s := static.New(), new(disk), newShop()
		kept := func(cfg *actor.Config) { cfg.Registry = reg }
		a, b := c.start("a", kept), c.start("b", kept, d.config)
		spawn(t, b, "x", s.workers("b").With(actor.Durable()))
		call := func(name string) {
			t.Helper()
			if got, err := actor.Call(t.Context(), a.Ref("x@b"), Job{Name: name}); err != nil {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
		call("before")
		set := false
		cfg := actor.Config{Name: "b", Registry: reg, Logger: quiet, Setup: func(*actor.System) error { set = true; return nil }}
		for _, road := range c.roads {
			cfg.Transports = append(cfg.Transports, c.net.Transport(road, road == "direct"))
		}
		d.config(&cfg)
		if sys, err := actor.NewSystem(cfg); sys != nil || !errors.Is(err, registry.ErrTaken) || set {
			t.Fatalf("a second start: %v, %v, set up: %v", sys, err, set)
		}
		call("after")
		if n, err := reg.Lookup(t.Context(), "b"); err != nil || n.Epoch != b.Epoch() {
			t.Errorf("in the registry: %+v, %v", n, err)
		}
		if err := b.Err(); err != nil {
			t.Error(err)
		}
	})
}

// If another start takes over the records of a node, the node reports this and ends, and its
// process can see it. It does not take the name away from the other start.
func TestFencedNodeEnds(t *testing.T) {
	clusters(t, []string{"direct", "bus"}, func(t *testing.T, c *cluster) {
		d, s := new(disk), newShop()
		a, b := c.start("a"), c.start("b", d.config)
		spawn(t, b, "x", s.workers("b").With(actor.Durable()))
		events := b.Events(t.Context())
		if _, err := actor.Call(t.Context(), a.Ref("x@b"), Job{Name: "before"}); err != nil {
			t.Fatal(err)
		}
		b2 := c.start("b", d.config) // the registry of this cluster lets a second b start
		_, err := actor.Call(t.Context(), a.Ref("x@b"), Job{Name: "after"}, rpc.WithRetry(rpc.Retry{Attempts: 1}))
		wantErr(t, "at the fenced one", err, rpc.Unavailable, rpc.NotRun)
		<-b.Done()
		if err := b.Err(); !errors.Is(err, actor.ErrFenced) || !errors.Is(err, ledger.ErrFenced) {
			t.Errorf("it has ended: %v", err)
		}
		synctest.Wait()
		fenced := 0
		for e := range events {
			if e.Type == actor.NodeFenced && e.Peer == "b" && errors.Is(e.Err, actor.ErrFenced) {
				fenced++
			}
		}
		if fenced != 1 {
			t.Errorf("%d events", fenced)
		}
		if n, err := c.nodes.Lookup(t.Context(), "b"); err != nil || n.Epoch != b2.Epoch() {
			t.Errorf("in the registry: %+v, %v", n, err)
		}
		spawn(t, b2, "x", s.workers("b2").With(actor.Durable()))
		if got, err := actor.Call(t.Context(), a.Ref("x@b"), Job{Name: "at last"}); err != nil {
			t.Errorf("at the one that has the name: %q, %v", got, err)
		}
	})
}
