package dns

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	server "github.com/miekg/dns"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/dns"
	"github.com/tandem-go/tandem/test/ports"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/tcp"
)

// Where asks an actor on which node it is.
type Where struct{ actor.Returns[string] }

type Desk struct{ node string }

func (d *Desk) Where(*actor.Context, Where) (string, error) { return d.node, nil }

// Two nodes, each with a registry of its own, find each other by addresses in DNS.
func TestSystems(t *testing.T) {
	z := start(t)
	z.set(server.RcodeSuccess, "shop.test. 5 IN A 127.0.0.1", "shop.test. 5 IN A 127.0.0.2")
	port := ports.Free()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	hosts := []string{"127-0-0-1", "127-0-0-2"}
	systems := make([]*actor.System, len(hosts))
	for i, name := range hosts {
		sys, err := actor.NewSystem(actor.Config{
			Name:       name,
			Registry:   z.open(dns.Config{Name: "shop.test.", Port: port}),
			Transports: []transport.Transport{tcp.New(tcp.Config{Listen: fmt.Sprintf("127.0.0.%d:%d", i+1, port)})},
			Logger:     slog.New(slog.DiscardHandler),
		})
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
		systems[i] = sys
	}
	for i, name := range hosts {
		got, err := actor.Call(ctx, systems[1-i].Ref("desk@"+name), Where{})
		if err != nil || got != name {
			t.Errorf("%s answers: %q, %v", name, got, err)
		}
	}
}
