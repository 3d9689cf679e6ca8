package test

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/certs"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/natsbus/permissions"
	"github.com/tandem-go/tandem/transport/tcp"
)

// With mutual TLS on TCP and users on NATS, both with the node's name, nothing else needs to be
// configured: the session is valid on both roads, and requests that are outstanding when one
// road is lost are answered on the other.
func TestTwoRoadsWithCertificatesAndUsers(t *testing.T) {
	ca := certs.New(t)
	srv, err := embedded.Start(embedded.Config{Configure: func(o *server.Options) {
		for _, name := range []string{"client", "server"} {
			may := permissions.Node{Cluster: "tandem", Name: name, Principal: name}.Bus()
			o.Users = append(o.Users, &server.User{Username: name, Password: name, Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: may.Publish},
				Subscribe: &server.SubjectPermission{Allow: may.Subscribe},
			}})
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Shutdown)
	type slow struct{}
	began, leave := make(chan struct{}, 8), make(chan struct{})
	kind := actor.Define("test.slow", func() *slow { return new(slow) }, actor.Answer(func(_ *slow, _ *actor.Context, _ Wait) (int, error) {
		began <- struct{}{}
		<-leave
		return 7, nil
	}))
	p, reg := newProxy(t), static.New()
	open := func(name, listen, advertise string) (*actor.System, *tcp.Transport) {
		nc, err := natsbus.Connect(t.Context(), srv.URL(), nats.UserInfo(name, name), nats.CustomInboxPrefix("_private_"+name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		direct := tcp.New(tcp.Config{Listen: listen, Advertise: advertise, TLS: ca.Mutual(t, name)})
		return start(t, actor.Config{Name: name, Registry: reg, Transports: []transport.Transport{direct, natsbus.New(nc, natsbus.Config{})}}), direct
	}
	b, listening := open("server", "127.0.0.1:0", p.addr())
	p.forward(listening.Addr().String())
	a, _ := open("client", "", "")
	if _, err := b.Spawn("it", kind); err != nil {
		t.Fatal(err)
	}
	denied := a.Events(t.Context(), rpc.JoinDenied, rpc.SessionGone)
	moved := a.Events(t.Context(), rpc.RoadChanged)
	f := actor.Ask(t.Context(), a.Ref("it@server"), Wait{})
	<-began
	for e := range moved { // until it goes over TCP
		if e.Road == tcp.Road {
			break
		}
	}
	for b.Stats().RPC.Links < 2 { // and the bus is there as well
		time.Sleep(time.Millisecond)
	}
	g := actor.Ask(t.Context(), a.Ref("it@server"), Wait{})
	p.close()
	for e := range moved {
		if e.Road == natsbus.Road {
			break
		}
	}
	close(leave)
	for _, f := range []*rpc.Future[int]{f, g} {
		if got, err := f.Await(t.Context()); got != 7 || err != nil {
			t.Errorf("what was under way when TCP was cut: %v, %v", got, err)
		}
	}
	select {
	case e := <-denied:
		t.Errorf("%s: %v", e.Type, e.Err)
	default:
	}
	if n := b.Stats().RPC.JoinsDenied; n > 0 {
		t.Errorf("%d joins were denied", n)
	}
}
