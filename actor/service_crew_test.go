package actor_test

// A service with four instances for the tests of balancing.

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Toil is answered with the node of the instance that handled it, after the time that this
// instance takes.
type Toil struct {
	actor.Returns[string]
	Key string
}

// crewWork is how long an instance normally takes for a request.
const crewWork = 10 * time.Millisecond

// crew is a service with 4 instances, on nodes s0 to s3, and a client.
type crew struct {
	t      *testing.T
	net    *memnet.Network
	reg    *careless
	client *actor.System
	nodes  []*actor.System
	works  [4]atomic.Int64 // how long each takes, in nanoseconds
	served [4]atomic.Int64
	events <-chan actor.Event
}

// careless is a registry that does not hear of it when a node in crashed leaves, as if the
// node had crashed.
type careless struct {
	registry.Registry
	crashed sync.Map
}

func (c *careless) Deregister(ctx context.Context, name, epoch string, last []byte) error {
	if _, ok := c.crashed.Load(name); ok {
		return nil
	}
	return c.Registry.Deregister(ctx, name, epoch, last)
}

// Update ignores that a crashed node removes its services, too.
func (c *careless) Update(ctx context.Context, n registry.Node) error {
	if _, ok := c.crashed.Load(n.Name); ok && len(n.Services) == 0 {
		return nil
	}
	return c.Registry.Update(ctx, n)
}

// withCrew runs a test with a crew in a bubble. Each message takes half a millisecond.
func withCrew(t *testing.T, run func(t *testing.T, c *crew), opts ...actor.SpawnOption) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		c := &crew{t: t, net: memnet.New(memnet.Config{Seed: 1}), reg: &careless{Registry: static.New()}}
		c.net.SetFaults("", "", "", memnet.Faults{MinDelay: time.Millisecond / 2, MaxDelay: time.Millisecond / 2})
		c.client = c.start("a")
		for i := range 4 {
			c.works[i].Store(int64(crewWork))
			c.nodes = append(c.nodes, c.start(fmt.Sprint("s", i)))
			spawn(t, c.nodes[i], "worker", c.kind(i), append(opts, actor.Expose("crew"))...)
		}
		c.events = c.client.Events(t.Context())
		synctest.Wait()
		run(t, c)
	})
}

// start starts a node of the crew.
func (c *crew) start(name string) *actor.System {
	cfg := actor.Config{Name: name, Registry: c.reg, Logger: quiet, RPC: rpc.Limits{MaxBody: 1 << 20}}
	for _, road := range []string{"direct", "bus"} {
		cfg.Transports = append(cfg.Transports, c.net.Transport(road, road == "direct"))
	}
	return newSystem(c.t, cfg)
}

// kind returns the kind of instance i.
func (c *crew) kind(i int) *actor.Kind {
	return actor.Define("test.crew", func() int { return i }, actor.Answer(func(i int, ctx *actor.Context, m Toil) (string, error) {
		c.served[i].Add(1)
		select {
		case <-time.After(time.Duration(c.works[i].Load())):
		case <-ctx.Done():
		}
		return fmt.Sprint("s", i), nil
	}))
}

// calls makes 1,000 calls from 4 callers. It returns how many were slow, how many failed, and
// how many requests each instance had.
func (c *crew) calls() (slow int, failed []error, served [4]int64) {
	var before [4]int64
	for i := range before {
		before[i] = c.served[i].Load()
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 250 {
				began := time.Now()
				_, err := actor.Call(c.t.Context(), c.client.Service("crew"), Toil{})
				mu.Lock()
				if took := time.Since(began); took > slowCall {
					slow++
					c.t.Logf("slow: %v", took)
				}
				if err != nil {
					failed = append(failed, err)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	for i := range served {
		served[i] = c.served[i].Load() - before[i]
	}
	return slow, failed, served
}

// changes returns the events of instances until now.
func (c *crew) changes() (ejected, back int) {
	synctest.Wait()
	for len(c.events) > 0 {
		switch e := <-c.events; {
		case e.Service != "crew":
		case e.Type == actor.InstanceEjected:
			ejected++
		case e.Type == actor.InstanceBack:
			back++
		}
	}
	return ejected, back
}

// A call of the crew that takes longer than slowCall counts as slow.
const slowCall = 8 * crewWork
