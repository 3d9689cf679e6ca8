// A store of records in memory, and servers that use it.

package engine

import (
	"context"
	"iter"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/ledger"
)

// disk is a store that outlives the nodes of a rig.
type disk struct {
	mu     sync.Mutex // guards what follows
	kept   []ledger.Change
	epoch  string
	writes int
	fail   error // what the next writes return
	anyway bool  // the writes that fail are stored nevertheless
}

type diskLog struct {
	*disk
	mine string
}

func (d *disk) Take(_ context.Context, _, epoch string, load func(ledger.Change)) (ledger.Log, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.epoch = epoch
	for _, c := range d.kept {
		load(c)
	}
	return diskLog{d, epoch}, nil
}

func (l diskLog) Append(_ context.Context, changes []ledger.Change) error {
	time.Sleep(time.Millisecond) // writing takes a while, and what comes meanwhile is written together
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epoch != l.mine {
		return ledger.ErrFenced
	}
	l.writes++
	if l.fail == nil || l.anyway {
		l.kept = append(l.kept, changes...)
	}
	return l.fail
}

func (l diskLog) Rewrite(_ context.Context, changes iter.Seq[ledger.Change]) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = slices.Collect(changes)
	return nil
}

func (l diskLog) Close() error { return nil }

// breaks makes writes fail with err, until it is nil. If anyway is set, they are stored nevertheless.
func (d *disk) breaks(err error, anyway bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail, d.anyway = err, anyway
}

// ledger returns the ledger that the disk's changes result in.
func (d *disk) ledger() *ledger.Ledger {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := ledger.New()
	for _, c := range d.kept {
		l.Apply(c)
	}
	return l
}

// unplug makes the disk ignore its present owner from now on.
func (d *disk) unplug() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.epoch = ""
}

// config makes a node use the disk as its store.
func (d *disk) config(c *Config) { c.Store, c.Kinds = d, []string{"test"} }

// durably makes fn the handler of actors whose requests are recorded.
func (s *site) durably(fn func(in *server.Inbound, body string) string) {
	s.handle(fn)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.durability = server.Durability{Known: true, Kind: "test", Durable: true}
	serve := s.serve
	s.serve = func(in *server.Inbound) {
		s.Server.Begin([]*server.Inbound{in})
		serve(in)
	}
}

// same is a handler that returns "got " and the body.
func same(_ *server.Inbound, body string) string { return "got " + body }

// echoesAs fails the test unless to answers body with want.
func (s *site) echoesAs(t *testing.T, to, body, want string) {
	t.Helper()
	if got, err := s.ask(to, body); got != want || err != nil {
		t.Errorf("%s asked %s %q: %q, %v", s.name, to, body, got, err)
	}
}

// count returns how many of the kept changes are of an operation and match.
func (d *disk) count(op ledger.Op, match func(ledger.Change) bool) (n int) {
	for c := range d.ledger().All() {
		if c.Op == op && match(c) {
			n++
		}
	}
	return n
}
