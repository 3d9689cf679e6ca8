package main

import (
	"context"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/tcp"
)

// The messages that Tandem sends between nodes: as the peers', 64 bytes in a message
// type, encoded and decoded at each end.
type (
	echo struct {
		actor.Returns[echoed]
		Data []byte
	}
	echoed struct{ Data []byte }
	notice struct{ Data []byte }
	bulk   struct {
		actor.Returns[int]
		Data []byte
	}
)

func (echo) WireName() string   { return "bench.Echo" }
func (echoed) WireName() string { return "bench.Echoed" }
func (notice) WireName() string { return "bench.Notice" }
func (bulk) WireName() string   { return "bench.Bulk" }

// far is the actor on the other node.
type far struct {
	asked *tally
	told  *arrivals
}

func (f *far) echo(_ *actor.Context, m echo) (echoed, error) {
	f.asked.add()
	return echoed{m.Data}, nil
}
func (f *far) bulk(_ *actor.Context, m bulk) (int, error) { f.asked.add(); return len(m.Data), nil }
func (f *far) notice(*actor.Context, notice) error        { f.told.add(); return nil }

func farKind(asked *tally, told *arrivals) *actor.Kind {
	return actor.Define("bench.far", func() *far { return &far{asked, told} },
		actor.Answer((*far).echo), actor.Answer((*far).bulk), actor.Handle((*far).notice))
}

// nodes are two systems of this process that reach each other over one road.
type nodes struct {
	client, server *actor.System
	asked          *tally
	told           *arrivals
	kind           *actor.Kind
	conns          []func()
}

// joined starts both, configured as cfg. road makes each system's transport.
func joined(cfg actor.Config, road func() (transport.Transport, func(), error)) (*nodes, error) {
	n := &nodes{asked: new(tally), told: newArrivals()}
	n.kind = farKind(n.asked, n.told)
	registry := static.New()
	for name, sys := range map[string]**actor.System{"client": &n.client, "server": &n.server} {
		t, closeConn, err := road()
		if err != nil {
			return nil, err
		}
		n.conns = append(n.conns, closeConn)
		cfg.Name, cfg.Transports, cfg.Registry, cfg.Logger = name, []transport.Transport{t}, registry, quiet
		*sys, err = actor.NewSystem(cfg)
		if err != nil {
			return nil, err
		}
	}
	return n, nil
}

// spawn starts an actor on the server and returns the client's ref to it, after a first
// request has opened the link.
func (n *nodes) spawn(name string, opts ...actor.SpawnOption) (actor.Ref, error) {
	if _, err := n.server.Spawn(name, n.kind, opts...); err != nil {
		return actor.Ref{}, err
	}
	ref := n.client.Ref(name + "@server")
	_, err := actor.Call(context.Background(), ref, echo{Data: make([]byte, 64)})
	return ref, err
}

func (n *nodes) close() {
	down(n.client, n.server)()
	for _, c := range n.conns {
		c()
	}
}

func overTCP() (*nodes, error) { return overTCPWith(actor.Config{}) }

func overTCPWith(cfg actor.Config) (*nodes, error) {
	return joined(cfg, func() (transport.Transport, func(), error) {
		return tcp.New(tcp.Config{Listen: "127.0.0.1:0"}), func() {}, nil
	})
}

func overNATS(e *env) (*nodes, error) {
	url, err := e.natsURL()
	if err != nil {
		return nil, err
	}
	return joined(actor.Config{}, func() (transport.Transport, func(), error) {
		nc, err := natsbus.Connect(context.Background(), url)
		if err != nil {
			return nil, nil, err
		}
		return natsbus.New(nc, natsbus.Config{}), nc.Close, nil
	})
}

// asks makes a rig of callers to one actor that each send size bytes and get as many.
func (n *nodes) asks(callers, size int) (rig, error) {
	ref, err := n.spawn("far")
	if err != nil {
		return nil, err
	}
	ctx, data := context.Background(), make([]byte, size)
	return &asks{callers: callers, executed: n.asked, stop: n.close,
		do: func(int) error { return reply(actor.Call(ctx, ref, echo{Data: data})) }}, nil
}

// tells makes a rig of one producer to one actor.
func (n *nodes) tells() (rig, error) {
	ref, err := n.spawn("far")
	if err != nil {
		return nil, err
	}
	ctx, data := context.Background(), make([]byte, 64)
	return &tells{producers: 1, burst: remoteBurst, arrived: n.told, stop: n.close,
		do: func(int) error { return actor.Tell(ctx, ref, notice{Data: data}) }}, nil
}
