// Links end when a certificate is revoked or expires.

package tcp_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-go/tandem/test/certs"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/tcp"
)

// If a certificate is revoked while its link is open, the link ends at the next Recheck, which the
// transport does by itself, and no other link can be made with it.
func TestRevokedWhileLinked(t *testing.T) {
	ca := certs.New(t)
	alice, carol := ca.Mutual(t, "alice"), ca.Mutual(t, "carol")
	f := newFolder(t)
	f.own(ca, "b")
	f.trust(ca)
	f.Revoked = filepath.Join(t.TempDir(), "crl")
	write(t, f.Revoked, block("X509 CRL", ca.Revoke(t)))
	var revoked atomic.Bool
	for name, tt := range map[string]struct {
		cfg    tcp.Config
		revoke func()
	}{
		"by a function": {tcp.Config{TLS: ca.Mutual(t, "b"), Revoked: func(c *x509.Certificate) bool { return revoked.Load() && c.Subject.CommonName == "alice" }},
			func() { revoked.Store(true) }},
		"by a list": {tcp.Config{Credentials: load(t, f.Files)},
			func() { write(t, f.Revoked, ca.Revoke(t, alice.Certificates[0])) }}, // in DER
	} {
		t.Run(name, func(t *testing.T) {
			tt.cfg.Recheck = 10 * time.Millisecond
			b := start(t, "b", tt.cfg)
			ends := map[string]accepted{}
			for name, cfg := range map[string]*tls.Config{"alice": alice, "carol": carol} {
				if _, _, err := dial(t, dialler(t, tcp.Config{TLS: cfg}), b.to); err != nil {
					t.Fatal(err)
				}
				ends[name] = wait(t, "link", b.links)
			}
			tt.revoke()
			if err := wait(t, "end of the link", ends["alice"].closed); !errors.Is(err, tcp.ErrRevoked) {
				t.Errorf("closed with %v, want ErrRevoked", err)
			}
			if _, _, err := dial(t, dialler(t, tcp.Config{TLS: alice}), b.to); !errors.Is(err, transport.ErrDenied) || !strings.Contains(err.Error(), "revoked") {
				t.Errorf("dialling again: %v, want ErrDenied", err)
			}
			if _, err := ends["carol"].Send(&transport.Envelope{Verb: transport.VerbTell}); err != nil {
				t.Errorf("another's link: %v", err)
			}
			if n := b.lines.with("links end"); n != 1 {
				t.Errorf("%d lines in the log, want 1", n)
			}
		})
	}
}

// The dialling side checks as well.
func TestRevokedServer(t *testing.T) {
	ca := certs.New(t)
	var revoked atomic.Bool
	a := start(t, "a", tcp.Config{TLS: ca.Mutual(t, "a"), Revoked: func(c *x509.Certificate) bool { return revoked.Load() && c.Subject.CommonName == "b" }})
	to, _ := serve(t, tcp.Config{Listen: "127.0.0.1:0", TLS: ca.Mutual(t, "b")})
	_, s, err := dial(t, a.Transport, to)
	if err != nil {
		t.Fatal(err)
	}
	revoked.Store(true)
	recheck(t, a)
	if err := wait(t, "end of the link", s.closed); !errors.Is(err, tcp.ErrRevoked) {
		t.Errorf("closed with %v, want ErrRevoked", err)
	}
	if _, _, err := dial(t, a.Transport, to); !errors.Is(err, tcp.ErrRevoked) {
		t.Errorf("dialling: %v, want ErrRevoked", err)
	}
}

// A link ends when the certificate of either side expires.
func TestExpiredWhileLinked(t *testing.T) {
	ca := certs.New(t)
	var late atomic.Int64 // nanoseconds
	clock := func() time.Time { return time.Now().Add(time.Duration(late.Load())) }
	at := func(name string) tcp.Config {
		cfg := ca.Mutual(t, name)
		cfg.Time = clock
		return tcp.Config{TLS: cfg}
	}
	a, b := start(t, "a", at("a")), start(t, "b", at("b"))
	l, atA, err := dial(t, a.Transport, b.to)
	if err != nil {
		t.Fatal(err)
	}
	atB := wait(t, "link", b.links)
	late.Store(int64(59 * time.Minute)) // the certificates are valid for an hour
	recheck(t, a)
	recheck(t, b)
	stays(t, l, atB.sink)
	late.Store(int64(61 * time.Minute))
	recheck(t, b)
	if err := wait(t, "end at b", atB.closed); !errors.Is(err, tcp.ErrExpired) {
		t.Errorf("closed with %v, want ErrExpired", err)
	}
	wait(t, "end at a", atA.closed)
	late.Store(0)
	if _, atA, err = dial(t, a.Transport, b.to); err != nil {
		t.Fatal(err)
	}
	late.Store(int64(61 * time.Minute))
	recheck(t, a)
	if err := wait(t, "end at a", atA.closed); !errors.Is(err, tcp.ErrExpired) {
		t.Errorf("closed with %v, want ErrExpired", err)
	}
	if _, _, err := dial(t, a.Transport, b.to); !errors.Is(err, transport.ErrDenied) {
		t.Errorf("dialling: %v, want ErrDenied", err)
	}
}

// A Revoked that panics ends no link.
func TestRevokedPanicsLater(t *testing.T) {
	ca := certs.New(t)
	var mad atomic.Bool
	b := start(t, "b", tcp.Config{TLS: ca.Mutual(t, "b"), Revoked: func(*x509.Certificate) bool {
		if mad.Load() {
			panic("no database")
		}
		return false
	}})
	l, _, err := dial(t, dialler(t, tcp.Config{TLS: ca.Mutual(t, "a")}), b.to)
	if err != nil {
		t.Fatal(err)
	}
	atB := wait(t, "link", b.links)
	mad.Store(true)
	recheck(t, b)
	stays(t, l, atB.sink)
}

// However often a node checks, it logs once that its own certificate is about to expire, once that
// it has a day left, and once that it has expired.
func TestOwnCertificateAboutToExpire(t *testing.T) {
	ca := certs.New(t)
	cfg := ca.Mutual(t, "b")
	leaf, err := x509.ParseCertificate(cfg.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	var now atomic.Pointer[time.Time]
	set := func(left time.Duration) { now.Store(new(leaf.NotAfter.Add(-left))) }
	set(time.Hour)
	cfg.Time = func() time.Time { return *now.Load() }
	b := start(t, "b", tcp.Config{TLS: cfg, Recheck: time.Hour})
	for _, step := range []struct {
		left              time.Duration
		warnings, expired int
	}{{time.Hour, 0, 0}, {41 * time.Minute, 0, 0}, {39 * time.Minute, 1, 0}, {21 * time.Minute, 1, 0}, {19 * time.Minute, 2, 0}, {-time.Second, 2, 1}} {
		set(step.left)
		for range 3 {
			recheck(t, b)
		}
		if w, e := b.lines.with("about to expire"), b.lines.with("has expired"); w != step.warnings || e != step.expired {
			t.Errorf("%v before the end: %d warnings and %d errors, want %d and %d", step.left, w, e, step.warnings, step.expired)
		}
	}
	if err := tcp.New(tcp.Config{TLS: cfg}).Recheck(); err != nil { // before Start
		t.Error(err)
	}
}
