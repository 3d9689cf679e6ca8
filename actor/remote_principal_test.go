package actor_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
)

// staleRegistry is a registry whose cache knows no node before Refresh was called for it.
type staleRegistry struct {
	registry.Registry
	refreshed sync.Map
}

func (b *staleRegistry) Refresh(_ context.Context, name string) error {
	b.refreshed.Store(name, true)
	return nil
}

func (b *staleRegistry) Lookup(ctx context.Context, name string) (registry.Node, error) {
	if _, ok := b.refreshed.Load(name); !ok {
		return registry.Node{}, registry.ErrNotFound
	}
	return b.Registry.Lookup(ctx, name)
}

func (b *staleRegistry) Nodes(context.Context) ([]registry.Node, error) { return nil, nil }

func (b *staleRegistry) Watch(ctx context.Context) (<-chan registry.Event, error) {
	silent := make(chan registry.Event)
	context.AfterFunc(ctx, func() { close(silent) })
	return silent, nil
}

// If the cache does not know a node, the registry is asked before the node is treated as
// unknown.
func TestBusPrincipalOfANewNode(t *testing.T) {
	url, reg := natsURL(t), static.New()
	seen := make(chan string, 1)
	shop := newSystem(t, actor.Config{Name: "shop", Registry: &staleRegistry{Registry: reg}, Transports: []transport.Transport{overNATSAs(t, url, "shop")}, Logger: quiet,
		Kinds: []*actor.Kind{AccountKind}, Principals: watch(seen)})
	if _, err := shop.Spawn("alice", AccountKind); err != nil {
		t.Fatal(err)
	}
	bank := newSystem(t, actor.Config{Name: "bank", Registry: reg, Transports: []transport.Transport{overNATSAs(t, url, "bank")}, Logger: quiet})
	if _, err := actor.Call(t.Context(), bank.Ref("alice@shop"), Balance{}); err != nil {
		t.Fatal(err)
	}
	if got := <-seen; got != "nats:bank" {
		t.Errorf("the principal is %q, want nats:bank", got)
	}
}

// watch reports the principal of each other node to seen.
func watch(seen chan<- string) func(string, transport.Peer) string {
	return func(_ string, p transport.Peer) string {
		if p.Node != "shop" {
			seen <- p.Principal
		}
		return p.Principal
	}
}

// overNATSAs returns a road over NATS that is configured with a principal.
func overNATSAs(t *testing.T, url, principal string) *natsbus.Transport {
	nc, err := natsbus.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return natsbus.New(nc, natsbus.Config{Principal: principal})
}

// On a bus, a node is recognised by the key in its record, from its Setup on, even if the
// other node's cache does not have the record yet. Nobody else is taken for that node.
func TestBusPrincipal(t *testing.T) {
	url := natsURL(t)
	registryOf := func() registry.Registry {
		nc, err := natsbus.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		reg, err := natskv.New(t.Context(), js, natskv.Config{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { reg.Close() })
		return reg
	}
	road := func(principal string) *natsbus.Transport { return overNATSAs(t, url, principal) }
	seen := make(chan string, 16)
	shopRegistry := registryOf()
	shop := newSystem(t, actor.Config{Name: "shop", Registry: shopRegistry, Transports: []transport.Transport{road("shop")}, Logger: quiet, Kinds: []*actor.Kind{AccountKind},
		Principals: watch(seen),
		Setup:      func(s *actor.System) error { _, err := s.Spawn("alice", AccountKind); return err }})
	who := func(s *actor.System) string { // the principal for which shop opened a session
		if _, err := actor.Call(t.Context(), s.Ref("alice@shop"), Balance{}); err != nil {
			t.Fatal(err)
		}
		return <-seen
	}
	var early string
	ours := road("bank")
	bank := newSystem(t, actor.Config{Name: "bank", Registry: registryOf(), Transports: []transport.Transport{ours}, Logger: quiet,
		Setup: func(s *actor.System) error {
			if n, err := shopRegistry.Lookup(t.Context(), "bank"); err == nil && n.Addrs[natsbus.Road] != ours.Addr() {
				t.Errorf("the claim of bank's name is %+v", n)
			}
			early = who(s)
			return nil
		}})
	if early != "nats:bank" {
		t.Errorf("a node that is set up is %q, want nats:bank", early)
	}
	if n, err := shopRegistry.Lookup(t.Context(), "bank"); err != nil || n.Addrs[natsbus.Road] != ours.Addr() {
		t.Errorf("bank's record is %+v, %v", n, err)
	}

	listed := static.New(registry.Node{Name: "shop", Epoch: shop.Epoch()})
	zed := newSystem(t, actor.Config{Name: "zed", Registry: listed, Transports: []transport.Transport{road("zed")}, Logger: quiet})
	if got := who(zed); got != transport.Anonymous {
		t.Errorf("a node that the registry does not know is %q, want %s", got, transport.Anonymous)
	}

	impostor := road("bank")
	local := transport.Local{Cluster: "tandem", Node: "bank", Epoch: bank.Epoch(), Logger: quiet}
	if _, err := impostor.Start(t.Context(), local, nil); err != nil {
		t.Fatal(err)
	}
	defer impostor.Close()
	if _, err := impostor.Dial(t.Context(), transport.Endpoint{Node: "shop", Epoch: shop.Epoch()}, nil); !errors.Is(err, transport.ErrDenied) {
		t.Errorf("a process with bank's name and another key: %v, want ErrDenied", err)
	}
	if _, err := actor.Call(t.Context(), bank.Ref("alice@shop"), Balance{}); err != nil {
		t.Errorf("bank, after that: %v", err)
	}
}
