package registrytest

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/tandem-go/tandem/registry"
)

// Server is a real server on which a registry keeps its records, in the hands of a test. Its
// methods fail the test themselves.
type Server interface {
	Addr() string // where it listens; it stays the same

	// Open returns a client of one cluster that reaches the server at addr, with a connection of
	// its own. It is closed when the test ends.
	Open(t *testing.T, addr string, lease time.Duration, log *slog.Logger) registry.Registry

	Stop()                           // it keeps its data
	Start()                          // after Stop
	Wipe()                           // while it is stopped: its data is lost
	Drop(name string)                // the lease of a record ends at once
	Spoil(name string, value []byte) // somebody writes value in the place of a record, by hand
}

// RunFaults runs what can go wrong with the server of a registry whose claims have leases. start
// starts a new server for one test, and stops it with t.Cleanup.
func RunFaults(t *testing.T, start func(t *testing.T) Server) {
	for _, c := range []struct {
		name  string
		lease time.Duration
		test  func(*faulty)
	}{
		{"away", outageLease, (*faulty).away},
		{"restart", longLease, (*faulty).restart},
		{"mass expiry is not believed", outageLease, (*faulty).massExpiry},
		{"data is lost", outageLease, (*faulty).wiped},
		{"a lease is dropped", longLease, (*faulty).dropped},
		{"a watch misses changes", longLease, (*faulty).missed},
		{"a client is cut off longer than its lease", outageLease, (*faulty).cutOff},
		{"a record that cannot be read", longLease, (*faulty).spoilt},
		{"opened before the server", longLease, (*faulty).early},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
			t.Cleanup(cancel)
			f := &faulty{T: t, s: s, ctx: ctx, lease: c.lease, gate: newGate(t, s.Addr()), log: new(logged)}
			f.a = s.Open(t, s.Addr(), c.lease, slog.New(slog.DiscardHandler))
			f.b = s.Open(t, f.gate.addr(), c.lease, slog.New(slog.NewTextHandler(f.log, nil)))
			var err error
			if f.events, err = f.b.Watch(ctx); err != nil {
				t.Fatal(err)
			}
			c.test(f)
		})
	}
}

// faulty is one test with two clients of a server. The test reads the events of b, and can cut b off.
type faulty struct {
	*testing.T
	ctx    context.Context
	s      Server
	lease  time.Duration
	a, b   registry.Registry
	gate   *gate // between b and the server
	log    *logged
	events <-chan registry.Event
}

// register has a claim a name, and b report it.
func (f *faulty) register(n registry.Node, how registry.Change) {
	f.Helper()
	f.eventually(func() error { return f.a.Register(f.ctx, n) })
	f.expect(how, n)
}

// eventually repeats what fails while the registry is not available.
func (f *faulty) eventually(do func() error) {
	f.Helper()
	if err := again(f.ctx, do); err != nil {
		f.Fatal(err)
	}
}

func (f *faulty) expect(change registry.Change, n registry.Node) {
	f.Helper()
	if e := f.next(); e.Change != change || !e.Node.Equal(n) {
		f.Fatalf("got %v %+v, want %v %+v", e.Change, e.Node, change, n)
	}
}

func (f *faulty) next() registry.Event {
	f.Helper()
	select {
	case e, open := <-f.events:
		if !open {
			f.Fatal("the watch ended")
		}
		return e
	case <-f.ctx.Done():
		f.Fatal("nothing was reported")
	}
	return registry.Event{}
}

