package tcp_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-go/tandem/test/certs"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/tcp"
)

// silent keeps n sockets from an address to a server open. Until the test ends, it reopens each
// one that the server closes.
func silent(t *testing.T, to, from string, n int) {
	t.Helper()
	var all sync.WaitGroup
	var mu sync.Mutex // guards open and over
	open, over := make(map[net.Conn]bool), false
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	connect := func() (net.Conn, error) {
		c, err := d.Dial("tcp", to)
		if err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		if over {
			c.Close()
			return nil, net.ErrClosed
		}
		open[c] = true
		return c, nil
	}
	for range n {
		c, err := connect()
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			for err == nil {
				c.Read(make([]byte, 1))
				mu.Lock()
				delete(open, c)
				mu.Unlock()
				c.Close()
				c, err = connect()
			}
		})
	}
	t.Cleanup(func() {
		mu.Lock()
		over = true
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
}

// Few or many addresses open as many silent sockets as the server lets them. That does not keep
// out a connection from another address.
func TestSilentSocketsKeepNobodyOut(t *testing.T) {
	ca := certs.New(t)
	for _, addresses := range []int{2, 12} {
		t.Run(fmt.Sprint(addresses, " addresses"), func(t *testing.T) {
			// None of them runs into a timeout before the test ends.
			server := tcp.New(tcp.Config{Listen: "127.0.0.1:0", TLS: ca.Mutual(t, "b"), HandshakeTimeout: time.Minute})
			addr, err := server.Start(t.Context(), local("b"), func(transport.Link) transport.Receiver { return newSink() })
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { server.Close() })
			for i := range addresses {
				silent(t, addr, fmt.Sprintf("127.0.0.%d", 2+i), (128+addresses-1)/addresses)
			}
			for start := time.Now(); server.Stats().Greeting < min(128, addresses*32); time.Sleep(time.Millisecond) { // the accept loop has them
				if time.Since(start) > patience {
					t.Fatalf("%+v", server.Stats())
				}
			}
			tr := dialler(t, tcp.Config{TLS: ca.Mutual(t, "a")})
			for i := range 40 {
				if _, _, err := dial(t, tr, transport.Endpoint{Node: "b", Addr: addr}); err != nil {
					t.Fatalf("honest connection %d of 40: %v; %+v", i+1, err, server.Stats())
				}
			}
		})
	}
}

