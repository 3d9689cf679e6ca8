package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/natsbus/permissions"
	"github.com/tandem-go/tandem/transport/tcp"
)

// issue makes a certificate for 127.0.0.1, signed by parent or by itself.
func issue(t *testing.T, name string, parent *tls.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true, IsCA: parent == nil,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	signer, signerKey := c, any(key)
	if parent != nil {
		signer, signerKey = parent.Leaf, parent.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, c, signer, &key.PublicKey, signerKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// With mutual TLS on TCP and users on NATS, both by the node's name, nothing more is to be
// set: the session is good on both roads, and what is under way when one is lost is
// answered on the other.
func TestTwoRoadsWithCertificatesAndUsers(t *testing.T) {
	ca := issue(t, "test authority", nil)
	pool := x509.NewCertPool()
	pool.AddCert(ca.Leaf)
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
		direct := tcp.New(tcp.Config{Listen: listen, Advertise: advertise, TLS: &tls.Config{Certificates: []tls.Certificate{issue(t, name, &ca)},
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, RootCAs: pool}})
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