// served checks that b serves want, and has reported nothing.
func (f *faulty) served(want registry.Node) {
	f.Helper()
	if got, err := f.b.Lookup(f.ctx, want.Name); err != nil || !got.Equal(want) {
		f.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	select {
	case e := <-f.events:
		f.Errorf("reported %v %+v", e.Change, e.Node)
	default:
	}
}

// keep renews a's claim on n until f says that it is enough, and registers it again if it is lost.
func (f *faulty) keep(n registry.Node, until <-chan registry.Event) registry.Event {
	f.Helper()
	renew := time.NewTicker(f.lease / 4)
	defer renew.Stop()
	for {
		f.eventually(func() error {
			err := f.a.Renew(f.ctx, n.Name, n.Epoch)
			if errors.Is(err, registry.ErrLost) {
				err = f.a.Register(f.ctx, n)
			}
			return err
		})
		select {
		case e := <-until:
			return e
		case <-renew.C:
		case <-f.ctx.Done():
			f.Fatal("nothing was reported")
		}
	}
}

// While the server is away, the cache answers, nothing expires, and what needs the server fails soon.
func (f *faulty) away() {
	n := Node("n", "e1", "x")
	f.register(n, registry.Joined)
	f.s.Stop()
	for what, do := range map[string]func() error{
		"register":   func() error { return f.a.Register(f.ctx, n) },
		"renew":      func() error { return f.a.Renew(f.ctx, "n", "e1") },
		"deregister": func() error { return f.a.Deregister(f.ctx, "n", "e1", nil) },
		"evict":      func() error { return f.b.Evict(f.ctx, "n", "e1") },
		"lookup":     func() error { _, err := f.b.Lookup(f.ctx, "other"); return err },
		"refresh":    func() error { return f.b.Refresh(f.ctx, "n") },
		"departed":   func() error { _, err := f.b.Departed(f.ctx, "n"); return err },
	} {
		began := time.Now()
		if err := do(); !errors.Is(err, registry.ErrUnavailable) {
			f.Errorf("%s: %v, want ErrUnavailable", what, err)
		}
		if d := time.Since(began); d > patience/2 {
			f.Errorf("%s: it took %v to say that the server is away", what, d)
		}
	}
	<-time.After(f.lease + f.lease/2) // the test is that time passes and nothing happens
	f.served(n)
	if nodes, err := f.b.Nodes(f.ctx); err != nil || len(nodes) != 1 {
		f.Errorf("nodes: %v, %v", nodes, err)
	}
}

// The server comes back within the lease. Everything works again, and later changes are seen.
func (f *faulty) restart() {
	n, m := Node("n", "e1", "x"), Node("m", "e1", "x")
	f.register(n, registry.Joined)
	for range 2 {
		f.s.Stop()
		f.s.Start()
		f.eventually(func() error { return f.a.Renew(f.ctx, "n", "e1") })
		f.register(m, registry.Joined)
		f.eventually(func() error { return f.a.Deregister(f.ctx, "m", "e1", []byte("last")) })
		f.expect(registry.Left, m)
		f.served(n)
	}
}

// The server is away for longer than all leases. A node that lives has no event about it. A dead one is
// reported as expired, and not before its node had time to come back.
func (f *faulty) massExpiry() {
	alive, dead := Node("alive", "e1", "x"), Node("dead", "e1", "x")
	f.register(alive, registry.Joined)
	f.register(dead, registry.Joined)
	f.s.Stop()
	<-time.After(f.lease + f.lease/4) // until the leases have ended
	f.s.Start()
	back := time.Now()
	if e := f.keep(alive, f.events); e.Change != registry.Expired || !e.Node.Equal(dead) {
		f.Fatalf("got %v %+v, want dead to expire", e.Change, e.Node)
	}
	if d := time.Since(back); d < f.lease-f.lease/10 {
		f.Errorf("believed %v after the server was back", d)
	}
	f.served(alive)
}

// The server loses all records. Nodes register again, and a record that does not come back is served for
// one more lease, or until somebody knows that its node is dead.
func (f *faulty) wiped() {
	n, gone := Node("n", "e1", "x"), Node("gone", "e1", "x")
	f.register(n, registry.Joined)
	for range 10 { // so that the new records certainly have lower revisions
		f.eventually(func() error { return f.a.Register(f.ctx, n) })
	}
	f.register(gone, registry.Joined)
	f.s.Stop()
	f.s.Wipe()
	f.s.Start()
	f.eventually(func() error {
		if err := f.a.Renew(f.ctx, "n", "e1"); !errors.Is(err, registry.ErrLost) {
			return err
		}
		return nil
	})
	changed := Node("n", "e1", "y")
	f.register(changed, registry.Updated)
	if e := f.keep(changed, f.events); e.Change != registry.Expired || !e.Node.Equal(gone) {
		f.Fatalf("got %v %+v, want gone to expire", e.Change, e.Node)
	}
	f.served(changed)
}

// The server ends a lease early. The holder learns it from its next renewal, and can register again; or
// somebody else can.
func (f *faulty) dropped() {
	n := Node("n", "e1", "x")
	f.register(n, registry.Joined)
	f.s.Drop("n")
	f.expect(registry.Expired, n)
	if err := f.a.Renew(f.ctx, "n", "e1"); !errors.Is(err, registry.ErrLost) {
		f.Errorf("renewed: %v", err)
	}
	if err := f.a.Update(f.ctx, n); !errors.Is(err, registry.ErrLost) {
		f.Errorf("updated: %v", err)
	}
	f.register(n, registry.Joined)
	f.eventually(func() error { return f.a.Renew(f.ctx, "n", "e1") })
	f.s.Drop("n")
	f.expect(registry.Expired, n)
	other := Node("n", "e2", "y")
	f.eventually(func() error { return f.b.Register(f.ctx, other) })
	f.expect(registry.Joined, other)
	if err := f.a.Renew(f.ctx, "n", "e1"); !errors.Is(err, registry.ErrLost) {
		f.Errorf("renewed what another epoch has: %v", err)
	}
	for _, r := range []registry.Registry{f.a, f.b} {
		if d, err := r.Departed(f.ctx, "n"); err != nil || d.Epoch != "e1" || d.Change != registry.Expired {
			f.Errorf("departed: %+v, %v", d, err)
		}
	}
}

// While a client is cut off, it misses that nodes come, change, leave and are replaced. It finds out.
func (f *faulty) missed() {
	changed, left, replaced := Node("changed", "e1", "x"), Node("left", "e1", "x"), Node("replaced", "e1", "x")
	for _, n := range []registry.Node{changed, left, replaced} {
		f.register(n, registry.Joined)
	}
	f.gate.shut()
	do := func(err error) {
		f.Helper()
		if err != nil {
			f.Fatal(err)
		}
	}
	want := map[string]registry.Event{
		"changed":  {Change: registry.Updated, Node: Node("changed", "e1", "y")},
		"left":     {Change: registry.Left, Node: left},
		"replaced": {Change: registry.Joined, Node: Node("replaced", "e2", "y")},
		"new":      {Change: registry.Joined, Node: Node("new", "e1", "x")},
	}
	do(f.a.Register(f.ctx, want["changed"].Node))
	do(f.a.Deregister(f.ctx, "left", "e1", nil))
	do(f.a.Deregister(f.ctx, "replaced", "e1", nil))
	do(f.a.Register(f.ctx, want["replaced"].Node))
	do(f.a.Register(f.ctx, want["new"].Node))
	f.served(changed) // as far as b knows
	f.gate.open()
	for len(want) > 0 {
		e := f.next()
		w, ok := want[e.Node.Name]
		if delete(want, e.Node.Name); !ok || e.Change != w.Change || !e.Node.Equal(w.Node) {
			f.Errorf("got %v %+v, want %v %+v", e.Change, e.Node, w.Change, w.Node)
		}
	}
}

// A client that is cut off, or paused, for longer than its lease takes no other node for dead, and learns
// that its own claim is gone, which others have seen expire.
func (f *faulty) cutOff() {
	kept, own := Node("kept", "e1", "x"), Node("own", "e1", "x")
	f.register(kept, registry.Joined)
	if err := f.b.Register(f.ctx, own); err != nil {
		f.Fatal(err)
	}
	f.expect(registry.Joined, own)
	others, err := f.a.Watch(f.ctx)
	if err != nil {
		f.Fatal(err)
	}
	for range 2 {
		<-others // both joined
	}
	f.gate.shut()
	if e := f.keep(kept, others); e.Change != registry.Expired || !e.Node.Equal(own) {
		f.Fatalf("got %v %+v, want own to expire", e.Change, e.Node)
	}
	f.served(kept)
	f.gate.open()
	renewed := make(chan registry.Event, 1)
	go func() {
		err := again(f.ctx, func() error { return f.b.Renew(f.ctx, "own", "e1") })
		if !errors.Is(err, registry.ErrLost) {
			f.Errorf("renewed: %v", err)
		}
		if err := f.b.Register(f.ctx, own); err != nil {
			f.Error(err)
		}
		renewed <- registry.Event{}
	}()
	f.keep(kept, renewed)
	f.served(kept)
	f.served(own) // it came back in time
}

// A record that cannot be read is not served, hides no other, and costs one line in the log. Its owner
// restores it.
func (f *faulty) spoilt() {
	n := Node("n", "e1", "x")
	f.register(n, registry.Joined)
	for _, value := range []string{"{", `{"name":"m","epoch":"e1"}`, `{"name":"n","epoch":"e 1"}`} {
		f.s.Spoil("other", []byte(value))
		f.s.Spoil("n", []byte(value))
		f.register(Node("after", "e1", value), registry.Joined)
		if _, err := f.b.Lookup(f.ctx, "other"); err == nil || errors.Is(err, registry.ErrUnavailable) {
			f.Errorf("looked up: %v", err)
		}
		if err := f.b.Register(f.ctx, Node("n", "e2", "x")); err == nil {
			f.Error("registered in the place of a record that cannot be read")
		}
		if err := f.a.Renew(f.ctx, "n", "e1"); err != nil {
			f.Errorf("renewed: %v", err)
		}
		if got, err := f.a.Lookup(f.ctx, "n"); err != nil || !got.Equal(n) {
			f.Errorf("restored: %+v, %v", got, err)
		}
		if err := f.b.Refresh(f.ctx, "n"); err != nil {
			f.Errorf("refreshed: %v", err)
		}
		if err := f.a.Deregister(f.ctx, "after", "e1", nil); err != nil {
			f.Fatal(err)
		}
		f.expect(registry.Left, Node("after", "e1", value))
	}
	f.served(n)
	forged, err := json.Marshal(Node("n", "e1", "forged")) // it can be read, and is not the owner's
	if err != nil {
		f.Fatal(err)
	}
	f.s.Spoil("n", forged)
	f.expect(registry.Updated, Node("n", "e1", "forged"))
	f.eventually(func() error { return f.a.Renew(f.ctx, "n", "e1") })
	f.expect(registry.Updated, n)
	if got := f.log.count("not served"); got != 1 {
		f.Errorf("%d lines in the log", got)
	}
}

// A registry may be opened before its server is there. It says once that it waits.
func (f *faulty) early() {
	f.s.Stop()
	log := new(logged)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.s.Open(f.T, f.s.Addr(), f.lease, slog.New(slog.NewTextHandler(log, nil)))
	}()
	log.await(f.T, "is not open")
	f.s.Start()
	select {
	case <-done:
	case <-f.ctx.Done():
		f.Fatal("it was not opened")
	}
	if got := log.count("is not open"); got != 1 {
		f.Errorf("said %d times that the server is away", got)
	}
}