// If a function of the Config panics, on either side, that connection is refused, the panic is
// logged once, and other connections are not affected.
func TestFunctionsThatPanic(t *testing.T) {
	ca := certs.New(t)
	panicFor := func(name string, certs []*x509.Certificate) {
		if len(certs) > 0 && certs[0].Subject.CommonName == name {
			panic(strings.Repeat("no idea what to do with it; ", 1000))
		}
	}
	for name, set := range map[string]func(c *tcp.Config, peer string){
		"Principal": func(c *tcp.Config, peer string) {
			c.Principal = func(s tls.ConnectionState) string { panicFor(peer, s.PeerCertificates); return "somebody" }
		},
		"Revoked": func(c *tcp.Config, peer string) {
			c.Revoked = func(x *x509.Certificate) bool { panicFor(peer, []*x509.Certificate{x}); return false }
		},
		"VerifyConnection": func(c *tcp.Config, peer string) {
			c.TLS.VerifyConnection = func(s tls.ConnectionState) error { panicFor(peer, s.PeerCertificates); return nil }
		},
		"VerifyPeerCertificate": func(c *tcp.Config, peer string) {
			c.TLS.VerifyPeerCertificate = func(_ [][]byte, chains [][]*x509.Certificate) error { panicFor(peer, chains[0]); return nil }
		},
	} {
		for _, dials := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, dials %v", name, dials), func(t *testing.T) {
				mine := func(peer string) tcp.Config {
					c := tcp.Config{TLS: ca.Mutual(t, "me")}
					set(&c, peer)
					return c
				}
				if dials {
					lines := new(logged)
					here := local("me")
					here.Logger = slog.New(lines)
					mallory, _ := serve(t, tcp.Config{Listen: "127.0.0.1:0", TLS: ca.Mutual(t, "b")})
					honest := tcp.New(tcp.Config{Listen: "127.0.0.1:0", TLS: ca.Mutual(t, "c")})
					addr, err := honest.Start(t.Context(), local("c"), func(transport.Link) transport.Receiver { return newSink() })
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { honest.Close() })
					tr := tcp.New(mine("b"))
					if _, err := tr.Start(t.Context(), here, nil); err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { tr.Close() })
					for range 3 {
						if _, _, err := dial(t, tr, mallory); !errors.Is(err, transport.ErrDenied) {
							t.Fatalf("dial: %v, want ErrDenied", err)
						}
					}
					if _, _, err := dial(t, tr, transport.Endpoint{Node: "c", Addr: addr}); err != nil {
						t.Errorf("dialling somebody else: %v", err)
					}
					if n := tr.Stats().Panics; n != 3 {
						t.Errorf("%d panics counted, want 3", n)
					}
					if n := lines.with("panicked"); n != 1 {
						t.Errorf("%d lines in the log, want 1", n)
					}
				} else {
					cfg := mine("mallory")
					cfg.Listen = "127.0.0.1:0"
					server := start(t, "me", cfg)
					lines, to := server.lines, server.to
					for range 3 {
						if _, _, err := dial(t, dialler(t, tcp.Config{TLS: ca.Mutual(t, "mallory")}), to); err == nil {
							t.Fatal("mallory got in")
						}
					}
					if _, _, err := dial(t, dialler(t, tcp.Config{TLS: ca.Mutual(t, "alice")}), to); err != nil {
						t.Errorf("somebody else dials: %v", err)
					}
					wait(t, "somebody else's link", server.links)
					if s := server.Stats(); s.Panics != 3 || s.Links != 1 {
						t.Errorf("%+v, want 3 panics and 1 link", s)
					}
					if n := lines.with("panicked"); n != 1 {
						t.Errorf("%d lines in the log, want 1", n)
					}
				}
			})
		}
	}
}

func TestOwnCertificateFunctionsThatPanic(t *testing.T) {
	ca := certs.New(t)
	var mayPanic, panics atomic.Bool
	boom := func() {
		if mayPanic.Load() {
			panic("no certificate")
		}
	}
	server := &tls.Config{ClientCAs: ca.Pool, ClientAuth: tls.RequireAndVerifyClientCert}
	own := ca.Issue(t, "b")
	server.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { boom(); return &own, nil }
	server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { boom(); return nil, nil }
	to, _ := serve(t, tcp.Config{Listen: "127.0.0.1:0", TLS: server})
	client := &tls.Config{RootCAs: ca.Pool}
	mine := ca.Issue(t, "a")
	client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if panics.Load() {
			panic("no certificate")
		}
		return &mine, nil
	}
	tr := dialler(t, tcp.Config{TLS: client})
	again(t, tr, to)
	panics.Store(true)
	if _, _, err := dial(t, tr, to); !errors.Is(err, transport.ErrDenied) {
		t.Errorf("GetClientCertificate panics: %v, want ErrDenied", err)
	}
	panics.Store(false)
	mayPanic.Store(true)
	if _, _, err := dial(t, tr, to); err == nil {
		t.Error("dial: no error")
	}
	mayPanic.Store(false)
	again(t, tr, to)
}

