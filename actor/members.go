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
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// members keeps this node's record in the registry, and a picture of the others'.
type members struct {
	sys      *System
	version  atomic.Uint64 // counts changes of the instances of services
	doubtful atomic.Int32  // how many lapsed there are
	owned    sync.WaitGroup
	ctx      context.Context
	stop     context.CancelFunc
	write    chan struct{} // holds a token while the registry is written to: an older record must not overtake a newer

	mu     sync.Mutex               // guards what follows
	mine   registry.Node            // what is, or should be, registered
	nodes  map[string]registry.Node // the others
	lapsed map[string]bool          // those whose lease ran out although a link to them is open
	sought map[string]sighting      // nodes that were looked up lately
	hidden bool                     // the record names no services, and only addresses that were known before the start: not yet
	parted bool                     // nor services: not any more
	left   bool                     // deregistered
	closed bool
	heard  chan struct{} // closed at the next change; nil: nobody waits
}

func newMembers(s *System) *members {
	m := &members{sys: s, nodes: map[string]registry.Node{}, lapsed: map[string]bool{}, sought: map[string]sighting{}, hidden: true, write: make(chan struct{}, 1),
		mine: registry.Node{Name: s.cfg.Name, Epoch: s.epoch, Addrs: map[string]string{}, Services: map[string][]string{},
			Version: s.cfg.Version, Zone: s.cfg.Zone, Weight: s.cfg.Weight, Principal: s.cfg.Principal}}
	m.ctx, m.stop = context.WithCancel(context.Background())
	return m
}

// newNode makes the remote side of the system, which is not started.
func (s *System) newNode() *rpc.Node {
	cfg := rpc.Config{Cluster: s.cfg.Cluster, Name: s.cfg.Name, Epoch: s.epoch, Transports: s.cfg.Transports, Roads: s.cfg.Roads,
		Resolve: s.members.resolve, OnFenced: s.fenced, Principals: s.cfg.Principals, Principal: s.cfg.Principal, Recorded: s.members.recorded, Handler: server{s}, Check: s.permit, OnDenied: s.denied, Logger: s.log, OnEvent: s.rpcEvent, Retry: s.cfg.Retry, Store: s.cfg.Store}
	if s.cfg.Registry != nil {
		cfg.LastWord, cfg.Registered = s.members.lastWord, s.members.registered
	}
	for _, k := range s.cfg.Kinds {
		if k.recorded() {
			cfg.Kinds = append(cfg.Kinds, k.name)
		}
	}
	if s.cfg.Tune != nil {
		s.cfg.Tune(&cfg)
	}
	return rpc.NewNode(cfg)
}

