package test

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/certs"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/tcp"
)

// forger is a peer that answers every request on its own link as if it were another node.
type forger struct {
	link  transport.Link
	heard chan struct{} // a token for each pong
}

func (f *forger) Receive(e *transport.Envelope) {
	switch e.Verb {
	case transport.VerbOpen:
		f.link.Send(&transport.Envelope{Verb: transport.VerbOpened, Seq: e.Seq, Grant: transport.Grant{7}, Mark: transport.Mark{Below: 100}})
	case transport.VerbRequest:
		f.link.Send(&transport.Envelope{Verb: transport.VerbReply, Seq: e.Seq, Code: uint16(rpc.Failed), Message: "forged"})
	case transport.VerbPing:
		f.link.Send(&transport.Envelope{Verb: transport.VerbPong, Seq: e.Seq})
	case transport.VerbPong:
		f.heard <- struct{}{}
	}
}
func (*forger) Flush()       {}
func (*forger) Drained()     {}
func (*forger) Disturbed()   {}
func (*forger) Closed(error) {}

// slander says that the sessions of the node are lost, and that it leaves. It returns when the
// other side has received this.
func (f *forger) slander() {
	for seq := range uint64(30) {
		f.link.Send(&transport.Envelope{Verb: transport.VerbReply, Seq: seq, Code: uint16(rpc.SessionLost)})
		f.link.Send(&transport.Envelope{Verb: transport.VerbReply, Seq: seq, Code: uint16(rpc.Failed), Message: "forged"})
	}
	f.link.Send(&transport.Envelope{Verb: transport.VerbBye})
	f.link.Send(&transport.Envelope{Verb: transport.VerbPing, Seq: 1})
	<-f.heard
}

// A peer with its own certificate, or its own NATS user, claims to be bank, with bank's epoch.
// It dials shop before bank is linked (over TCP), while it is, and after it has left, and it
// answers where bank should. It never gets a message that is meant for bank, and ends none of
// bank's requests.
func TestNobodySpeaksForANodeOverRealRoads(t *testing.T) {
	ca := certs.New(t)
	srv, err := embedded.Start(embedded.Config{Configure: func(o *server.Options) {
		for user, node := range map[string]string{"shop": "shop", "bank": "bank", "mallory": "*"} { // who hears bank's subject can answer in its name
			o.Users = append(o.Users, &server.User{Username: user, Password: user, Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: []string{"*.node.*.*." + user, "*.find.*." + user}},
				Subscribe: &server.SubjectPermission{Allow: []string{"*.node." + node + ".*.*", "*.find." + node + ".*", "*.gone." + node + ".*.*"}},
			}})
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Shutdown)
	over := map[string]func(who string) transport.Transport{
		tcp.Road: func(who string) transport.Transport {
			return tcp.New(tcp.Config{Listen: "127.0.0.1:0", TLS: ca.Mutual(t, who)})
		},
		natsbus.Road: func(who string) transport.Transport {
			nc, err := natsbus.Connect(t.Context(), srv.URL(), nats.UserInfo(who, who), nats.CustomInboxPrefix("_private_"+who))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(nc.Close)
			return natsbus.New(nc, natsbus.Config{})
		},
	}
	type slow struct{}
	for road, access := range over {
		t.Run(road, func(t *testing.T) {
			reg := static.New()
			began, leave := make(chan struct{}, 8), make(chan struct{})
			kind := actor.Define("test.slow", func() *slow { return new(slow) }, actor.Answer(func(_ *slow, _ *actor.Context, w Wait) (int, error) {
				began <- struct{}{}
				<-leave
				return 7, nil
			}))
			shop := start(t, actor.Config{Name: "shop", Registry: reg, Transports: []transport.Transport{access("shop")}})
			foreign := shop.Events(t.Context(), rpc.LinkForeign)
			lost := shop.Events(t.Context(), rpc.SessionGone)
			bank := start(t, actor.Config{Name: "bank", Registry: reg, Transports: []transport.Transport{access("bank")}, Setup: func(s *actor.System) error {
				_, err := s.Spawn("it", kind)
				return err
			}})
			where := func(node string) registry.Node {
				n, err := reg.Lookup(t.Context(), node)
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
			mallory := access("mallory")
			at := ""
			begin := func() {
				var err error
				if at, err = mallory.Start(t.Context(), transport.Local{Cluster: "tandem", Node: "bank", Epoch: bank.Epoch(), Logger: slog.New(slog.DiscardHandler)}, func(l transport.Link) transport.Receiver { return &forger{l, make(chan struct{}, 9)} }); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { mallory.Close() })
			}
			dial := func() *forger {
				f := &forger{heard: make(chan struct{}, 9)}
				_, err := mallory.Dial(t.Context(), transport.Endpoint{Node: "shop", Epoch: shop.Epoch(), Addr: where("shop").Addrs[road]}, func(l transport.Link) transport.Receiver { f.link = l; return f })
				if road == natsbus.Road { // it does not have bank's key, so it gets no link at all
					if !errors.Is(err, transport.ErrDenied) {
						t.Errorf("without bank's key: %v", err)
					}
					return f
				}
				if err != nil {
					t.Fatal(err)
				}
				f.slander()
				return f
			}
			begin()
			dial()
			f := actor.Ask(t.Context(), shop.Ref("it@bank"), Wait{})
			<-began
			dial()
			if road == tcp.Road {
				if e := <-foreign; e.Peer != "bank" || e.Road != road || !errors.Is(e.Err, transport.ErrIdentity) {
					t.Errorf("%+v", e)
				}
			}
			late := dial()
			close(leave)
			if got, err := f.Await(t.Context()); got != 7 || err != nil {
				t.Errorf("what was under way: %d, %v", got, err)
			}
			select {
			case e := <-lost:
				t.Errorf("a session was given up: %v", e.Err)
			default:
			}

			epoch := bank.Epoch()
			if err := bank.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			if late.link != nil {
				late.slander()
			}
			if err := reg.Register(t.Context(), registry.Node{Name: "bank", Epoch: epoch, Addrs: map[string]string{road: at}}); err != nil {
				t.Fatal(err)
			}
			_, err := actor.Call(t.Context(), shop.Ref("it@bank"), Wait{})
			if rpc.CodeOf(err) != rpc.Denied || rpc.Ran(err) != rpc.NotRun {
				t.Errorf("where another one answers: %v", err)
			}
			if n := shop.Stats().RPC.LinksForeign; n < 1 {
				t.Errorf("%d foreign links", n)
			}
		})
	}
}
