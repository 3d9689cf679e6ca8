// Files of credentials that a test writes, and nodes that use them.

package tcp_test

import (
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/tandem-go/tandem/test/certs"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/tcp"
)

// folder holds the files of one node.
type folder struct {
	t testing.TB
	tcp.Files
}

// newFolder returns a folder without files.
func newFolder(t testing.TB) folder {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	return folder{t, tcp.Files{Certificate: in("cert.pem"), Key: in("key.pem"), Authorities: in("ca.pem")}}
}

// write writes a file.
func write(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// block returns a PEM block.
func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// own writes a certificate for node, whose name is its DNS name too, and the key.
func (f folder) own(a *certs.Authority, node string) {
	f.t.Helper()
	certs.Write(f.t, f.Certificate, f.Key, a.Issue(f.t, node, node))
}

// trust writes the authorities that the node trusts.
func (f folder) trust(all ...*certs.Authority) {
	f.t.Helper()
	certs.WriteAuthorities(f.t, f.Authorities, all...)
}

// load loads the credentials in files.
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

// start starts a transport that listens, for a node.
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

// recheck makes a node read its files and check its links again.
func recheck(t testing.TB, n node) {
	t.Helper()
	if err := n.Recheck(); err != nil {
		t.Fatal(err)
	}
}