// A principal can have its share of the links, by default a quarter, and no more. The rest is left
// for others.
func TestLinksOfOnePrincipal(t *testing.T) {
	ca := certs.New(t)
	for name, cfg := range map[string]tcp.Config{
		"by default": {MaxConns: 8},
		"set":        {MaxConns: 8, MaxConnsPerPrincipal: 2},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.Listen, cfg.TLS = "127.0.0.1:0", ca.Mutual(t, "b")
			server := tcp.New(cfg)
			lines := new(logged)
			there := local("b")
			there.Logger = slog.New(lines)
			addr, err := server.Start(t.Context(), there, func(transport.Link) transport.Receiver { return newSink() })
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { server.Close() })
			to := transport.Endpoint{Node: "b", Addr: addr}
			tr := dialler(t, tcp.Config{TLS: ca.Mutual(t, "mallory")})
			var first transport.Link
			for range 2 {
				l, _, err := dial(t, tr, to)
				if err != nil {
					t.Fatal(err)
				}
				first = l
			}
			for range 9 { // more than MaxConns, because a refused link takes no place
				if _, _, err := dial(t, tr, to); !errors.Is(err, transport.ErrBusy) || !strings.Contains(err.Error(), "MaxConnsPerPrincipal") {
					t.Fatalf("third link: %v, want ErrBusy that names the limit", err)
				}
			}
			for _, other := range []string{"alice", "carol", "dave"} {
				if _, _, err := dial(t, dialler(t, tcp.Config{TLS: ca.Mutual(t, other)}), to); err != nil {
					t.Errorf("%s: %v", other, err)
				}
			}
			if s := server.Stats(); s.RefusedPerPrincipal != 9 || lines.with("turned away") != 1 {
				t.Errorf("%+v, %d lines in the log; want 9 refused in 1 line", s, lines.with("turned away"))
			}
			first.Close(errors.New("make room"))
			again(t, tr, to)
		})
	}
}

// turns is a Receiver that counts how many links of its principal receive something large at the
// same time. The first of them waits for a gate.
type turns struct {
	*sink
	inside, most *atomic.Int32
	gate         chan struct{}
}

func (r turns) Receive(e *transport.Envelope) {
	if len(e.Body) > 16<<10 {
		n := r.inside.Add(1)
		for m := r.most.Load(); n > m && !r.most.CompareAndSwap(m, n); m = r.most.Load() {
		}
		<-r.gate
		r.inside.Add(-1)
	}
	r.sink.Receive(e)
}

