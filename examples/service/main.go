// Service is one node of a service as it runs in production: it gets what it needs from the environment, says whether it is
// alive and ready, and ends cleanly when it is asked to. The folder deploy has a Dockerfile, manifests for Kubernetes and a unit
// for systemd, which run this program. All nodes run it; start and end them as you like:
//
//	NATS_URL=nats://127.0.0.1:4222 NODE_NAME=prices-1 PROBES=127.0.0.1:8081 go run ./examples/service
//	NATS_URL=nats://127.0.0.1:4222 NODE_NAME=prices-2 PROBES=127.0.0.1:8082 go run ./examples/service
//	curl 127.0.0.1:8081/readyz
//	nats req tandem.api.-.prices.Price '{"Item": "tea"}'
//	tandem --server nats://127.0.0.1:4222 --cluster shop --user ann nodes
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/admin"
	"github.com/tandem-go/tandem/admin/natsadmin"
	"github.com/tandem-go/tandem/gateway"
	"github.com/tandem-go/tandem/natsapi"
	"github.com/tandem-go/tandem/probe"
	"github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/settings"
	settingskv "github.com/tandem-go/tandem/settings/natskv"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/tcp"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // so that a second signal ends the process
	level := new(slog.LevelVar)
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level})))
	env, err := readEnvironment(os.Getenv, os.Hostname)
	if err == nil {
		err = run(ctx, env, level)
	}
	if err != nil {
		slog.Error("the process ends", "err", err)
	}
	os.Exit(actor.ExitCode(err))
}

// run runs the node until ctx ends.
func run(ctx context.Context, env environment, level *slog.LevelVar) error {
	// The probes are there before anything else, since the start may take as long as NATS is away.
	probes := probe.New(probe.Config{Debug: probe.Bearer(env.debugToken)})
	listener, err := net.Listen("tcp", env.probes)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: probes, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }() // it ends with Close
	defer server.Close()

	nc, err := natsbus.Connect(ctx, env.nats, env.options()...)
	if err != nil {
		return asked(ctx, err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	registry, err := natskv.New(ctx, js, natskv.Config{Cluster: env.cluster})
	if err != nil {
		return asked(ctx, err)
	}
	defer registry.Close()
	store, err := settingskv.Create(ctx, js, settingskv.Config{Cluster: env.cluster})
	if err != nil {
		return asked(ctx, err)
	}
	return actor.Run(ctx, actor.Config{
		Name:       env.name,
		Cluster:    env.cluster,
		Zone:       env.zone,
		Transports: []transport.Transport{tcp.New(tcp.Config{Listen: env.listen, Advertise: env.advertise}), natsbus.New(nc, natsbus.Config{})},
		Registry:   registry,
		Setup: func(sys *actor.System) error {
			if err := probes.Watch(sys); err != nil {
				return err
			}
			if _, err := sys.Spawn("prices", pricesKind, actor.Expose("prices")); err != nil {
				return err
			}
			// Operators change the level of the log, and other settings, while the node runs: docs/settings.md.
			watcher, err := settings.Watch(ctx, store, settings.Targets{System: sys, Level: level, Logger: slog.Default()})
			if err != nil {
				return err
			}
			context.AfterFunc(ctx, watcher.Close)
			if err := admin.Open(sys, admin.Config{Read: []string{"nats:*"}, Operate: env.operators, Settings: watcher, Level: level}); err != nil {
				return err
			}
			go notify(ctx, sys) // it ends with ctx
			return open(ctx, sys, env)
		},
	})
}

// open opens the service, and what operators ask, to clients of NATS that are no nodes.
func open(ctx context.Context, sys *actor.System, env environment) error {
	connect := func(ctx context.Context) (*nats.Conn, error) { return natsbus.Connect(ctx, env.nats, env.options()...) }
	table, err := gateway.New(sys, gateway.Service("prices", pricesKind))
	if err != nil {
		return err
	}
	api, err := natsapi.Serve(ctx, natsapi.Config{Table: table, Connect: connect})
	if err != nil {
		return err
	}
	desk, err := natsadmin.Serve(ctx, sys, natsadmin.Config{Cluster: env.cluster, Connect: connect})
	if err != nil {
		return errors.Join(err, api.Close(ctx))
	}
	context.AfterFunc(ctx, func() { // the node drains: other nodes have the same gateways
		_ = api.Close(context.WithoutCancel(ctx))
		_ = desk.Close(context.WithoutCancel(ctx))
	})
	return nil
}

// asked returns no error if the process was asked to end while it started.
func asked(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Price asks what an item costs, in cents.
type Price struct {
	actor.Returns[int64]
	Item string
}

// WireName is the name of the type for other programs.
func (Price) WireName() string { return "prices.Price" }

// prices is an instance of the service. Each node has one.
type prices struct{ all map[string]int64 }

var pricesKind = actor.Define("prices", func() *prices { return &prices{map[string]int64{"tea": 350, "coffee": 480}} },
	actor.Answer((*prices).price))

func (p *prices) price(_ *actor.Context, m Price) (int64, error) {
	cents, ok := p.all[m.Item]
	if !ok {
		return 0, fmt.Errorf("no item %q", m.Item)
	}
	return cents, nil
}
