package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	claims "github.com/tandem-go/tandem/placement/natskv"
	nodes "github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/rpc"
	states "github.com/tandem-go/tandem/state/jetstream"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/tcp"
)

const (
	cluster  = "bank"
	replicas = 3               // what NATS keeps is on three servers
	lease    = 2 * time.Second // how long a process that was killed is taken to live, unless it is started again before
)

// patient has a transfer made again, under its name, for as long as its deadline allows.
var patient = rpc.Retry{Attempts: 1000, MaxPause: 200 * time.Millisecond, Burst: 100_000}

// join makes this process a node. What stored actors need are the three parts that are kept in NATS: which
// nodes there are, which of them has which actor, and the state of the actors.
func join(ctx context.Context, name, urls string, kinds ...*actor.Kind) (sys *actor.System, leave func() error, err error) {
	quiet := slog.New(slog.DiscardHandler)
	nc, err := natsbus.Connect(ctx, urls)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			nc.Close()
		}
	}()
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, nil, err
	}
	cfg := actor.Config{Name: name, Cluster: cluster, Kinds: kinds, Retry: patient, Logger: quiet, AckWait: 100 * time.Millisecond,
		Transports: []transport.Transport{tcp.New(tcp.Config{Listen: "127.0.0.1:0"}), natsbus.New(nc, natsbus.Config{})}}
	registry, err := nodes.New(ctx, js, nodes.Config{Cluster: cluster, Lease: lease, Replicas: replicas, Logger: quiet})
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			registry.Close()
		}
	}()
	cfg.Registry = registry
	if cfg.Claims, err = claims.Open(ctx, js, claims.Config{Cluster: cluster, Replicas: replicas, Logger: quiet}); err != nil {
		return nil, nil, err
	}
	if cfg.States, err = states.Open(ctx, js, states.Config{Cluster: cluster, Replicas: replicas, Logger: quiet}); err != nil {
		return nil, nil, err
	}
	if sys, err = actor.NewSystem(cfg); err != nil {
		return nil, nil, err
	}
	return sys, func() error {
		err := sys.Shutdown(context.Background())
		registry.Close()
		nc.Close()
		return err
	}, nil
}

// runBank is a bank process. It hosts accounts, and that is all. It writes to out when it is ready, and ends when in
// ends, which happens at the latest when its parent has ended.
func runBank(ctx context.Context, name, urls string, in io.Reader, out io.Writer) error {
	_, leave, err := join(ctx, name, urls, AccountKind)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	_, err = fmt.Fprintln(out, "ready")
	_, _ = io.Copy(io.Discard, in)
	return errors.Join(err, leave())
}
