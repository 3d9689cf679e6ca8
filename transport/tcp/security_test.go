package tcp_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-go/tandem/test/certs"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/tcp"
)

func TestTLSPrincipals(t *testing.T) {
	ca := certs.New(t)
	byDNS := ca.Mutual(t, "")
	byDNS.Certificates = []tls.Certificate{ca.Issue(t, "", "billing.example")}
	custom := func(s tls.ConnectionState) string { return "org/" + s.PeerCertificates[0].Subject.CommonName }
	tests := []struct {
		name           string
		client, server tcp.Config
		sees           string // the principal that the server sees
	}{
		{"common name", tcp.Config{TLS: ca.Mutual(t, "alice")}, tcp.Config{TLS: ca.Mutual(t, "b")}, "tls:alice"},
		{"DNS name", tcp.Config{TLS: byDNS}, tcp.Config{TLS: ca.Mutual(t, "b")}, "tls:billing.example"},
		{"own function", tcp.Config{TLS: ca.Mutual(t, "alice")}, tcp.Config{TLS: ca.Mutual(t, "b"), Principal: custom}, "tls:org/alice"},
		{"common name and token", tcp.Config{TLS: ca.Mutual(t, "alice"), Token: "s3cret"}, tcp.Config{TLS: ca.Mutual(t, "b"), Token: "s3cret"}, "tls:alice"},
		{"a name like another principal", tcp.Config{TLS: ca.Mutual(t, "token")}, tcp.Config{TLS: ca.Mutual(t, "b")}, "tls:token"},
		{"token in TLS", tcp.Config{TLS: &tls.Config{RootCAs: ca.Pool}, Token: "s3cret"},
			tcp.Config{TLS: &tls.Config{Certificates: ca.Mutual(t, "b").Certificates}, Token: "s3cret"}, transport.TokenHolder},
		{"server only", tcp.Config{TLS: &tls.Config{RootCAs: ca.Pool}},
			tcp.Config{TLS: &tls.Config{Certificates: ca.Mutual(t, "b").Certificates}}, transport.Anonymous},
		{"plain", tcp.Config{}, tcp.Config{}, transport.Anonymous},
		{"token on loopback", tcp.Config{Token: "s3cret"}, tcp.Config{Token: "s3cret"}, transport.TokenHolder},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.server.Listen = "127.0.0.1:0"
			to, links := serve(t, tt.server)
			l, _, err := dial(t, dialler(t, tt.client), to)
			if err != nil {
				t.Fatal(err)
			}
			if got := wait(t, "link", links).Peer().Principal; got != tt.sees {
				t.Errorf("server sees principal %q, want %q", got, tt.sees)
			}
			want := transport.Anonymous
			switch {
			case tt.sees == transport.TokenHolder: // both sides prove that they know it
				want = transport.TokenHolder
			case tt.server.TLS != nil:
				want = "tls:b"
			}
			if got := l.Peer().Principal; got != want {
				t.Errorf("client sees principal %q, want %q", got, want)
			}
		})
	}
}

func TestNotAuthenticated(t *testing.T) {
	ca, other := certs.New(t), certs.New(t)
	stranger := ca.Mutual(t, "mallory")
	stranger.Certificates = other.Mutual(t, "mallory").Certificates
	nobody := func(tls.ConnectionState) string { return "" }
	tests := []struct {
		name           string
		client, server tcp.Config
		want           error
		text           string // part of what people read
	}{
		{"client's certificate of another authority", tcp.Config{TLS: stranger}, tcp.Config{TLS: ca.Mutual(t, "b")}, transport.ErrDenied, ""},
		{"client without certificate", tcp.Config{TLS: &tls.Config{RootCAs: ca.Pool}}, tcp.Config{TLS: ca.Mutual(t, "b")}, transport.ErrDenied, ""},
		{"server's certificate of another authority", tcp.Config{TLS: ca.Mutual(t, "alice")}, tcp.Config{TLS: other.Mutual(t, "b")}, transport.ErrDenied, ""},
		{"wrong token", tcp.Config{Token: "guess"}, tcp.Config{Token: "s3cret"}, transport.ErrDenied, "does not have this node's token"},
		{"no token", tcp.Config{}, tcp.Config{Token: "s3cret"}, transport.ErrDenied, "does not have this node's token"},
		{"token for one that has none", tcp.Config{Token: "s3cret"}, tcp.Config{}, transport.ErrDenied, "this node has none"},
		{"no principal", tcp.Config{TLS: ca.Mutual(t, "alice")}, tcp.Config{TLS: ca.Mutual(t, "b"), Principal: nobody}, transport.ErrDenied, ""},
		{"unknown server", tcp.Config{TLS: ca.Mutual(t, "alice"), Principal: nobody}, tcp.Config{TLS: ca.Mutual(t, "b")}, transport.ErrDenied, ""},
		{"TLS to plain", tcp.Config{TLS: ca.Mutual(t, "alice")}, tcp.Config{}, transport.ErrProtocol, "no TLS is spoken there"},
		{"plain to TLS", tcp.Config{}, tcp.Config{TLS: ca.Mutual(t, "b")}, transport.ErrProtocol, "TLS is spoken here: set tcp.Config.TLS"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.server.Listen = "127.0.0.1:0"
			to, links := serve(t, tt.server)
			_, _, err := dial(t, dialler(t, tt.client), to)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("dial: %v, want %v with %q", err, tt.want, tt.text)
			}
			if tt.name != "unknown server" && len(links) > 0 {
				t.Error("a link was accepted")
			}
		})
	}
}

