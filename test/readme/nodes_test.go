// The claims that the README makes about two nodes, run.
package main_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/tcp"
)

// join starts a node that is reached over TCP and over NATS.
func join(ctx context.Context, name string, nc *nats.Conn) (*actor.System, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	nodes, err := natskv.New(ctx, js, natskv.Config{}) // who is where, kept in NATS
	if err != nil {
		return nil, err
	}
	return actor.NewSystem(actor.Config{
		Name: name,
		Transports: []transport.Transport{
			tcp.New(tcp.Config{Listen: "127.0.0.1:0"}), // beyond loopback it asks for TLS
			natsbus.New(nc, natsbus.Config{}),
		},
		Registry: nodes,
	})
}

type (
	Note  struct{ Text string }
	Count struct{ actor.Returns[int] }
	Hold  struct{ actor.Returns[int] }
	Fail  struct{ actor.Returns[int] }
	Crash struct{ actor.Returns[int] }
)

var errFull = rpc.NewError("desk.full", "the desk is full")

type Desk struct {
	notes   int
	release <-chan struct{} // ends Hold
}

func (d *Desk) Note(ctx *actor.Context, m Note) error          { d.notes++; return nil }
func (d *Desk) Count(ctx *actor.Context, m Count) (int, error) { return d.notes, nil }
func (d *Desk) Fail(ctx *actor.Context, m Fail) (int, error)   { return 0, errFull }
func (d *Desk) Crash(ctx *actor.Context, m Crash) (int, error) { panic("the desk fell over") }

// Hold outlives its caller's deadline: were it to end with its context, its error could still
// be in time, and then the caller knows that it ran.
func (d *Desk) Hold(ctx *actor.Context, m Hold) (int, error) { <-d.release; return 0, nil }

func deskKind(release <-chan struct{}) *actor.Kind {
	return actor.Define("desk", func() *Desk { return &Desk{release: release} },
		actor.Handle((*Desk).Note),
		actor.Answer((*Desk).Count),
		actor.Answer((*Desk).Fail),
		actor.Answer((*Desk).Crash),
		actor.Answer((*Desk).Hold))
}

// two starts two nodes, the second of which has a desk. What the desk holds, it holds until
// the end of the test.
func two(t *testing.T) (shop, office *actor.System) {
	srv, err := embedded.Start(embedded.Config{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Shutdown)
	start := func(name string) *actor.System {
		nc, err := natsbus.Connect(t.Context(), srv.URL())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		sys, err := join(t.Context(), name, nc)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := sys.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		})
		return sys
	}
	office, shop = start("office"), start("shop")
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	if _, err := office.Spawn("desk", deskKind(release), actor.Expose("desks")); err != nil {
		t.Fatal(err)
	}
	return shop, office
}

func TestTwoNodes(t *testing.T) {
	shop, _ := two(t)
	ctx := t.Context()
	desk := shop.Ref("desk@office")
	if err := actor.Tell(ctx, desk, Note{"one"}); err != nil {
		t.Fatal(err)
	}
	if err := actor.Tell(ctx, desk, Note{"two"}, rpc.Acked()); err != nil {
		t.Fatal(err)
	}
	if n, err := actor.Call(ctx, desk, Count{}); n != 2 || err != nil {
		t.Errorf("%d notes, %v", n, err)
	}
	if n, err := actor.Ask(ctx, desk, Count{}).Await(ctx); n != 2 || err != nil {
		t.Errorf("%d notes, %v", n, err)
	}
}

func TestDidItRun(t *testing.T) {
	shop, office := two(t)
	soon := func(t *testing.T) context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	for _, c := range []struct {
		name string
		call func(t *testing.T) (int, error)
		code rpc.Code
		ran  rpc.Verdict
	}{
		{"no such actor", func(t *testing.T) (int, error) {
			return actor.Call(t.Context(), shop.Ref("nobody@office"), Count{})
		}, rpc.NotFound, rpc.NotRun},
		{"no such node", func(t *testing.T) (int, error) {
			return actor.Call(t.Context(), shop.Ref("desk@moon"), Count{})
		}, rpc.NotFound, rpc.NotRun},
		{"an actor on this node that does not exist", func(t *testing.T) (int, error) {
			return actor.Call(t.Context(), office.Ref("nobody"), Count{})
		}, rpc.NotFound, rpc.NotRun},
		{"the handler returned an error", func(t *testing.T) (int, error) {
			n, err := actor.Call(t.Context(), shop.Ref("desk@office"), Fail{})
			if !errors.Is(err, errFull) {
				t.Errorf("%v is not errFull", err)
			}
			return n, err
		}, rpc.Failed, rpc.HasRun},
		{"the handler panicked", func(t *testing.T) (int, error) {
			return actor.Call(t.Context(), shop.Ref("desk@office"), Crash{})
		}, rpc.Panicked, rpc.HasRun},
		{"the deadline passed while the handler ran", func(t *testing.T) (int, error) {
			return actor.Call(soon(t), shop.Ref("desk@office"), Hold{})
		}, rpc.Expired, rpc.Unknown},
		{"the deadline had passed", func(t *testing.T) (int, error) {
			ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
			defer cancel()
			return actor.Call(ctx, shop.Ref("desk@office"), Count{})
		}, rpc.Expired, rpc.NotRun},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := c.call(t)
			if rpc.CodeOf(err) != c.code || rpc.Ran(err) != c.ran {
				t.Errorf("%v: code %v, ran %v; want %v, %v", err, rpc.CodeOf(err), rpc.Ran(err), c.code, c.ran)
			}
		})
	}
}
