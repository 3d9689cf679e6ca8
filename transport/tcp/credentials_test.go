package tcp_test

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/tcp"
)

// folder holds the files of one node.
type folder struct {
	t testing.TB
	tcp.Files
}

func newFolder(t testing.TB) folder {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	return folder{t, tcp.Files{Certificate: in("cert.pem"), Key: in("key.pem"), Authorities: in("ca.pem")}}
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// own writes a certificate for node and its key.
func (f folder) own(a *authority, node string) tls.Certificate {
	f.t.Helper()
	c := a.certificate(f.t, node, node)
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		f.t.Fatal(err)
	}
	write(f.t, f.Certificate, block("CERTIFICATE", c.Certificate[0]))
	write(f.t, f.Key, block("PRIVATE KEY", key))
	return c
}

func (f folder) trust(all ...*authority) {
	f.t.Helper()
	var b []byte
	for _, a := range all {
		b = append(b, block("CERTIFICATE", a.cert.Raw)...)
	}
	write(f.t, f.Authorities, b)
}

// list is a revocation list of a's.
func (a *authority) list(t testing.TB, revoked ...tls.Certificate) []byte {
	t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(time.Now().UnixNano()), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}
	for _, c := range revoked {
		leaf, err := x509.ParseCertificate(c.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: leaf.SerialNumber, RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, a.cert, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func load(t testing.TB, f tcp.Files) *tcp.Credentials {
	t.Helper()
	c, err := tcp.Load(f)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// node is a started transport that can listen and dial.
type node struct {
	*tcp.Transport
	to    transport.Endpoint
	links chan accepted
	lines *logged
}

func start(t testing.TB, name string, cfg tcp.Config) node {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	n := node{Transport: tcp.New(cfg), links: make(chan accepted, 64), lines: new(logged)}
	here := local(name)
	here.Logger = slog.New(n.lines)
	addr, err := n.Start(t.Context(), here, func(l transport.Link) transport.Receiver {
		s := newSink()
		n.links <- accepted{l, s}
		return s
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	n.to = transport.Endpoint{Node: name, Addr: addr}
	return n
}

// stays checks that a link still carries messages.
func stays(t testing.TB, from transport.Link, to *sink) {
	t.Helper()
	if _, err := from.Send(&transport.Envelope{Verb: transport.VerbTell, Seq: 1}); err != nil {
		t.Fatalf("the link has ended: %v", err)
	}
	wait(t, "a message", to.got)
}

func recheck(t testing.TB, n node) {
	t.Helper()
	if err := n.Recheck(); err != nil {
		t.Fatal(err)
	}
}

// All certificates and their authority are replaced while the nodes run. No link that is
// still good is lost, none of the former authority stays, and none can be made.
func TestAuthorityChanges(t *testing.T) {
	old, next := newAuthority(t), newAuthority(t)
	fa, fb, fc := newFolder(t), newFolder(t), newFolder(t)
	for name, f := range map[string]folder{"a": fa, "b": fb, "c": fc} {
		f.own(old, name)
		f.trust(old)
	}
	a, b := start(t, "a", tcp.Config{Credentials: load(t, fa.Files)}), start(t, "b", tcp.Config{Credentials: load(t, fb.Files)})
	c := start(t, "c", tcp.Config{Credentials: load(t, fc.Files)})
	first, firstEnd, err := dial(t, a.Transport, b.to)
	if err != nil {
		t.Fatal(err)
	}
	atB := wait(t, "link", b.links)
	if first.Peer().Principal != "tls:b" || atB.Peer().Principal != "tls:a" {
		t.Errorf("peers are %+v and %+v", first.Peer(), atB.Peer())
	}
	left, _, err := dial(t, c.Transport, b.to) // c is not told of the change
	if err != nil {
		t.Fatal(err)
	}
	leftAtB := wait(t, "link", b.links)

	for _, f := range []folder{fa, fb} { // both are trusted
		f.trust(old, next)
	}
	recheck(t, a)
	recheck(t, b)
	stays(t, first, atB.sink)
	fa.own(next, "a")
	recheck(t, a)
	stays(t, first, atB.sink) // which was made with the former certificate
	if _, _, err := dial(t, a.Transport, b.to); err != nil {
		t.Fatalf("with a certificate of the next authority: %v", err)
	}
	secondAtB := wait(t, "second link", b.links)
	fb.own(next, "b")
	fb.trust(next)
	recheck(t, b)
	if err := wait(t, "end of a link of the former authority", atB.closed); !errors.Is(err, tcp.ErrUntrusted) || !errors.Is(err, transport.ErrDenied) {
		t.Errorf("closed with %v, want ErrUntrusted", err)
	}
	wait(t, "its other end", firstEnd.closed)
	if err := wait(t, "end of another link of the former authority", leftAtB.closed); !errors.Is(err, tcp.ErrUntrusted) {
		t.Errorf("closed with %v, want ErrUntrusted", err)
	}
	if n := b.lines.with("links end"); n != 1 {
		t.Errorf("%d lines in the log for what one change ended, want 1", n)
	}
	if _, err := secondAtB.Send(&transport.Envelope{Verb: transport.VerbTell}); err != nil {
		t.Errorf("the link with new certificates on both sides: %v", err)
	}
	if _, _, err := dial(t, c.Transport, b.to); !errors.Is(err, transport.ErrDenied) {
		t.Errorf("who stayed with the former authority dials: %v, want ErrDenied", err)
	}
	if _, _, err := dial(t, a.Transport, b.to); err != nil {
		t.Errorf("dialling anew: %v", err)
	}
	_ = left
}

// Files that do not fit together, as they do not while they are replaced, change nothing.
func TestBadFilesChangeNothing(t *testing.T) {
	ca := newAuthority(t)
	f := newFolder(t)
	f.own(ca, "b")
	f.trust(ca)
	f.Revoked, f.Tokens = filepath.Join(t.TempDir(), "crl"), filepath.Join(t.TempDir(), "tokens")
	write(t, f.Revoked, block("X509 CRL", ca.list(t)))
	write(t, f.Tokens, []byte("one\n"))
	good := map[string][]byte{}
	for _, path := range []string{f.Certificate, f.Key, f.Authorities, f.Revoked, f.Tokens} {
		good[path], _ = os.ReadFile(path)
	}
	other := newFolder(t)
	other.own(ca, "b")
	otherKey, _ := os.ReadFile(other.Key)
	b := start(t, "b", tcp.Config{Credentials: load(t, f.Files)})
	a := dialler(t, tcp.Config{TLS: ca.mutual(t, "a"), Token: "one"})
	if _, _, err := dial(t, a, b.to); err != nil {
		t.Fatal(err)
	}
	atB := wait(t, "link", b.links)
	for name, bad := range map[string]struct {
		path string
		b    []byte
	}{
		"another's key":            {f.Key, otherKey},
		"half a certificate":       {f.Certificate, good[f.Certificate][:100]},
		"no authority":             {f.Authorities, []byte("# none\n")},
		"a broken authority":       {f.Authorities, block("CERTIFICATE", []byte("x"))},
		"somebody else's list":     {f.Revoked, block("X509 CRL", newAuthority(t).list(t))},
		"no list":                  {f.Revoked, []byte("x")},
		"no token":                 {f.Tokens, []byte("\n")},
		"too many tokens":          {f.Tokens, []byte("1 2 3 4 5 6 7 8 9")},
		"a token that is too long": {f.Tokens, bytes.Repeat([]byte("x"), 4097)},
		"too large":                {f.Tokens, make([]byte, 1<<20+1)},
		"nothing":                  {f.Certificate, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if write(t, bad.path, bad.b); bad.b == nil {
				os.Remove(bad.path)
			}
			defer func() { write(t, bad.path, good[bad.path]) }()
			err := b.Recheck()
			if err == nil || !strings.Contains(err.Error(), filepath.Base(bad.path)) && !strings.Contains(err.Error(), f.Certificate) {
				t.Errorf("reading it: %v, want an error that names the file", err)
			}
			if _, err := tcp.Load(f.Files); err == nil {
				t.Error("loading it: no error")
			}
			if _, _, err := dial(t, a, b.to); err != nil {
				t.Errorf("dialling: %v", err)
			}
			wait(t, "link", b.links)
		})
	}
	if _, err := atB.Send(&transport.Envelope{Verb: transport.VerbTell}); err != nil {
		t.Errorf("the first link: %v", err)
	}
	recheck(t, b)
}

func TestCredentialsThatCannotBe(t *testing.T) {
	ca := newAuthority(t)
	f := newFolder(t)
	f.own(ca, "b")
	f.trust(ca)
	if _, err := tcp.Load(tcp.Files{Certificate: f.Certificate, Key: f.Key}); err == nil {
		t.Error("a certificate without authorities: no error")
	}
	for name, cfg := range map[string]tcp.Config{
		"with TLS":   {Credentials: load(t, f.Files), TLS: ca.mutual(t, "b")},
		"not loaded": {Credentials: new(tcp.Credentials)},
	} {
		tr := tcp.New(cfg)
		if _, err := tr.Start(t.Context(), local("b"), nil); err == nil || !strings.Contains(err.Error(), "Credentials") {
			t.Errorf("%s: %v", name, err)
		}
		tr.Close()
	}
	// Beyond loopback they are enough.
	b := start(t, "b", tcp.Config{Credentials: load(t, f.Files)})
	if _, _, err := dial(t, dialler(t, tcp.Config{TLS: &tls.Config{RootCAs: ca.pool}}), b.to); !errors.Is(err, transport.ErrDenied) {
		t.Errorf("without a certificate: %v, want ErrDenied", err)
	}
	tr := tcp.New(tcp.Config{Listen: "0.0.0.0:0", Advertise: "127.0.0.1:0", Credentials: load(t, f.Files)})
	if _, err := tr.Start(t.Context(), local("b"), nil); err != nil {
		t.Error(err)
	}
	tr.Close()
}

// A certificate that is revoked while its link is open loses it at the next look, which
// the transport takes by itself, and gets no other.
func TestRevokedWhileLinked(t *testing.T) {
	ca := newAuthority(t)
	alice, carol := ca.mutual(t, "alice"), ca.mutual(t, "carol")
	f := newFolder(t)
	f.own(ca, "b")
	f.trust(ca)
	f.Revoked = filepath.Join(t.TempDir(), "crl")
	write(t, f.Revoked, block("X509 CRL", ca.list(t)))
	var revoked atomic.Bool
	for name, tt := range map[string]struct {
		cfg    tcp.Config
		revoke func()
	}{
		"by a function": {tcp.Config{TLS: ca.mutual(t, "b"), Revoked: func(c *x509.Certificate) bool { return revoked.Load() && c.Subject.CommonName == "alice" }},
			func() { revoked.Store(true) }},
		"by a list": {tcp.Config{Credentials: load(t, f.Files)},
			func() { write(t, f.Revoked, ca.list(t, alice.Certificates[0])) }}, // in DER
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

// Who dials looks as well.
func TestRevokedServer(t *testing.T) {
	ca := newAuthority(t)
	var revoked atomic.Bool
	a := start(t, "a", tcp.Config{TLS: ca.mutual(t, "a"), Revoked: func(c *x509.Certificate) bool { return revoked.Load() && c.Subject.CommonName == "b" }})
	to, _ := serve(t, tcp.Config{Listen: "127.0.0.1:0", TLS: ca.mutual(t, "b")})
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

// Links do not outlive the certificates they were made with, on either side.
func TestExpiredWhileLinked(t *testing.T) {
	ca := newAuthority(t)
	var late atomic.Int64 // nanoseconds
	clock := func() time.Time { return time.Now().Add(time.Duration(late.Load())) }
	at := func(name string) tcp.Config {
		cfg := ca.mutual(t, name)
		cfg.Time = clock
		return tcp.Config{TLS: cfg}
	}
	a, b := start(t, "a", at("a")), start(t, "b", at("b"))
	l, atA, err := dial(t, a.Transport, b.to)
	if err != nil {
		t.Fatal(err)
	}
	atB := wait(t, "link", b.links)
	late.Store(int64(59 * time.Minute)) // they are good for an hour
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

// A Revoked that panics takes nobody's link away.
func TestRevokedPanicsLater(t *testing.T) {
	ca := newAuthority(t)
	var mad atomic.Bool
	b := start(t, "b", tcp.Config{TLS: ca.mutual(t, "b"), Revoked: func(*x509.Certificate) bool {
		if mad.Load() {
			panic("no database")
		}
		return false
	}})
	l, _, err := dial(t, dialler(t, tcp.Config{TLS: ca.mutual(t, "a")}), b.to)
	if err != nil {
		t.Fatal(err)
	}
	atB := wait(t, "link", b.links)
	mad.Store(true)
	recheck(t, b)
	stays(t, l, atB.sink)
}

// A token is changed in three steps, in none of which a link is refused; afterwards the
// former one is good for nothing, and links that were made with it are over.
func TestTokenChanges(t *testing.T) {
	file := func() tcp.Files { return tcp.Files{Tokens: filepath.Join(t.TempDir(), "tokens")} }
	fa, fb := file(), file()
	write(t, fa.Tokens, []byte("old\n"))
	write(t, fb.Tokens, []byte("old\n"))
	a, b := start(t, "a", tcp.Config{Credentials: load(t, fa)}), start(t, "b", tcp.Config{Credentials: load(t, fb)})
	both := func(when string) {
		t.Helper()
		for from, to := range map[*tcp.Transport]transport.Endpoint{a.Transport: b.to, b.Transport: a.to} {
			if _, _, err := dial(t, from, to); err != nil {
				t.Errorf("%s: %v", when, err)
			}
		}
	}
	both("before")
	first := wait(t, "link", b.links)
	if first.Peer().Principal != transport.TokenHolder {
		t.Errorf("peer is %+v", first.Peer())
	}
	for _, step := range []string{"old\nnew\n", "new\nold\n", "new\n"} {
		for i, n := range []node{a, b} {
			write(t, []tcp.Files{fa, fb}[i].Tokens, []byte(step))
			recheck(t, n)
			both(fmt.Sprintf("node %d has %q", i+1, step))
		}
	}
	if err := wait(t, "end of the first link", first.closed); err == nil {
		t.Error("no error")
	}
	if n := a.lines.with("links end") + b.lines.with("links end"); n == 0 {
		t.Error("no line in the log about the links of the former token")
	}
	for _, token := range []string{"old", ""} {
		if _, _, err := dial(t, dialler(t, tcp.Config{Token: token}), b.to); !errors.Is(err, transport.ErrDenied) {
			t.Errorf("token %q: %v, want ErrDenied", token, err)
		}
	}
	if _, _, err := dial(t, dialler(t, tcp.Config{Token: "new"}), b.to); err != nil {
		t.Error(err)
	}
}

func TestMoreTokens(t *testing.T) {
	to, _ := serve(t, tcp.Config{Listen: "127.0.0.1:0", Token: "1", MoreTokens: []string{"2", "3", "4", "5", "6", "7", "8"}})
	for i := range 10 {
		_, _, err := dial(t, dialler(t, tcp.Config{Token: fmt.Sprint(i)}), to)
		if ok := 1 <= i && i <= 8; ok != (err == nil) || !ok && !errors.Is(err, transport.ErrDenied) {
			t.Errorf("token %d: %v", i, err)
		}
	}
	tr := tcp.New(tcp.Config{Token: "1", MoreTokens: []string{"2", "3", "4", "5", "6", "7", "8", "9"}})
	if _, err := tr.Start(t.Context(), local("b"), nil); err == nil || !strings.Contains(err.Error(), "9 tokens, at most 8") {
		t.Errorf("9 tokens: %v", err)
	}
	tr.Close()
}

// Certificates that functions of TLS hand out may change between two connections.
func TestCertificateFunctions(t *testing.T) {
	ca := newAuthority(t)
	var server, client atomic.Pointer[tls.Certificate]
	put := func(p *atomic.Pointer[tls.Certificate], name string) { c := ca.certificate(t, name, "b"); p.Store(&c) }
	to, links := serve(t, tcp.Config{Listen: "127.0.0.1:0", TLS: &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return server.Load(), nil }}})
	tr := dialler(t, tcp.Config{TLS: &tls.Config{RootCAs: ca.pool,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return client.Load(), nil }}})
	for _, name := range []string{"first", "second"} {
		put(&server, name)
		put(&client, name+"-client")
		l, _, err := dial(t, tr, to)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := wait(t, "link", links).Peer().Principal, "tls:"+name+"-client"; l.Peer().Principal != "tls:"+name || got != want {
			t.Errorf("principals are %q and %q, want %q and %q", l.Peer().Principal, got, name, want)
		}
	}
}

// A node says once that its own certificate is about to expire, however often it looks, once
// more when the end is near, and once when it has come.
func TestOwnCertificateAboutToExpire(t *testing.T) {
	ca := newAuthority(t)
	cfg := ca.mutual(t, "b")
	leaf := cfg.Certificates[0].Leaf
	if leaf == nil {
		var err error
		if leaf, err = x509.ParseCertificate(cfg.Certificates[0].Certificate[0]); err != nil {
			t.Fatal(err)
		}
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