// Three links of mallory receive large messages one after the other, and small ones meanwhile. A
// link of another principal waits for none of them.
func TestLinksOfOnePrincipalTakeTurns(t *testing.T) {
	ca := certs.New(t)
	server := tcp.New(tcp.Config{Listen: "127.0.0.1:0", TLS: ca.Mutual(t, "b")})
	var inside, most atomic.Int32
	gate, open := make(chan struct{}), make(chan struct{})
	close(open)
	sinks := make(chan *sink, 4)
	addr, err := server.Start(t.Context(), local("b"), func(l transport.Link) transport.Receiver {
		r := turns{sink: newSink(), inside: &inside, most: &most, gate: gate}
		if l.Peer().Principal != "tls:mallory" {
			r.gate, r.inside, r.most = open, new(atomic.Int32), new(atomic.Int32)
		}
		sinks <- r.sink
		return r
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	send := func(l transport.Link, seq uint64, body int) {
		t.Helper()
		if _, err := l.Send(&transport.Envelope{Verb: transport.VerbTell, Seq: seq, Body: make([]byte, body)}); err != nil {
			t.Fatal(err)
		}
	}
	to := transport.Endpoint{Node: "b", Addr: addr}
	var got []*sink
	for range 3 {
		l, _, err := dial(t, dialler(t, tcp.Config{TLS: ca.Mutual(t, "mallory")}), to)
		if err != nil {
			t.Fatal(err)
		}
		s := wait(t, "a link", sinks)
		send(l, 1, 10)
		wait(t, "a small message", s.got)
		send(l, 2, 20<<10)
		got = append(got, s)
	}
	alice, _, err := dial(t, dialler(t, tcp.Config{TLS: ca.Mutual(t, "alice")}), to)
	if err != nil {
		t.Fatal(err)
	}
	s := wait(t, "alice's link", sinks)
	for seq := range uint64(20) {
		send(alice, seq+1, 20<<10)
		wait(t, "a large message of alice's", s.got)
	}
	close(gate)
	for _, s := range got {
		wait(t, "a large message of mallory's", s.got)
	}
	if most.Load() != 1 {
		t.Errorf("%d links of one principal received something large at a time, want 1", most.Load())
	}
}

// If nothing distinguishes peers, they share all links.
func TestLinksOfOnePrincipalThatAllHave(t *testing.T) {
	to, _ := serve(t, tcp.Config{Listen: "127.0.0.1:0", MaxConns: 8})
	tr := dialler(t, tcp.Config{})
	for i := range 9 {
		if _, _, err := dial(t, tr, to); (err == nil) != (i < 8) {
			t.Fatalf("link %d of 8: %v", i+1, err)
		}
	}
}

// A node with a certificate of the same authority, but for another name, cannot pretend to be the
// node that was dialled, whatever its welcome says.
func TestAnswersInAnothersName(t *testing.T) {
	ca := certs.New(t)
	mallory, byDNS := ca.Mutual(t, "mallory"), ca.Mutual(t, "")
	byDNS.Certificates = []tls.Certificate{ca.Issue(t, "", "b")}
	byHost := func(s tls.ConnectionState, node string) bool {
		return node == "b" && s.PeerCertificates[0].Subject.CommonName == "mallory"
	}
	for name, tt := range map[string]struct {
		server *tls.Config
		isNode func(tls.ConnectionState, string) bool
		ok     bool
	}{
		"another's certificate":       {mallory, nil, false},
		"its own, by common name":     {ca.Mutual(t, "b"), nil, true},
		"its own, by DNS name":        {byDNS, nil, true},
		"another's, and mapped":       {mallory, byHost, true},
		"its own, and mapped to none": {ca.Mutual(t, "b"), byHost, false},
	} {
		t.Run(name, func(t *testing.T) {
			to, _ := serve(t, tcp.Config{Listen: "127.0.0.1:0", TLS: tt.server})
			_, _, err := dial(t, dialler(t, tcp.Config{TLS: ca.Mutual(t, "a"), IsNode: tt.isNode}), to)
			if tt.ok != (err == nil) || !tt.ok && !errors.Is(err, transport.ErrDenied) {
				t.Errorf("dial: %v", err)
			}
		})
	}
}

// A name that cannot be one word in a log line or a key is refused as a principal.
func TestPrincipalsThatAreNone(t *testing.T) {
	ca := certs.New(t)
	for _, name := range []string{"a\x00b", "a\nb", "a\xff", strings.Repeat("x", 256)} {
		to, _ := serve(t, tcp.Config{Listen: "127.0.0.1:0", TLS: ca.Mutual(t, "b"), Principal: func(tls.ConnectionState) string { return name }})
		if _, _, err := dial(t, dialler(t, tcp.Config{TLS: ca.Mutual(t, "a")}), to); !errors.Is(err, transport.ErrDenied) {
			t.Errorf("%.20q: %v, want ErrDenied", name, err)
		}
	}
	longest := strings.Repeat("x", 255)
	to, links := serve(t, tcp.Config{Listen: "127.0.0.1:0", TLS: ca.Mutual(t, "b"), Principal: func(tls.ConnectionState) string { return longest }})
	again(t, dialler(t, tcp.Config{TLS: ca.Mutual(t, "a")}), to)
	if got := wait(t, "link", links).Peer().Principal; got != "tls:"+longest {
		t.Errorf("principal %q", got)
	}
}

// A configuration that GetConfigForClient returns must require what the Config requires.
func TestConfigForClient(t *testing.T) {
	ca := certs.New(t)
	old, lax := ca.Mutual(t, "b"), ca.Mutual(t, "b")
	lax.ClientAuth = tls.NoClientCert
	for name, tt := range map[string]struct {
		given *tls.Config
		max   uint16
		ok    bool
	}{
		"as good":                        {old, 0, true},
		"TLS 1.3 unless it says so":      {old, tls.VersionTLS12, false},
		"asks for no client certificate": {lax, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			server := ca.Mutual(t, "b")
			server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return tt.given, nil }
			to, links := serve(t, tcp.Config{Listen: "127.0.0.1:0", TLS: server})
			client := ca.Mutual(t, "a")
			if client.MaxVersion = tt.max; tt.max != 0 {
				client.MinVersion = tt.max
			}
			_, _, err := dial(t, dialler(t, tcp.Config{TLS: client}), to)
			if tt.ok != (err == nil) || !tt.ok && len(links) > 0 {
				t.Errorf("dial: %v", err)
			}
		})
	}
}
