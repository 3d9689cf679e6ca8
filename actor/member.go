package actor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/balance"
	"github.com/tandem-go/tandem/internal/engine"
	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// members keeps this node's record in the registry, and a copy of the other nodes' records.
type members struct {
	sys      *System
	version  atomic.Uint64 // counts changes of the instances of services
	suspects atomic.Int32  // the length of leaseExpired

	term       atomic.Uint64 // counts the gaps in which the lease on this node's name was not certain
	leaseUntil atomic.Int64  // until when the lease on this node's name is certain, see certain; it is that of tenure

	owned sync.WaitGroup
	ctx   context.Context
	stop  context.CancelFunc
	born  time.Time     // where this node's monotonic clock begins, see now
	write chan struct{} // holds a token while the registry is written to, so that an older record cannot overtake a newer one

	mu           sync.Mutex               // guards what follows
	mine         registry.Node            // what is registered, or should be
	nodes        map[string]registry.Node // the other nodes
	leaseExpired map[string]bool          // the nodes whose lease has expired although a link to them is open
	sought       map[string]sighting      // nodes that were looked up lately
	hidden       bool                     // the node is not offered yet: its record has no services, and only addresses known before the start
	found        bool                     // the registry has had its services
	parted       bool                     // the node is leaving: its record has no services any more
	left         bool                     // deregistered
	closed       bool
	tenure       tenure        // the lease on this node's name
	behind       bool          // a goroutine is to write the record, because the topics of this node's actors have changed
	heard        chan struct{} // closed at the next change; nil: nobody waits
}

func newMembers(s *System) *members {
	m := &members{sys: s, nodes: map[string]registry.Node{}, leaseExpired: map[string]bool{}, sought: map[string]sighting{}, hidden: true, write: make(chan struct{}, 1), born: time.Now(),
		mine: registry.Node{Name: s.cfg.Name, Epoch: s.epoch, Addrs: map[string]string{}, Services: map[string][]string{},
			Version: s.cfg.Version, Zone: s.cfg.Zone, Weight: s.cfg.Weight, Principal: s.cfg.Principal}}
	m.mine.Kinds, m.mine.Stored = s.hosted()
	if s.cfg.Registry != nil {
		m.tenure.lease = s.cfg.Registry.Lease()
	}
	m.ctx, m.stop = context.WithCancel(context.Background())
	return m
}

// newNode makes the engine.Node of the system, without starting it.
func (s *System) newNode() *engine.Node {
	cfg := engine.Config{Cluster: s.cfg.Cluster, Name: s.cfg.Name, Epoch: s.epoch, Transports: s.cfg.Transports, Roads: s.cfg.Roads,
		Resolve: s.members.resolve, OnFenced: s.fenced, Principals: s.cfg.Principals, Principal: s.cfg.Principal, Recorded: s.members.recorded, Handler: dispatcher{s}, Check: s.permit, OnDenied: s.denied, Logger: s.log, OnEvent: s.rpcEvent, Retry: s.cfg.Retry, Store: s.cfg.Store, Compression: s.cfg.Compression, Forms: &s.compacts, Trail: s.trail, Limits: s.cfg.RPC}
	if s.cfg.Registry != nil {
		cfg.LastWord, cfg.Registered = s.members.lastWord, s.members.registered
	}
	for _, k := range s.cfg.Kinds {
		if k.recorded() {
			cfg.Kinds = append(cfg.Kinds, k.name)
		}
	}
	return engine.NewNode(cfg)
}

// enter claims the node's name, and begins to follow the registry. When it returns, the records
// of the other nodes are known. This node offers no services yet.
func (m *members) enter(ctx context.Context) error {
	reg := m.sys.cfg.Registry
	m.mu.Lock()
	m.mine.Proof = registry.Self()
	m.mine.Addrs = m.sys.node.Known() // others check them when this node dials them
	m.mu.Unlock()
	if err := m.claim(ctx, m.record()); err != nil {
		m.mu.Lock()
		m.left = true // there is nothing to deregister
		m.mu.Unlock()
		return err
	}
	changes, err := reg.Watch(m.ctx)
	if err != nil {
		return fmt.Errorf("actor: watching the registry: %w", err)
	}
	there, err := reg.Nodes(ctx) // changes reports them too, but perhaps a little later
	if err != nil {
		return fmt.Errorf("actor: reading the registry: %w", err)
	}
	m.mu.Lock()
	for _, n := range there {
		if n.Name != m.sys.cfg.Name {
			m.nodes[n.Name] = n
			m.sys.farTopics.set(n.Name, n.Topics)
		}
	}
	m.changed()
	m.mu.Unlock()
	m.owned.Go(func() { m.follow(changes) })
	if lease := reg.Lease(); lease > 0 {
		m.owned.Go(func() { m.renew(lease / 3) })
	}
	return nil
}

