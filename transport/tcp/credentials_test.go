package tcp_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tandem-go/tandem/test/certs"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/tcp"
)

// All certificates and their authority are replaced while the nodes run. No valid link is lost.
// No link under the former authority stays, and none can be made.
func TestAuthorityChanges(t *testing.T) {
	old, next := certs.New(t), certs.New(t)
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

// Files that do not match each other change nothing. While files are replaced, they do not match.
func TestBadFilesChangeNothing(t *testing.T) {
	ca := certs.New(t)
	f := newFolder(t)
	f.own(ca, "b")
	f.trust(ca)
	f.Revoked, f.Tokens = filepath.Join(t.TempDir(), "crl"), filepath.Join(t.TempDir(), "tokens")
	write(t, f.Revoked, block("X509 CRL", ca.Revoke(t)))
	write(t, f.Tokens, []byte("one\n"))
	good := map[string][]byte{}
	for _, path := range []string{f.Certificate, f.Key, f.Authorities, f.Revoked, f.Tokens} {
		good[path], _ = os.ReadFile(path)
	}
	other := newFolder(t)
	other.own(ca, "b")
	otherKey, _ := os.ReadFile(other.Key)
	b := start(t, "b", tcp.Config{Credentials: load(t, f.Files)})
	a := dialler(t, tcp.Config{TLS: ca.Mutual(t, "a"), Token: "one"})
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
		"somebody else's list":     {f.Revoked, block("X509 CRL", certs.New(t).Revoke(t))},
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
	ca := certs.New(t)
	f := newFolder(t)
	f.own(ca, "b")
	f.trust(ca)
	if _, err := tcp.Load(tcp.Files{Certificate: f.Certificate, Key: f.Key}); err == nil {
		t.Error("a certificate without authorities: no error")
	}
	for name, cfg := range map[string]tcp.Config{
		"with TLS":   {Credentials: load(t, f.Files), TLS: ca.Mutual(t, "b")},
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
	if _, _, err := dial(t, dialler(t, tcp.Config{TLS: &tls.Config{RootCAs: ca.Pool}}), b.to); !errors.Is(err, transport.ErrDenied) {
		t.Errorf("without a certificate: %v, want ErrDenied", err)
	}
	tr := tcp.New(tcp.Config{Listen: "0.0.0.0:0", Advertise: "127.0.0.1:0", Credentials: load(t, f.Files)})
	if _, err := tr.Start(t.Context(), local("b"), nil); err != nil {
		t.Error(err)
	}
	tr.Close()
}

// A token is changed in three steps, and in none of them a link is refused. After that the former
// token is refused, and the links that were made with it have ended.
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
	ca := certs.New(t)
	var server, client atomic.Pointer[tls.Certificate]
	put := func(p *atomic.Pointer[tls.Certificate], name string) { c := ca.Issue(t, name, "b"); p.Store(&c) }
	to, links := serve(t, tcp.Config{Listen: "127.0.0.1:0", TLS: &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return server.Load(), nil }}})
	tr := dialler(t, tcp.Config{TLS: &tls.Config{RootCAs: ca.Pool,
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
