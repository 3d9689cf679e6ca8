package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/tcp"
)

const (
	mainNode  = "main"          // the node of the queue and the aggregator
	nodeLease = 3 * time.Second // how long a killed process stays a member
	joinTime  = 10 * time.Second
	leaveTime = 3 * time.Second
	callTime  = 5 * time.Second
	ackWait   = time.Second
)

// node is a process's place in the job's cluster.
type node struct {
	*actor.System
	registry *natskv.Registry
	bus      *nats.Conn
}

// join makes this process a node of a job. The job's name is that of the cluster, so jobs with
// other names may share the NATS server.
func join(url, job, name string, direct tcp.Config, logs io.Writer) (_ *node, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), joinTime)
	defer cancel()
	log := slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelError}))
	n := &node{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("joining job %q at %s: %w", job, url, err), n.leave())
		}
	}()
	if n.bus, err = natsbus.Connect(ctx, url); err != nil {
		return nil, err
	}
	js, err := jetstream.New(n.bus)
	if err != nil {
		return nil, err
	}
	if n.registry, err = natskv.New(ctx, js, natskv.Config{Cluster: job, Lease: nodeLease, Logger: log}); err != nil {
		return nil, err
	}
	n.System, err = actor.NewSystem(actor.Config{
		Name:    name,
		Cluster: job,
		// There are two roads. The direct one is for processes on this machine, because it
		// has no certificates. Other machines use the bus, and the NATS server decides who
		// may join.
		Transports: []transport.Transport{tcp.New(direct), natsbus.New(n.bus, natsbus.Config{})},
		Registry:   n.registry,
		Logger:     log,
		Timeout:    callTime,
		AckWait:    ackWait,
	})
	return n, err
}

// leave removes the node from the cluster, and closes everything that join has opened.
func (n *node) leave() error {
	var err error
	if n.System != nil {
		ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
		defer cancel()
		err = n.Shutdown(ctx)
	}
	if n.registry != nil {
		n.registry.Close()
	}
	if n.bus != nil {
		n.bus.Close()
	}
	return err
}

// alone reports whether this is the last node of the job.
func (n *node) alone() bool {
	nodes, err := n.registry.Nodes(context.Background())
	return err == nil && len(nodes) <= 1
}