// offer registers the node's addresses and services.
func (m *members) offer(ctx context.Context, addrs map[string]string) error {
	m.mu.Lock()
	m.mine.Addrs, m.hidden = addrs, false
	m.mu.Unlock()
	if err := m.publish(ctx); err != nil {
		return fmt.Errorf("actor: registering node %s: %w", m.sys.cfg.Name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.found = true
	return nil
}

// record is what should be registered now.
func (m *members) record() registry.Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	record := m.mine.Clone()
	record.Topics = m.sys.topics.interest()
	if m.hidden || m.parted {
		record.Services, record.Topics, record.Kinds, record.Stored = map[string][]string{}, nil, nil, nil
	}
	return record
}

// follow keeps the records of the other nodes up to date.
func (m *members) follow(changes <-chan registry.Event) {
	for e := range changes {
		if e.Node.Name == m.sys.cfg.Name {
			continue
		}
		name, suspect := e.Node.Name, e.Change == registry.Expired && m.sys.node.Linked(e.Node.Name)
		m.mu.Lock()
		delete(m.leaseExpired, name)
		known := m.nodes[name]
		switch {
		case e.Change == registry.Joined || e.Change == registry.Updated:
			m.nodes[name] = e.Node
			m.sys.farTopics.set(name, e.Node.Topics)
		case suspect: // its lease has expired, but a link to it is open
			m.leaseExpired[name] = true
		default:
			delete(m.nodes, name)
			m.sys.farTopics.set(name, nil)
		}
		m.changed()
		m.mu.Unlock()
		m.sys.stirWatches(name)
		if known.Epoch != "" && (known.Epoch != e.Node.Epoch || e.Change != registry.Joined && e.Change != registry.Updated) {
			m.sys.virtuals.left(name, known.Epoch) // first, because requests that do not wait any longer ask who has the actor
			m.sys.node.Client.Left(name, known.Epoch)
		}
		switch {
		case e.Change == registry.Joined:
			m.sys.event(Event{Type: NodeJoined, Peer: name})
		case e.Change == registry.Left || e.Change == registry.Expired && !suspect:
			m.sys.event(Event{Type: NodeLeft, Peer: name})
		}
	}
}

// offered reports whether other nodes find this one's services. Without a registry, nobody has to.
func (m *members) offered() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sys.cfg.Registry == nil || m.found
}

// dropExpired removes the nodes whose lease has expired and to which no link is open any
// more. m.mu is held.
func (m *members) dropExpired() {
	for name := range m.leaseExpired {
		if !m.sys.node.Linked(name) {
			delete(m.leaseExpired, name)
			delete(m.nodes, name)
			m.sys.farTopics.set(name, nil)
			m.changed()
			m.sys.event(Event{Type: NodeLeft, Peer: name})
		}
	}
}

// renew renews the lease of this node's name, and claims the name again if the lease was lost.
// It logs what keeps it from renewing when that changes.
func (m *members) renew(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	reg, said := m.sys.cfg.Registry, ""
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(m.ctx, every)
		sent := m.now()
		err := reg.Renew(ctx, m.sys.cfg.Name, m.sys.epoch)
		m.answered(sent, err)
		if !m.certain() {
			m.sys.virtuals.fence()
		}
		if errors.Is(err, registry.ErrLost) && !m.sys.life.reached(parting) {
			sent = m.now()
			err = m.publish(ctx)
			m.answered(sent, err)
		}
		cancel()
		if m.ctx.Err() != nil {
			return
		}
		if now := trouble(err); now != said {
			said = now
			m.tell(now, err)
		}
	}
}