// enter claims the node's name, for a start that has nothing to offer yet, and has a picture
// of the other nodes when it returns.
func (m *members) enter(ctx context.Context) error {
	reg := m.sys.cfg.Registry
	m.mu.Lock()
	m.mine.Proof = registry.Self()
	m.mine.Addrs = m.sys.node.Known() // by which others will know this node when it dials them
	m.mu.Unlock()
	if err := m.claim(ctx, m.record()); err != nil {
		m.mu.Lock()
		m.left = true // there is nothing to give up
		m.mu.Unlock()
		return err
	}
	changes, err := reg.Watch(m.ctx)
	if err != nil {
		return fmt.Errorf("actor: watching the registry: %w", err)
	}
	there, err := reg.Nodes(ctx) // those that changes begins with, which may come a little later
	if err != nil {
		return fmt.Errorf("actor: reading the registry: %w", err)
	}
	m.mu.Lock()
	for _, n := range there {
		if n.Name != m.sys.cfg.Name {
			m.nodes[n.Name] = n
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

// offer tells the others where the node is and what it serves.
func (m *members) offer(ctx context.Context, addrs map[string]string) error {
	m.mu.Lock()
	m.mine.Addrs, m.hidden = addrs, false
	m.mu.Unlock()
	if err := m.publish(ctx); err != nil {
		return fmt.Errorf("actor: registering node %s: %w", m.sys.cfg.Name, err)
	}
	return nil
}

// record is what is, or should be, registered now.
func (m *members) record() registry.Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	record := m.mine.Clone()
	if m.hidden || m.parted {
		record.Services = map[string][]string{}
	}
	return record
}

// follow keeps the picture of the other nodes.
func (m *members) follow(changes <-chan registry.Event) {
	for e := range changes {
		if e.Node.Name == m.sys.cfg.Name {
			continue
		}
		name := e.Node.Name
		doubtful := e.Change == registry.Expired && m.sys.node.Linked(name)
		m.mu.Lock()
		delete(m.lapsed, name)
		switch {
		case e.Change == registry.Joined || e.Change == registry.Updated:
			m.nodes[name] = e.Node
		case doubtful: // the registry has lost sight of it, and we have not
			m.lapsed[name] = true
		default:
			delete(m.nodes, name)
		}
		m.changed()
		m.mu.Unlock()
		switch {
		case e.Change == registry.Joined:
			m.sys.event(Event{Type: NodeJoined, Peer: name})
		case e.Change == registry.Left || e.Change == registry.Expired && !doubtful:
			m.sys.event(Event{Type: NodeLeft, Peer: name})
		}
	}
}

// dropLapsed takes out the nodes that the registry has lost sight of and no link leads
// to any more. m.mu is held.
func (m *members) dropLapsed() {
	for name := range m.lapsed {
		if !m.sys.node.Linked(name) {
			delete(m.lapsed, name)
			delete(m.nodes, name)
			m.changed()
			m.sys.event(Event{Type: NodeLeft, Peer: name})
		}
	}
}

// renew keeps the lease of this node's name, and claims it again if it was lost. What
// keeps it from that is said when it changes.
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
		err := reg.Renew(ctx, m.sys.cfg.Name, m.sys.epoch)
		if errors.Is(err, registry.ErrLost) && !m.sys.life.reached(parting) {
			err = m.publish(ctx)
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

// trouble says in a word what an error of a renewal means for this node.
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

// tell reports that what keeps the lease from being renewed has changed.
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

// publish writes this node's record as it is now.
func (m *members) publish(ctx context.Context) error {
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
	return m.sys.cfg.Registry.Register(ctx, m.record())
}

// expose makes an actor an instance of its services, unless it is stopping.
func (m *members) expose(c *cell) error {
	m.mu.Lock()
	if c.leaving.Load() { // its withdrawal may be over
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
		return nil // offer will tell
	}
	ctx, cancel := context.WithTimeout(m.ctx, m.sys.cfg.StartWait)
	defer cancel()
	return m.publish(ctx)
}

// withdraw takes it out again.
func (m *members) withdraw(service, actor string) {
	m.mu.Lock()
	rest := slices.DeleteFunc(m.mine.Services[service], func(a string) bool { return a == actor })
	if m.mine.Services[service] = rest; len(rest) == 0 {
		delete(m.mine.Services, service)
	}
	m.changed()
	defer m.mu.Unlock()
	if m.closed || m.hidden || m.parted {
		return
	}
	m.owned.Go(func() {
		ctx, cancel := context.WithTimeout(m.ctx, m.sys.cfg.StartWait)
		defer cancel()
		if err := m.publish(ctx); err != nil && m.ctx.Err() == nil {
			m.sys.log.Warn("the registry was not told that an actor has gone", "service", service, "actor", actor, "err", err)
		}
	})
}

// redial is how soon after a node was looked up another look-up means that what the
// first one found led nowhere.
const redial = 10 * time.Second

// sighting is when a node was looked up, and when the registry was last asked anew.
type sighting struct{ sought, refreshed time.Time }

// refresh has the registry look anew for a node that was looked up shortly before: its
// cache may be behind. That is done beside the dialling, once a second at most.
func (m *members) refresh(node string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for name, s := range m.sought { // few: those looked up lately
		if now.Sub(s.sought) > redial {
			delete(m.sought, name)
		}
	}
	s, again := m.sought[node]
	due := again && now.Sub(s.refreshed) >= time.Second
	if s.sought = now; due {
		s.refreshed = now
	}
	m.sought[node] = s
	if !due || m.closed {
		return
	}
	m.owned.Go(func() {
		ctx, cancel := context.WithTimeout(m.ctx, time.Second)
		defer cancel()
		_ = m.sys.cfg.Registry.Refresh(ctx, node) // if it fails, what is cached has to do
	})
}

// resolve says where a node is.
func (m *members) resolve(ctx context.Context, node string) (rpc.Place, error) {
	m.refresh(node)
	n, err := m.sys.cfg.Registry.Lookup(ctx, node)
	switch {
	case errors.Is(err, registry.ErrNotFound):
		return rpc.Place{}, rpc.Errorf(rpc.NotFound, rpc.NotRun, "no node %s in the registry", node)
	case errors.Is(err, registry.ErrAway):
		return rpc.Place{}, rpc.Errorf(rpc.Unavailable, rpc.NotRun, "no node %s in the registry: %w", node, rpc.ErrAway)
	case err != nil:
		return rpc.Place{}, err
	}
	return rpc.Place{Epoch: n.Epoch, Addrs: n.Addrs, Principal: n.Principal}, nil
}

// recorded is the principal that a node's record names, by the picture there is of it.
func (m *members) recorded(node string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.nodes[node].Principal
}

// registered is what the registry has of one start of a node, which dials this one; with an
// empty epoch, of whatever start there is, or was lately.
func (m *members) registered(ctx context.Context, node, epoch string, anew bool) (rpc.Place, error) {
	reg, stale := m.sys.cfg.Registry, error(nil)
	if anew {
		stale = reg.Refresh(ctx, node)
	}
	n, err := reg.Lookup(ctx, node)
	if err != nil || n.Epoch != epoch {
		m.mu.Lock()
		if known, ok := m.nodes[node]; ok && known.Epoch == epoch { // its lease has lapsed, and links to it are open
			n, err = known, nil
		}
		m.mu.Unlock()
	}
	switch {
	case epoch == "" && errors.Is(err, registry.ErrAway):
		return rpc.Place{}, nil
	case err == nil && (n.Epoch == epoch || n.Epoch == "" || epoch == ""): // a listed one can have any
		return rpc.Place{Epoch: n.Epoch, Addrs: n.Addrs}, nil
	case stale != nil:
		return rpc.Place{}, stale
	case err == nil, errors.Is(err, registry.ErrNotFound), errors.Is(err, registry.ErrAway):
		return rpc.Place{}, fmt.Errorf("actor: no node %s in epoch %s in the registry: %w", node, epoch, transport.ErrNoPeer)
	}
	return rpc.Place{}, err
}

// instances are those of a service as it is known now, and which version of what is known
// that is.
func (m *members) instances(service string) (version uint64, all []balance.Instance) {
	var barred []exposure
	m.mu.Lock()
	defer func() {
		m.mu.Unlock()
		for _, x := range barred {
			m.sys.mayNotExpose(x)
		}
	}()
	m.dropLapsed()
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

// rejudge has what is known of services be looked at anew, by other rules.
func (m *members) rejudge() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changed()
}

// changed says that the instances of services may be others now. m.mu is held.
func (m *members) changed() {
	m.version.Add(1)
	m.doubtful.Store(int32(len(m.lapsed)))
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

// withhold takes the node's services out of the registry.
func (m *members) withhold(ctx context.Context) error {
	m.mu.Lock()
	parted := m.parted
	m.parted = true
	services := len(m.mine.Services)
	m.mu.Unlock()
	if parted || services == 0 || m.sys.cfg.Registry == nil {
		return nil
	}
	switch err := m.sys.cfg.Registry.Renew(ctx, m.sys.cfg.Name, m.sys.epoch); {
	case errors.Is(err, registry.ErrLost), errors.Is(err, registry.ErrTaken):
		return nil // the name is not claimed again, to leave it
	case err != nil:
		return err
	}
	return m.publish(ctx)
}

// leave takes this node out of the registry, where it leaves its last words.
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
	select {
	case m.write <- struct{}{}:
		defer func() { <-m.write }()
	case <-ctx.Done():
	}
	return m.sys.cfg.Registry.Deregister(ctx, m.sys.cfg.Name, m.sys.epoch, words)
}

// lastWord is what a start of a node has left behind.
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

// close ends the goroutines.
func (m *members) close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.stop()
	m.owned.Wait()
}
