package natsadmin_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"reflect"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/admin"
	"github.com/tandem-go/tandem/admin/natsadmin"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// cluster is nodes of one cluster whose admin actors are opened over a NATS server.
func cluster(t *testing.T, nodes ...string) (*embedded.Server, *nats.Conn) {
	t.Helper()
	srv := servers.Start(t, embedded.Config{})
	net, reg, quiet := memnet.New(memnet.Config{Seed: 1}), static.New(), slog.New(slog.DiscardHandler)
	for _, name := range nodes {
		sys, err := actor.NewSystem(actor.Config{Name: name, Registry: reg, Transports: []transport.Transport{net.Transport("direct", true)}, Logger: quiet,
			Setup: func(sys *actor.System) error {
				return admin.Open(sys, admin.Config{Read: []string{"nats:ann"}, Operate: []string{"nats:op"}, Logger: quiet})
			}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = sys.Shutdown(context.Background()) })
		api, err := natsadmin.Serve(t.Context(), sys, natsadmin.Config{Cluster: "shop", Logger: quiet, Connect: func(context.Context) (*nats.Conn, error) { return srv.Connect() }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = api.Close(context.Background()) })
	}
	nc, err := srv.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return srv, nc
}

func connect(t *testing.T, nc *nats.Conn, user string) *admin.Cluster {
	t.Helper()
	c, err := natsadmin.Connect(nc, natsadmin.Client{Cluster: "shop", User: user})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// All nodes are asked over NATS, each by its name, with the rights of the user's token.
func TestOverNATS(t *testing.T) {
	_, nc := cluster(t, "a", "b", "c")
	ann := connect(t, nc, "ann")
	if nodes, err := ann.Nodes(t.Context()); err != nil || !reflect.DeepEqual(nodes, []string{"a", "b", "c"}) {
		t.Fatalf("%q, %v", nodes, err)
	}
	for _, r := range admin.All(t.Context(), ann, admin.Node{}) {
		if r.Err != nil || r.Reply.Name != r.Node || r.Reply.Stats.Actors == 0 {
			t.Errorf("%+v", r)
		}
	}
	for _, q := range []func(c *admin.Cluster) error{
		func(c *admin.Cluster) error {
			_, err := admin.Ask(t.Context(), c, "b", admin.DiscardLetters{})
			return err
		},
		func(c *admin.Cluster) error {
			_, err := admin.Ask(t.Context(), c, "b", admin.SetLevel{Level: "debug"})
			return err
		},
	} {
		if err := q(ann); rpc.CodeOf(err) != rpc.Denied || rpc.Ran(err) != rpc.NotRun {
			t.Errorf("ann operates: %v", err)
		}
		if err := q(connect(t, nc, "op")); rpc.CodeOf(err) == rpc.Denied {
			t.Errorf("op does not: %v", err)
		}
	}
	if _, err := admin.Ask(t.Context(), connect(t, nc, ""), "b", admin.Node{}); rpc.CodeOf(err) != rpc.Denied {
		t.Errorf("nobody reads: %v", err)
	}
	if _, err := admin.Ask(t.Context(), ann, "d", admin.Node{}); rpc.CodeOf(err) != rpc.NotFound {
		t.Errorf("a node that there is not: %v", err)
	}
	if _, err := admin.Ask(t.Context(), ann, "a", admin.Actor{Name: "none"}); rpc.CodeOf(err) != rpc.NotFound {
		t.Errorf("an actor that there is not: %v", err)
	}
}

// The documented subject can be asked with any tool that speaks NATS.
func TestPlainNATS(t *testing.T) {
	_, nc := cluster(t, "a")
	reply, err := nc.Request("tandem.admin.shop.ann.a.Actors", []byte(`{"Prefix": "adm"}`), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var i admin.ActorsInfo
	if err := json.Unmarshal(reply.Data, &i); err != nil || len(i.Actors) != 1 || i.Actors[0].Name != "admin" {
		t.Errorf("%s, %v", reply.Data, err)
	}
}

// What cannot be a subject is refused.
func TestBadNames(t *testing.T) {
	_, nc := cluster(t, "a")
	for _, c := range []natsadmin.Client{{User: "a.b"}, {User: ">"}, {Cluster: "*"}, {Cluster: "a b"}} {
		if _, err := natsadmin.Connect(nc, c); rpc.CodeOf(err) != rpc.Invalid {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := admin.Ask(t.Context(), connect(t, nc, "ann"), "a.b c", admin.Node{}); err == nil || rpc.Ran(err) != rpc.NotRun {
		t.Errorf("%v", err)
	}
}