// trouble says what an error of a renewal means for this node; empty for no error.
func trouble(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, registry.ErrTaken):
		return "another process holds this node's name"
	case errors.Is(err, registry.ErrClosed):
		return "the registry's connection is closed for good: this node's lease will run out, and only a new start mends that"
	case errors.Is(err, registry.ErrDenied):
		return "this node may not write to the registry: its lease will run out"
	}
	return "the lease of this node's name is not renewed: the registry is away"
}

// tell logs that what keeps the lease from being renewed has changed.
func (m *members) tell(what string, err error) {
	switch {
	case err == nil:
		m.sys.log.Info("the lease of this node's name is renewed again")
	case errors.Is(err, registry.ErrTaken):
		m.sys.log.Error(what, "err", err)
		m.sys.event(Event{Type: NameTaken, Peer: m.sys.cfg.Name, Err: err})
		m.sys.fenced(err)
	case errors.Is(err, registry.ErrClosed), errors.Is(err, registry.ErrDenied):
		m.sys.log.Error(what, "err", err)
	default:
		m.sys.log.Warn(what, "err", err)
	}
}

// publish writes this node's record, and claims the name if that was lost.
func (m *members) publish(ctx context.Context) error {
	return m.put(ctx, registry.Registry.Register)
}

// update writes this node's record, unless the name was lost: a node that only takes
// something back must not take the name from a successor that is about to claim it.
func (m *members) update(ctx context.Context) error {
	err := m.put(ctx, registry.Registry.Update)
	if errors.Is(err, registry.ErrLost) {
		return nil
	}
	return err
}

// put calls write with this node's record as it is now, unless the node has left.
func (m *members) put(ctx context.Context, write func(registry.Registry, context.Context, registry.Node) error) error {
	select {
	case m.write <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-m.write }()
	m.mu.Lock()
	left := m.left
	m.mu.Unlock()
	if left || m.sys.cfg.Registry == nil {
		return nil
	}
	return write(m.sys.cfg.Registry, ctx, m.record())
}

// expose makes an actor an instance of its services, unless the actor is stopping.
func (m *members) expose(c *cell) error {
	m.mu.Lock()
	if c.life.ends() { // it may have been withdrawn already
		m.mu.Unlock()
		return nil
	}
	for _, service := range c.services() {
		m.mine.Services[service] = append(m.mine.Services[service], c.self.addr.name)
	}
	m.changed()
	hidden := m.hidden
	m.mu.Unlock()
	if hidden {
		return nil // offer will register it
	}
	ctx, cancel := context.WithTimeout(m.ctx, m.sys.cfg.StartWait)
	defer cancel()
	return m.publish(ctx)
}

// withdraw makes an actor no longer an instance of a service.
func (m *members) withdraw(service string, c *cell) {
	m.mu.Lock()
	defer m.mu.Unlock()
	actor := c.self.addr.name
	if c.self.cell.Load() != c || !slices.Contains(m.mine.Services[service], actor) {
		return // another actor has its name, or it was withdrawn before
	}
	rest := slices.DeleteFunc(m.mine.Services[service], func(a string) bool { return a == actor })
	if m.mine.Services[service] = rest; len(rest) == 0 {
		delete(m.mine.Services, service)
	}
	m.changed()
	if m.closed || m.hidden || m.parted {
		return
	}
	m.owned.Go(func() {
		ctx, cancel := context.WithTimeout(m.ctx, m.sys.cfg.StartWait)
		defer cancel()
		if err := m.update(ctx); err != nil && m.ctx.Err() == nil {
			m.sys.log.Warn("the registry was not told that an actor has gone", "service", service, "actor", actor, "err", err)
		}
	})
}

// recorded is the principal in a node's record, as far as it is known.
func (m *members) recorded(node string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.nodes[node].Principal
}

