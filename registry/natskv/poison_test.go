package natskv_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/registry/registrytest"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// poisoned is a bucket that somebody writes to by hand, and two clients that read it.
type poisoned struct {
	*testing.T
	a, b *natskv.Registry
	kv   jetstream.KeyValue
	log  *strings.Builder // of b, which is closed before it is read
}

func newPoisoned(t *testing.T, cfg natskv.Config) *poisoned {
	t.Helper()
	js := connect(t, start(t, embedded.Config{}))
	p := &poisoned{T: t, log: new(strings.Builder)}
	p.a = open(t, js, natskv.Config{})
	cfg.Logger = slog.New(slog.NewTextHandler(p.log, nil))
	p.b = open(t, js, cfg)
	kv, err := js.KeyValue(t.Context(), "tandem_nodes")
	if err != nil {
		t.Fatal(err)
	}
	p.kv = kv
	return p
}

// put writes value under a node's name.
func (p *poisoned) put(name string, value []byte) {
	p.Helper()
	if _, err := p.kv.Put(p.Context(), name, value); err != nil {
		p.Fatal(err)
	}
}

func (p *poisoned) record(n registry.Node) []byte {
	p.Helper()
	value, err := json.Marshal(n)
	if err != nil {
		p.Fatal(err)
	}
	return value
}

// served waits until b serves a record with that address.
func (p *poisoned) served(name, addr string) {
	p.Helper()
	events, err := p.b.Watch(within(p.T, 10*time.Second))
	if err != nil {
		p.Fatal(err)
	}
	for e := range events {
		if e.Node.Name == name && e.Node.Addrs["tcp"] == addr {
			return
		}
	}
	p.Fatalf("%s is not served at %s", name, addr)
}

// When the owner renews its lease, it restores a forged record, whether that had another address or
// could not be read at all.
func TestRenewWritesTheOwnersRecord(t *testing.T) {
	t.Parallel()
	p := newPoisoned(t, natskv.Config{})
	own := registrytest.Node("bank", "e1", "true")
	if err := p.a.Register(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	for _, forgery := range [][]byte{p.record(registrytest.Node("bank", "e1", "forged")), []byte("{"), make([]byte, registry.MaxRecord+1)} {
		p.put("bank", forgery)
		if err := p.a.Renew(t.Context(), "bank", "e1"); err != nil {
			t.Fatal(err)
		}
		got, err := p.kv.Get(t.Context(), "bank")
		if err != nil || string(got.Value()) != string(p.record(own)) {
			t.Errorf("after a renewal: %.200s, %v", got.Value(), err)
		}
		p.served("bank", "true")
	}
	if err := p.b.Renew(t.Context(), "bank", "e1"); !errors.Is(err, registry.ErrLost) {
		t.Errorf("renewed by who never registered it: %v", err)
	}
	p.put("bank", p.record(registrytest.Node("bank", "e2", "forged")))
	if err := p.a.Renew(t.Context(), "bank", "e1"); !errors.Is(err, registry.ErrLost) {
		t.Errorf("another epoch has the name: %v", err)
	}
}

// A record of MaxRecord bytes is registered and served. A larger one is refused. If somebody writes
// it by hand, it is not served, and there is one line in the log.
func TestRecordsAreBounded(t *testing.T) {
	t.Parallel()
	p := newPoisoned(t, natskv.Config{})
	n := registrytest.Node("n", "e1", "x")
	n.Addrs["pad"] = ""
	n.Addrs["pad"] = strings.Repeat("p", registry.MaxRecord-len(p.record(n)))
	if err := p.a.Register(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	p.served("n", "x")
	n.Name, n.Addrs["pad"] = "m", n.Addrs["pad"]+"p"
	if err := p.a.Register(t.Context(), n); !errors.Is(err, registry.ErrTooLarge) {
		t.Errorf("one byte beyond: %v", err)
	}
	for range 10 {
		p.put("m", p.record(n))
	}
	if _, err := p.a.Lookup(t.Context(), "m"); !errors.Is(err, registry.ErrTooLarge) {
		t.Errorf("looked up: %v", err)
	}
	p.put("after", p.record(registrytest.Node("after", "e1", "y")))
	p.served("after", "y")
	if nodes, err := p.b.Nodes(t.Context()); err != nil || len(nodes) != 2 {
		t.Errorf("%d nodes are served, %v", len(nodes), err)
	}
	p.b.Close()
	if lines := strings.Count(p.log.String(), "not served"); lines != 1 {
		t.Errorf("%d lines in the log: %s", lines, p.log)
	}
}

// At most as many records and bytes are served as Config allows, and one line in the log says so.
// Records that are served stay so, with their changes, and a node that leaves makes room.
func TestHeldRecordsAreBounded(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]natskv.Config{"records": {MaxRecords: 5}, "bytes": {MaxBytes: 5*(12<<10) + 6<<10}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPoisoned(t, cfg)
			large := func(name, addr string) registry.Node {
				n := registrytest.Node(name, "e1", addr)
				n.Addrs["pad"] = strings.Repeat("p", 11<<10)
				return n
			}
			for i := range 40 {
				name := fmt.Sprint("n", i)
				p.put(name, p.record(large(name, "x")))
				if i == 4 { // a reader that is late sees a record where it was written last
					p.served(name, "x")
				}
			}
			p.put("n0", p.record(large("n0", "y")))
			p.served("n0", "y")
			nodes, err := p.b.Nodes(t.Context())
			if err != nil || len(nodes) != 5 {
				t.Errorf("%d nodes are served, %v", len(nodes), err)
			}
			if err := p.a.Evict(t.Context(), "n4", "e1"); err != nil {
				t.Fatal(err)
			}
			p.put("n39", p.record(large("n39", "z")))
			p.served("n39", "z")
			if err := p.b.Register(t.Context(), registrytest.Node("own", "e1", "o")); err != nil {
				t.Fatal(err)
			}
			p.served("own", "o") // there is room for a client's own
			p.b.Close()
			if lines := strings.Count(p.log.String(), "not served"); lines != 1 {
				t.Errorf("%d lines in the log", lines)
			}
		})
	}
}
