package etcd_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/etcd"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/tcp"
)

// Where asks an actor on which node it is.
type Where struct{ actor.Returns[string] }

type Desk struct{ node string }

func (d *Desk) Where(*actor.Context, Where) (string, error) { return d.node, nil }

// Two systems find each other and reach each other over TCP, and one learns that the other has left. A third one
// cannot have the name of one that lives.
func TestSystems(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	ctx := within(t, time.Minute)
	join := func(name string, reg registry.Registry) (*actor.System, error) {
		return actor.NewSystem(actor.Config{
			Name: name, Registry: reg, Logger: slog.New(slog.DiscardHandler),
			Transports: []transport.Transport{tcp.New(tcp.Config{Listen: "127.0.0.1:0"})},
		})
	}
	systems := make(map[string]*actor.System)
	events, err := open(t, s.dial(), etcd.Config{}).Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"east", "west"} {
		sys, err := join(name, open(t, s.dial(), etcd.Config{}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			_ = sys.Shutdown(ctx)
		})
		desk := actor.Define("desk", func() *Desk { return &Desk{node: name} }, actor.Answer((*Desk).Where))
		if _, err := sys.Spawn("desk", desk); err != nil {
			t.Fatal(err)
		}
		systems[name] = sys
	}
	for from, to := range map[string]string{"east": "west", "west": "east"} {
		got, err := actor.Call(ctx, systems[from].Ref("desk@"+to), Where{})
		if err != nil || got != to {
			t.Errorf("%s answers: %q, %v", to, got, err)
		}
	}
	if _, err := join("east", open(t, s.dial(), etcd.Config{})); !errors.Is(err, registry.ErrTaken) {
		t.Errorf("a second east: %v", err)
	}
	seen := func(change registry.Change) {
		t.Helper()
		for e := range events {
			if e.Change == change && e.Node.Name == "west" {
				return
			}
		}
		t.Fatalf("nobody was told that west has %v", change)
	}
	seen(registry.Joined) // before it leaves: who reads late would be told nothing
	if err := systems["west"].Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	seen(registry.Left)
}
