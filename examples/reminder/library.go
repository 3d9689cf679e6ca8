package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	claims "github.com/tandem-go/tandem/placement/natskv"
	nodes "github.com/tandem-go/tandem/registry/natskv"
	reminders "github.com/tandem-go/tandem/reminder/jetstream"
	states "github.com/tandem-go/tandem/state/jetstream"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// library is a cluster: a NATS server, which keeps everything in a folder, and two nodes.
type library struct {
	nats  *embedded.Server
	nodes []*actor.System
}

// open starts the cluster. What it kept before is there.
func open(ctx context.Context, folder string) (l *library, err error) {
	l = new(library)
	if l.nats, err = embedded.Start(embedded.Config{StoreDir: folder}); err != nil {
		return nil, err
	}
	for _, name := range []string{"north", "south"} {
		node, err := join(ctx, name, l.nats.URL())
		if err != nil {
			return nil, errors.Join(err, l.close(ctx))
		}
		l.nodes = append(l.nodes, node)
	}
	return l, nil
}

// close stops all of it.
func (l *library) close(ctx context.Context) (err error) {
	for _, node := range l.nodes {
		err = errors.Join(err, node.Shutdown(ctx))
	}
	l.nats.Shutdown()
	return err
}

func (l *library) book(title string) actor.Ref { return l.nodes[0].Virtual(loanKind, title) }

// join makes a node. Reminders are kept in NATS, like the states of the actors, and each node that hosts virtual
// actors looks for those that are due.
func join(ctx context.Context, name, url string) (*actor.System, error) {
	quiet := slog.New(slog.DiscardHandler)
	nc, err := natsbus.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	registry, err := nodes.New(ctx, js, nodes.Config{Logger: quiet, Lease: 2 * time.Second})
	if err != nil {
		return nil, err
	}
	holders, err := claims.Open(ctx, js, claims.Config{Logger: quiet})
	if err != nil {
		return nil, err
	}
	store, err := states.Open(ctx, js, states.Config{Logger: quiet})
	if err != nil {
		return nil, err
	}
	due, err := reminders.Open(ctx, js, reminders.Config{Logger: quiet})
	if err != nil {
		return nil, err
	}
	return actor.NewSystem(actor.Config{
		Name:       name,
		Transports: []transport.Transport{natsbus.New(nc, natsbus.Config{})},
		Registry:   registry,
		Claims:     holders,
		States:     store,
		Reminders:  due,
		Kinds:      []*actor.Kind{loanKind},
		Logger:     quiet,
	})
}
