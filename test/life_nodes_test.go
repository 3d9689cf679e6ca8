package test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/actortest"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/topic"
	"github.com/tandem-go/tandem/topic/jetstream"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/tcp"
)

// lifeNodes are the nodes of a site: n0 is there, n1 is here, n2 may be left, killed and started again.
type lifeNodes interface {
	system(node int) *actor.System
	leave() error // of n2
	kill()        // n2, with no goodbye
	again()       // a new start of n2
	cut()         // the road in use
}

const (
	nodeThere = iota
	nodeHere
	nodeGuest
)

// memoryNodes are nodes in a bubble, on roads in memory.
type memoryNodes struct {
	c    *actortest.Cluster
	lost actortest.Road
}

func newMemoryNodes(s *site) *memoryNodes {
	names := map[roads]actortest.Road{direct: actortest.Direct, bus: actortest.Bus}
	m := &memoryNodes{lost: names[s.column.lost]}
	topics := new(actortest.Topics)
	cfg := actortest.ClusterConfig{Nodes: s.count(), Seed: 1, Config: func(_ *actortest.Node, c *actor.Config) {
		s.configure(c)
		c.Topics = topics
	}}
	for road, name := range names {
		if s.column.roads&road != 0 {
			cfg.Roads = append(cfg.Roads, name)
		}
	}
	m.c = actortest.NewCluster(s.T, cfg)
	return m
}

func (m *memoryNodes) system(node int) *actor.System { return m.c.Node(node).System() }
func (m *memoryNodes) leave() error                  { return m.c.Node(nodeGuest).Stop() }
func (m *memoryNodes) kill()                         { m.c.Node(nodeGuest).Kill() }
func (m *memoryNodes) again()                        { m.c.Node(nodeGuest).Start() }
func (m *memoryNodes) cut()                          { m.c.Cut(m.lost, nil, nil); m.c.Reset(m.lost, nil, nil) }

// realNodes are nodes on sockets, with a real NATS server. Others reach each of them by TCP through a
// proxy; but if there is a guest, the node here only dials, so that a guest that is killed cannot reach it.
type realNodes struct {
	s   *site
	reg *static.Registry
	w   *world // its NATS server
	all [nodeGuest + 1]realNode

	noBus bool // the NATS server was stopped

	topics topic.Store
}

type realNode struct {
	sys   *actor.System
	proxy *proxy
	nc    *nats.Conn
}

func newRealNodes(s *site) *realNodes {
	r := &realNodes{s: s, reg: static.New(), w: &world{t: s.T, natsDir: s.TempDir()}}
	if s.column.roads&bus != 0 {
		r.w.startNATS()
		s.Cleanup(func() { r.w.nats.Shutdown() })
	}
	r.topics = new(actortest.Topics)
	if s.hasTopics && s.column.roads&bus != 0 && s.column.lost != bus { // a store that is lost is another matter
		r.topics = r.openTopics()
	}
	for node := range s.count() {
		r.start(node)
	}
	return r
}

// openTopics opens a store of durable topics in NATS.
func (r *realNodes) openTopics() topic.Store {
	nc, err := r.w.nats.Connect()
	if err != nil {
		r.s.Fatal(err)
	}
	r.s.Cleanup(nc.Close)
	js, err := natsjs.New(nc)
	if err != nil {
		r.s.Fatal(err)
	}
	store, err := jetstream.Open(r.s.ctx, js, jetstream.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		r.s.Fatal(err)
	}
	r.s.Cleanup(store.Close)
	return store
}

func (r *realNodes) start(node int) {
	t, n := r.s.T, &r.all[node]
	cfg := actor.Config{Name: fmt.Sprint("n", node), Registry: r.reg, Topics: r.topics}
	r.s.configure(&cfg)
	if r.s.column.roads&direct != 0 {
		var c tcp.Config
		if node != nodeHere || !r.s.hasGuest {
			n.proxy = newProxy(t)
			c = tcp.Config{Listen: "127.0.0.1:0", Advertise: n.proxy.addr()}
		}
		road := tcp.New(c)
		cfg.Transports = append(cfg.Transports, road)
		cfg.Setup = func(*actor.System) error {
			if n.proxy != nil {
				n.proxy.forward(road.Addr().String())
			}
			return nil
		}
	}
	if r.s.column.roads&bus != 0 {
		nc, err := natsbus.Connect(t.Context(), r.w.nats.URL())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		n.nc = nc
		cfg.Transports = append(cfg.Transports, transport.Transport(natsbus.New(nc, natsbus.Config{})))
	}
	sys, err := actor.NewSystem(cfg)
	if err != nil {
		t.Fatal(err)
	}
	n.sys = sys
	t.Cleanup(func() { // its roads may be lost, so it may have to give up
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = sys.Shutdown(ctx)
	})
}

func (r *realNodes) system(node int) *actor.System { return r.all[node].sys }

func (r *realNodes) leave() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return r.all[nodeGuest].sys.Shutdown(ctx)
}

func (r *realNodes) kill() {
	n := &r.all[nodeGuest]
	if n.proxy != nil {
		n.proxy.close()
	}
	if n.nc != nil {
		n.nc.Close()
	}
	if err := r.reg.Evict(r.s.ctx, n.sys.Name(), n.sys.Epoch()); err != nil {
		r.s.Fatal(err)
	}
}

func (r *realNodes) again() {
	if r.noBus { // it cannot start without
		r.w.startNATS()
	}
	r.start(nodeGuest)
}

func (r *realNodes) cut() {
	if r.s.column.lost == bus {
		r.noBus = true
		r.w.nats.Shutdown()
		return
	}
	for _, n := range r.all {
		if n.proxy != nil {
			n.proxy.close()
		}
	}
}
