package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/dedup"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport/memnet"
)

const memoryGroup = "memory, with the stacks of goroutines"

// How many things are weighed together. Requests fit into one window.
const (
	weighedNodes    = 50
	weighedRequests = 4000
	weighings       = 3
)

// weights measures what things hold in memory.
func weights(actors int) []figure {
	return slices.Concat(
		weigh(func() ([]float64, error) {
			s := spawns{actors, spawnTandem}.measure(0)
			return []float64{s.values[bytesPerActor]}, s.err
		}, "an idle actor"),
		weigh(weighNodes, "a system with TCP that talks to nobody", "a TCP link with its session, both ends"),
		weigh(weighRequests, "a request under way, both ends", "a record on the server: a request answered with 64 bytes, not acked"),
		weigh(weighTable, "of a record, the part in the dedup table"),
	)
}

// weigh repeats a measurement that finds the bytes of each of the names.
func weigh(measure func() ([]float64, error), names ...string) []figure {
	values := make([][]float64, len(names))
	var failed error
	for range weighings {
		found, err := measure()
		if err != nil {
			failed = err
			break
		}
		for i, v := range found {
			values[i] = append(values[i], v)
		}
	}
	figures := make([]figure, len(names))
	for i, name := range names {
		figures[i] = found(memoryGroup, name, "B", values[i], failed)
	}
	return figures
}

// weighNodes finds what a node holds that has talked to nobody, and how much more a
// link between two of them.
func weighNodes() ([]float64, error) {
	before := heap()
	c, err := star(tcpRoad)(nil, weighedNodes)
	if err != nil {
		return nil, err
	}
	defer c.stop()
	apart := heap()
	if err := c.greet(); err != nil {
		return nil, err
	}
	linked := heap()
	return []float64{float64(apart-before) / (weighedNodes + 1), float64(linked-apart) / weighedNodes}, nil
}

// clerk puts all answers off until it is told.
type clerk struct {
	waiting []*actor.Deferred[echoed]
	came    chan struct{} // closed when all did
}

// release has a clerk answer all.
type release struct{ actor.Returns[int] }

func (c *clerk) echo(ctx *actor.Context, q echo) (echoed, error) {
	c.waiting = append(c.waiting, actor.Defer[echoed](ctx))
	if len(c.waiting) == weighedRequests {
		close(c.came)
	}
	return echoed{}, nil
}

func (c *clerk) release(*actor.Context, release) (int, error) {
	for _, d := range c.waiting {
		if err := d.Answer(echoed{Data: make([]byte, 64)}); err != nil {
			return 0, err
		}
	}
	n := len(c.waiting)
	c.waiting = nil
	return n, nil
}

// weighRequests finds what a request holds that waits for its answer: the future, the
// window's entry, the record and what is to answer it. And what the server holds of one
// that was answered, while its client's acks do not come through.
func weighRequests() ([]float64, error) {
	net, names := memnet.New(memnet.Config{}), static.New()
	client, err := nodeNamed("client", net.Transport("mem", true), names)
	if err != nil {
		return nil, err
	}
	defer down(client)()
	server, err := nodeNamed("server", net.Transport("mem", true), names)
	if err != nil {
		return nil, err
	}
	defer down(server)()
	came := make(chan struct{})
	kind := actor.Define("bench.clerk", func() *clerk { return &clerk{came: came} }, actor.Answer((*clerk).echo), actor.Answer((*clerk).release))
	near, err := server.Spawn("clerk", kind)
	if err != nil {
		return nil, err
	}
	ctx, ref, data := context.Background(), client.Ref("clerk@server"), make([]byte, 64)
	futures := make([]*rpc.Future[echoed], 0, weighedRequests)
	before := heap()
	for range weighedRequests {
		futures = append(futures, actor.Ask(ctx, ref, echo{Data: data}))
	}
	select {
	case <-came:
	case <-time.After(timeout):
		return nil, fmt.Errorf("not all of %d requests came", weighedRequests)
	}
	waiting := heap()
	net.PartitionOneWay("mem", "client", "server")
	defer net.Heal("mem", "client", "server")
	if _, err := actor.Call(ctx, near, release{}); err != nil {
		return nil, err
	}
	for i, f := range futures {
		if _, err := f.Await(ctx); err != nil {
			return nil, err
		}
		futures[i] = nil
	}
	kept := heap()
	return []float64{float64(waiting-before) / weighedRequests, float64(kept-before) / weighedRequests}, nil
}

// weighTable finds what an outstanding request holds in a table by itself.
func weighTable() ([]float64, error) {
	before := heap()
	t, rec := dedup.New[*payload](0), new(payload)
	for seq := range uint64(weighedRequests) {
		_, slot := t.Admit(seq+1, 1)
		*slot = rec
	}
	after := heap()
	runtime.KeepAlive(t)
	return []float64{float64(after-before) / weighedRequests}, nil
}