// registered returns what the registry has about one start of a node that dials this one. An
// empty epoch stands for any current or recent start. fresh has the registry's cache refreshed.
func (m *members) registered(ctx context.Context, node, epoch string, fresh bool) (client.Place, error) {
	reg, stale := m.sys.cfg.Registry, error(nil)
	if fresh {
		stale = reg.Refresh(ctx, node)
	}
	n, err := reg.Lookup(ctx, node)
	if err != nil || n.Epoch != epoch {
		m.mu.Lock()
		if known, ok := m.nodes[node]; ok && known.Epoch == epoch { // its lease has expired, but links to it are open
			n, err = known, nil
		}
		m.mu.Unlock()
	}
	switch {
	case epoch == "" && errors.Is(err, registry.ErrAway):
		return client.Place{}, nil
	case err == nil && (n.Epoch == epoch || n.Epoch == "" || epoch == ""): // a node of a fixed list may have any epoch
		return client.Place{Epoch: n.Epoch, Addrs: n.Addrs}, nil
	case stale != nil:
		return client.Place{}, stale
	case err == nil, errors.Is(err, registry.ErrNotFound), errors.Is(err, registry.ErrAway):
		return client.Place{}, fmt.Errorf("actor: no node %s in epoch %s in the registry: %w", node, epoch, transport.ErrNoPeer)
	}
	return client.Place{}, err
}

// instances returns the instances of a service that are known now, and the version of the
// membership that they are from.
func (m *members) instances(service string) (version uint64, all []balance.Instance) {
	var barred []exposure
	m.mu.Lock()
	defer func() {
		m.mu.Unlock()
		for _, x := range barred {
			m.sys.mayNotExpose(x)
		}
	}()
	m.dropExpired()
	list := m.sys.access.Load()
	add := func(n registry.Node, mine bool) {
		for _, a := range n.Services[service] {
			if list != nil && !mine {
				who := cmp.Or(n.Principal, rpc.NodePrincipal(n.Name))
				if d := list.MayExpose(who, service, a); !d.Allowed {
					barred = append(barred, exposure{n.Name, who, service, a, d.Rule})
					continue
				}
			}
			all = append(all, balance.Instance{Node: n.Name, Epoch: n.Epoch, Actor: a, Weight: n.Weight, Version: n.Version, Zone: n.Zone})
		}
	}
	add(m.mine, true)
	for _, n := range m.nodes {
		add(n, false)
	}
	return m.version.Load(), all
}

// rejudge has the instances of services looked at again, after the access rules or the weights of versions have changed.
func (m *members) rejudge() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changed()
}

// changed notes that the instances of services may have changed. m.mu is held.
func (m *members) changed() {
	m.version.Add(1)
	m.suspects.Store(int32(len(m.leaseExpired)))
	if m.heard != nil {
		close(m.heard)
		m.heard = nil
	}
}

// news returns a channel that is closed when the instances of services may have changed.
func (m *members) news() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.heard == nil {
		m.heard = make(chan struct{})
	}
	return m.heard
}

// withhold removes the node's services from the registry.
func (m *members) withhold(ctx context.Context) error {
	m.mu.Lock()
	parted := m.parted
	m.parted = true
	offers := len(m.mine.Services) + len(m.mine.Kinds) + len(m.sys.topics.interest())
	m.mu.Unlock()
	if parted || offers == 0 || m.sys.cfg.Registry == nil {
		return nil
	}
	return m.update(ctx)
}

// leave removes this node from the registry, and stores its last words there.
func (m *members) leave(ctx context.Context, words []byte) error {
	if m.sys.cfg.Registry == nil {
		return nil
	}
	m.mu.Lock()
	left := m.left
	m.left = true
	m.mu.Unlock()
	if left {
		return nil
	}
	m.turn(tenure.end) // before anybody may take the name
	select {
	case m.write <- struct{}{}:
		defer func() { <-m.write }()
	case <-ctx.Done():
	}
	return m.sys.cfg.Registry.Deregister(ctx, m.sys.cfg.Name, m.sys.epoch, words)
}

// lastWord returns the last words that one start of a node has left in the registry, or nil.
func (m *members) lastWord(ctx context.Context, node, epoch string) ([]byte, error) {
	d, err := m.sys.cfg.Registry.Departed(ctx, node)
	switch {
	case errors.Is(err, registry.ErrNotFound), err == nil && d.Epoch != epoch:
		return nil, nil
	case err != nil:
		return nil, err
	}
	return d.Last, nil
}

// close ends the goroutines and waits for them.
func (m *members) close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.stop()
	m.owned.Wait()
}