func TestStartRefuses(t *testing.T) {
	ca := certs.New(t)
	serverOnly := &tls.Config{Certificates: ca.Mutual(t, "b").Certificates}
	tests := []struct {
		name string
		cfg  tcp.Config
		want error  // nil: any error
		text string // part of what people read
	}{
		{"plain beyond loopback", tcp.Config{Listen: "0.0.0.0:0", Advertise: "127.0.0.1:0"}, tcp.ErrInsecure, "without TLS"},
		{"plain on every address", tcp.Config{Listen: ":0", Advertise: "127.0.0.1:0"}, tcp.ErrInsecure, "without TLS"},
		{"token without TLS", tcp.Config{Listen: "0.0.0.0:0", Advertise: "127.0.0.1:0", Token: "t"}, tcp.ErrInsecure, "without TLS"},
		{"TLS for anybody", tcp.Config{Listen: "0.0.0.0:0", Advertise: "127.0.0.1:0", TLS: serverOnly}, tcp.ErrInsecure, "neither"},
		{"unverified servers", tcp.Config{TLS: &tls.Config{InsecureSkipVerify: true}}, tcp.ErrInsecure, "InsecureSkipVerify"},
		{"nothing to advertise", tcp.Config{Listen: "0.0.0.0:0", Insecure: true}, nil, "set Advertise"},
		{"no certificate", tcp.Config{Listen: "127.0.0.1:0", TLS: &tls.Config{}}, nil, "without a certificate"},
		{"public authorities", tcp.Config{Listen: "127.0.0.1:0", TLS: &tls.Config{Certificates: serverOnly.Certificates, ClientAuth: tls.RequireAndVerifyClientCert}}, nil, "ClientCAs"},
		{"bad address", tcp.Config{Listen: "nonsense"}, nil, "listen"},
		{"bad advertise", tcp.Config{Listen: "127.0.0.1:0", Advertise: "nonsense"}, nil, "advertise"},
		{"long token", tcp.Config{Token: strings.Repeat("x", 5000)}, nil, "token of 5000 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := tcp.New(tt.cfg)
			defer tr.Close()
			_, err := tr.Start(t.Context(), local("b"), nil)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("start: %v, want %v with %q", err, tt.want, tt.text)
			}
		})
	}
}

func TestStartNamesAllProblems(t *testing.T) {
	tr := tcp.New(tcp.Config{Listen: "0.0.0.0:0", StallTimeout: -1, MaxConns: -1})
	_, err := tr.Start(t.Context(), local("b"), nil)
	for _, part := range []string{"negative timeout", "negative limit", "set Advertise", "without TLS"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in: %v", part, err)
		}
	}
}

func TestStartAllows(t *testing.T) {
	ca := certs.New(t)
	serverOnly := &tls.Config{Certificates: ca.Mutual(t, "b").Certificates}
	for name, cfg := range map[string]tcp.Config{
		"insecure":         {Insecure: true},
		"mutual TLS":       {TLS: ca.Mutual(t, "b")},
		"token inside TLS": {TLS: serverOnly, Token: "t"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.Listen, cfg.Advertise = "0.0.0.0:0", "127.0.0.1:0"
			to, _ := serve(t, cfg)
			if _, port, err := net.SplitHostPort(to.Addr); err != nil || port == "0" {
				t.Errorf("advertised %q", to.Addr)
			}
		})
	}
}

func TestPortInUse(t *testing.T) {
	to, _ := serve(t, tcp.Config{Listen: "127.0.0.1:0"})
	tr := tcp.New(tcp.Config{Listen: to.Addr})
	defer tr.Close()
	if _, err := tr.Start(t.Context(), local("c"), nil); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("start on a port in use: %v, want EADDRINUSE", err)
	}
}

func TestBusy(t *testing.T) {
	to, links := serve(t, tcp.Config{Listen: "127.0.0.1:0", MaxConns: 2})
	tr := dialler(t, tcp.Config{})
	var last transport.Link
	for range 2 {
		l, _, err := dial(t, tr, to)
		if err != nil {
			t.Fatal(err)
		}
		last = l
		wait(t, "link", links)
	}
	if _, _, err := dial(t, tr, to); !errors.Is(err, transport.ErrBusy) {
		t.Fatalf("third link of two: %v, want ErrBusy", err)
	}
	last.Close(errors.New("make room"))
	again(t, tr, to)
}

