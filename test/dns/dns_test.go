package dns

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	server "github.com/miekg/dns"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/dns"
)

// zone is a DNS server with records that the test changes.
type zone struct {
	testing.TB
	conn net.PacketConn

	mu      sync.Mutex // guards what follows
	records []string
	code    int // of all answers
}

func start(t testing.TB) *zone {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	z := &zone{TB: t, conn: conn}
	ready, done := make(chan struct{}), make(chan struct{})
	s := &server.Server{PacketConn: conn, Handler: z, NotifyStartedFunc: func() { close(ready) }}
	go func() {
		defer close(done)
		_ = s.ActivateAndServe()
	}()
	<-ready
	t.Cleanup(func() {
		_ = s.Shutdown()
		<-done
	})
	return z
}

// set replaces the records, which are lines of a zone file.
func (z *zone) set(code int, records ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.code, z.records = code, records
}

func (z *zone) ServeDNS(w server.ResponseWriter, ask *server.Msg) {
	z.mu.Lock()
	defer z.mu.Unlock()
	answer := new(server.Msg)
	answer.SetReply(ask)
	answer.Rcode = z.code
	for _, line := range z.records {
		rr, err := server.NewRR(line)
		if err != nil {
			z.Error(err)
			continue
		}
		if h := rr.Header(); h.Name == ask.Question[0].Name && h.Rrtype == ask.Question[0].Qtype {
			answer.Answer = append(answer.Answer, rr)
		}
	}
	_ = w.WriteMsg(answer)
}

func (z *zone) open(cfg dns.Config) *dns.Registry {
	z.Helper()
	cfg.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", z.conn.LocalAddr().String())
	}}
	cfg.Logger = slog.New(slog.DiscardHandler)
	r, err := dns.New(z.Context(), cfg)
	if err != nil {
		z.Fatal(err)
	}
	z.Cleanup(r.Close)
	return r
}

// expect reads one event.
func expect(t *testing.T, events <-chan registry.Event, change registry.Change, name, addr string) {
	t.Helper()
	select {
	case e := <-events:
		if e.Change != change || e.Node.Name != name || e.Node.Addrs["tcp"] != addr {
			t.Errorf("got %v %s %s, want %v %s %s", e.Change, e.Node.Name, e.Node.Addrs["tcp"], change, name, addr)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("%v %s: nothing was reported", change, name)
	}
}

func follow(t *testing.T, r *dns.Registry) <-chan registry.Event {
	t.Helper()
	events, err := r.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func TestAddresses(t *testing.T) {
	z := start(t)
	z.set(server.RcodeSuccess, "shop.test. 5 IN A 10.0.0.1", "shop.test. 5 IN AAAA fd00::2")
	events := follow(t, z.open(dns.Config{Name: "shop.test.", Port: 7420, Every: 50 * time.Millisecond, Grace: 200 * time.Millisecond}))
	expect(t, events, registry.Joined, "10-0-0-1", "10.0.0.1:7420")
	expect(t, events, registry.Joined, "fd00--2", "[fd00::2]:7420")
	z.set(server.RcodeSuccess, "shop.test. 5 IN A 10.0.0.1", "shop.test. 5 IN A 10.0.0.3")
	expect(t, events, registry.Joined, "10-0-0-3", "10.0.0.3:7420")
	expect(t, events, registry.Left, "fd00--2", "[fd00::2]:7420")
	z.set(server.RcodeNameError)
	for range 2 {
		if e := <-events; e.Change != registry.Left {
			t.Errorf("got %v %+v", e.Change, e.Node)
		}
	}
}

func TestServices(t *testing.T) {
	z := start(t)
	const name = "_tandem._tcp.shop.test."
	srv := func(host string, port int) string {
		return fmt.Sprintf("%s 5 IN SRV 0 10 %d %s.shop.test.", name, port, host)
	}
	z.set(server.RcodeSuccess, srv("shop-1", 7421), srv("shop-0", 7420))
	r := z.open(dns.Config{Name: name, Every: 50 * time.Millisecond, Grace: time.Millisecond})
	events := follow(t, r)
	expect(t, events, registry.Joined, "shop-0", "shop-0.shop.test:7420")
	expect(t, events, registry.Joined, "shop-1", "shop-1.shop.test:7421")
	z.set(server.RcodeSuccess, srv("shop-1", 9000), srv("shop-0", 7420))
	expect(t, events, registry.Updated, "shop-1", "shop-1.shop.test:9000")

	z.set(server.RcodeServerFailure)
	if err := r.Refresh(t.Context(), "shop-0"); err == nil {
		t.Error("a failure counts as an answer")
	}
	if nodes, _ := r.Nodes(t.Context()); len(nodes) != 2 {
		t.Errorf("after a failure: %v", nodes)
	}
	z.set(server.RcodeSuccess, srv("shop-0", 7420))
	expect(t, events, registry.Left, "shop-1", "shop-1.shop.test:9000")
}
