package actor_test

import (
	"context"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport/memnet"
)

// A node that has left the cluster is away. Requests that are outstanding at it end at once
// with an unknown outcome. New requests wait for its return until their deadlines. A node
// that has never existed is not found.
func TestAway(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		c := &cluster{t: t, net: memnet.New(memnet.Config{Seed: 1}), nodes: addresses{static.New()}, roads: []string{"direct", "bus"}}
		forgets := func(cfg *actor.Config) { cfg.Registry = c.nodes.Registry }
		a, b := c.start("a", forgets), c.start("b") // when it is killed, its record stays until the test removes it
		s := newShop()
		spawn(t, b, "x", s.workers("b"))
		call := func(name string) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := actor.Call(ctx, a.Ref("x@b"), Job{Name: name})
			return err
		}
		if err := call("quick"); err != nil {
			t.Fatal(err)
		}
		under, began := make(chan error, 1), time.Now()
		go func() { under <- call("slow") }()
		time.Sleep(time.Second)
		c.kill(b, nil)
		if err := c.nodes.Registry.Deregister(t.Context(), "b", b.Epoch(), nil); err != nil {
			t.Fatal(err)
		}
		wantErr(t, "under way to a node that left", <-under, rpc.OutcomeUnknown, rpc.Unknown)
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("it took %v", d)
		}
		fresh := make(chan error, 1)
		go func() { fresh <- call("new") }()
		time.Sleep(100 * time.Millisecond)
		spawn(t, c.start("b", forgets), "x", s.workers("b2"))
		if err := <-fresh; err != nil {
			t.Errorf("while the node was away: %v", err)
		}
		_, err := actor.Call(t.Context(), a.Ref("x@nobody"), Job{})
		wantErr(t, "a node that never was", err, rpc.NotFound, rpc.NotRun)
	})
}