// again dials until the server has room, which may take some time.
func again(t *testing.T, tr *tcp.Transport, to transport.Endpoint) {
	t.Helper()
	for start := time.Now(); ; {
		_, _, err := dial(t, tr, to)
		if err == nil {
			return
		}
		if time.Since(start) > patience {
			t.Fatalf("no room after a link closed: %v", err)
		}
	}
}

// A dialler that is refused because of a limit is told which one. The server counts that, and logs
// it once.
func TestLimits(t *testing.T) {
	ca := certs.New(t)
	for name, tt := range map[string]struct {
		cfg   tcp.Config
		raw   bool // what is there are sockets that say nothing
		text  string
		count func(tcp.Stats) uint64
	}{
		"from one address":           {tcp.Config{MaxConnsPerIP: 2}, false, "2 connections from your address", func(s tcp.Stats) uint64 { return s.RefusedPerIP }},
		"from one address, greeting": {tcp.Config{MaxConnsPerIP: 2, MaxPendingPerIP: 2}, true, "2 connections from your address", func(s tcp.Stats) uint64 { return s.RefusedPerIP }},
		"greeting":                   {tcp.Config{MaxPending: 2, MaxPendingPerIP: 3}, true, "2 connections are greeting already", func(s tcp.Stats) uint64 { return s.RefusedPending }},
		"greeting, one address":      {tcp.Config{MaxPendingPerIP: 2}, true, "2 connections from your address are greeting already", func(s tcp.Stats) uint64 { return s.RefusedPending }},
		"links":                      {tcp.Config{MaxConns: 2, MaxConnsPerPrincipal: 2}, false, "too many links", func(s tcp.Stats) uint64 { return s.RefusedConns }},
	} {
		for _, secured := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, TLS %v", name, secured), func(t *testing.T) {
				cfg, client := tt.cfg, tcp.Config{}
				if cfg.Listen = "127.0.0.1:0"; secured {
					cfg.TLS, client.TLS = ca.Mutual(t, "b"), ca.Mutual(t, "alice")
				}
				lines := new(logged)
				server := tcp.New(cfg)
				there := local("b")
				there.Logger = slog.New(lines)
				addr, err := server.Start(t.Context(), there, func(transport.Link) transport.Receiver { return newSink() })
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { server.Close() })
				to := transport.Endpoint{Node: "b", Addr: addr}
				tr := dialler(t, client)
				var first io.Closer
				for range 2 { // as many as may be
					if tt.raw {
						first = raw(t, to)
						continue
					}
					l, _, err := dial(t, tr, to)
					if err != nil {
						t.Fatal(err)
					}
					first = closer{l}
				}
				for i := range 3 { // and beyond
					_, _, err := dial(t, tr, to)
					if !errors.Is(err, transport.ErrBusy) || !strings.Contains(err.Error(), tt.text) {
						t.Fatalf("one more: %v, want ErrBusy with %q", err, tt.text)
					}
					if n := tt.count(server.Stats()); n != uint64(i+1) {
						t.Errorf("%d counted, want %d: %+v", n, i+1, server.Stats())
					}
				}
				if got := lines.with("turned away"); got != 1 {
					t.Errorf("%d lines in the log, want 1", got)
				}
				first.Close()
				again(t, tr, to)
			})
		}
	}
}

type closer struct{ transport.Link }

func (c closer) Close() error { c.Link.Close(errors.New("make room")); return nil }

// logged is a slog.Handler that keeps the messages.
type logged struct {
	mu   sync.Mutex
	msgs []string
}

func (l *logged) Enabled(context.Context, slog.Level) bool { return true }
func (l *logged) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logged) WithGroup(string) slog.Handler            { return l }
func (l *logged) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.msgs = append(l.msgs, r.Message)
	return nil
}

func (l *logged) with(part string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.msgs {
		if strings.Contains(m, part) {
			n++
		}
	}
	return n
}

func TestConnsPerIP(t *testing.T) {
	t.Parallel()
	to, links := serve(t, tcp.Config{Listen: "127.0.0.1:0", MaxConnsPerIP: 2})
	first, _ := rawLink(t, to, links)
	rawLink(t, to, links)
	ended(t, raw(t, to))
	first.Close()
	again(t, dialler(t, tcp.Config{}), to)
}

func TestPending(t *testing.T) {
	to, _ := serve(t, tcp.Config{Listen: "127.0.0.1:0", MaxPending: 2, MaxPendingPerIP: 2})
	first := raw(t, to)
	raw(t, to)
	ended(t, raw(t, to))
	first.Close()
	again(t, dialler(t, tcp.Config{}), to)
}
