package actor

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/rpc"
)

// placedTarget is what the target of a virtual actor has for those who look for its node.
type placedTarget struct {
	of   *target // so that there is no other one for the actor while one of these is in use
	key  placement.Key
	name string                 // of the activation on its node
	near atomic.Pointer[target] // of the activation on the node that was asked last
	open openRequests           // if it is a stored actor
}

// searched returns what t, the target of a virtual actor, has for those who look for it.
func (t *target) searched() *placedTarget {
	if p := t.placed.Load(); p != nil {
		return p
	}
	key, _ := virtualKey(t.addr.name) // it was checked when the address was made
	t.placed.CompareAndSwap(nil, &placedTarget{of: t, key: key, name: placed + t.addr.name})
	return t.placed.Load()
}

// on returns the target of the activation on a node.
func (p *placedTarget) on(s *System, node string) *target {
	if t := p.near.Load(); t != nil && t.addr.node == node {
		return t
	}
	t := s.refs.target(s, address{p.name, node})
	p.near.Store(t)
	return t
}

// search is the search for the node of a virtual actor, for one request. It asks one node at a time:
// the one that has the actor as far as is known, or else the one that the cluster chooses; and then
// the one that the first one names.
type search struct {
	sys *System
	*placedTarget

	mu    sync.Mutex       // guards what follows
	asked placement.Holder // who is asked; Token 0: it was chosen, because no holder was known then
	known bool             // asked is what this node has known
	told  bool             // asked was named by the one before, and has had no attempt
	moves int              // how often somebody was named
	tried []string         // nodes that did not take it, and are left out until there is no other one
	hosts *hosts           // those that are known since next was called last
}

// maxMoves is how often a request follows at once when it is told of another node. Then it waits for
// a moment, as after any other refusal, because the actor is moving.
const maxMoves = 4

// maxLeftOut is how many nodes that do not take an actor a request leaves out.
const maxLeftOut = 8

// next chooses the node to ask.
func (k *search) next() (node string, err *rpc.Error) {
	v := &k.sys.virtuals
	hosts := v.hostsOf(k.key.Kind) // before k.mu, which is taken under locks of the engine that this may need
	k.mu.Lock()
	defer k.mu.Unlock()
	k.hosts = hosts
	if k.told {
		k.told = false
		return k.asked.Node, nil
	}
	var h placement.Holder
	if h, k.known = v.lookUp(k.key); !k.known && k.sys.refs.live(k.name) != nil {
		h, k.known = placement.Holder{Node: k.sys.cfg.Name, Epoch: k.sys.epoch}, true
	}
	if !k.known || slices.Contains(k.tried, h.Node) {
		node, ok := hosts.choose(k.key, k.tried)
		if !ok {
			k.tried = k.tried[:0]
			node, ok = hosts.choose(k.key, nil)
		}
		if !ok {
			return "", errNobody(k.key)
		}
		h, k.known = placement.Holder{Node: node, Epoch: hosts.epochs[node]}, false
	}
	k.asked = h
	return h.Node, nil
}

// last is who was asked last.
func (k *search) last() placement.Holder {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.asked
}

func errNobody(key placement.Key) *rpc.Error {
	return rpc.Errorf(rpc.Unavailable, rpc.NotRun, "no node hosts kind %s of the virtual actor %s", key.Kind, key.ID)
}

// target is next for an attempt that this node makes itself, if it is the one.
func (k *search) target() (*target, *rpc.Error) {
	for range maxMoves {
		node, err := k.next()
		if err != nil {
			return nil, err
		}
		if node != k.sys.cfg.Name {
			return k.on(k.sys, node), nil
		}
		c, err := k.sys.virtuals.activation(k.name)
		if err == nil {
			return c.self, nil
		}
		k.mu.Lock()
		k.over(err)
		k.mu.Unlock()
		if !k.untried() {
			return nil, err
		}
	}
	return nil, errUncertain
}

// over notes how an attempt has ended. k.mu is held.
func (k *search) over(err error) {
	v := &k.sys.virtuals
	if err == nil {
		if k.asked.Token == 0 && !k.known {
			v.learn(k.key, k.asked)
		}
		return
	}
	var e *rpc.Error
	if !errors.As(err, &e) || e.Verdict != rpc.NotRun {
		if e != nil && e.Verdict == rpc.Unknown {
			v.forget(k.key, k.asked)
		}
		return
	}
	switch e.Code {
	case rpc.Moved:
		h, ok := holderIn(e)
		if !ok {
			v.forget(k.key, k.asked)
			return
		}
		v.moved(k.key, k.asked, h)
		k.moves++
		k.asked, k.known, k.told = h, false, k.moves%maxMoves != 0
		k.tried = slices.DeleteFunc(k.tried, func(node string) bool { return node == h.Node })
	case rpc.NotFound: // it has just ended there
		v.forget(k.key, k.asked)
	case rpc.Leaving, rpc.Unavailable, rpc.SessionLost:
		v.forget(k.key, k.asked)
		if len(k.tried) < maxLeftOut && !slices.Contains(k.tried, k.asked.Node) {
			k.tried = append(k.tried, k.asked.Node)
		}
	}
}

// untried reports whether a node is to be asked at once that was not asked yet. It takes no lock but its own.
func (k *search) untried() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.told || len(k.tried) == 0 || len(k.tried) >= maxLeftOut || !slices.Contains(k.tried, k.asked.Node) {
		return k.told
	}
	_, more := k.hosts.choose(k.key, k.tried)
	return more
}

// arrival waits until a node hosts the kind, for as long as a call may take.
func (k *search) arrival(ctx context.Context) *rpc.Error {
	wait := time.Until(k.sys.deadline(ctx))
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	for {
		news := k.sys.members.news()
		if k.sys.virtuals.hostsOf(k.key.Kind).Len() > 0 {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return rpc.FromContext(ctx, rpc.NotRun)
		case <-timeout.C:
			return rpc.Errorf(rpc.Unavailable, rpc.NotRun, "for %v no node has hosted kind %s", wait, k.key.Kind)
		case <-k.sys.ctx.Done():
			return errShutdown
		}
	}
}

// hosts are the nodes that host a virtual kind, at one version of the membership.
type hosts struct {
	*placement.Hosts
	version uint64
	epochs  map[string]string // by node
	stored  bool              // all of them keep the state of the kind
}

func (h *hosts) choose(key placement.Key, without []string) (string, bool) {
	return h.Choose(key, without...)
}

// hostsOf returns the nodes that host a kind now.
func (v *virtuals) hostsOf(kind string) *hosts {
	m := v.sys.members
	if m.suspects.Load() > 0 {
		m.mu.Lock()
		m.dropExpired()
		m.mu.Unlock()
	}
	if h := (*v.hosts.Load())[kind]; h != nil && h.version == m.version.Load() {
		return h
	}
	h := m.hostsOf(kind)
	v.mu.Lock()
	defer v.mu.Unlock()
	known := *v.hosts.Load()
	if newer := known[kind]; newer != nil && newer.version > h.version {
		return newer
	}
	next := maps.Clone(known)
	next[kind] = h
	v.hosts.Store(&next)
	return h
}

// hostsOf returns the nodes that host a kind, as they are known now. It takes time for each node of the cluster.
func (m *members) hostsOf(kind string) *hosts {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := &hosts{version: m.version.Load(), epochs: make(map[string]string, len(m.nodes)+1), stored: true}
	all := make([]placement.Host, 0, len(m.nodes)+1)
	for _, n := range m.nodes {
		if version, ok := n.Kinds[kind]; ok {
			all = append(all, placement.Host{Node: n.Name, Version: version, Weight: n.Weight})
			h.epochs[n.Name] = n.Epoch
			h.stored = h.stored && slices.Contains(n.Stored, kind)
		}
	}
	if version, ok := m.mine.Kinds[kind]; ok {
		all = append(all, placement.Host{Node: m.mine.Name, Version: version, Weight: m.mine.Weight, Draining: m.parted})
		h.epochs[m.mine.Name] = m.mine.Epoch
		h.stored = h.stored && slices.Contains(m.mine.Stored, kind)
	}
	h.Hosts, h.stored = placement.NewHosts("", all), h.stored && len(all) > 0
	return h
}

// lookUp returns which other node has a virtual actor, as far as is known. What this node has itself is in the table
// of its actors, and need not be remembered.
func (v *virtuals) lookUp(key placement.Key) (placement.Holder, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.cache.Get(key)
}

func (v *virtuals) learn(key placement.Key, h placement.Holder) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if h.Node != v.sys.cfg.Name {
		v.cache.Learn(key, h)
	}
}

func (v *virtuals) moved(key placement.Key, asked, h placement.Holder) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if h.Node == v.sys.cfg.Name {
		v.cache.Forget(key, asked)
	} else {
		v.cache.Moved(key, asked, h)
	}
}

func (v *virtuals) forget(key placement.Key, h placement.Holder) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.cache.Forget(key, h)
}

// left forgets what a start of a node had.
func (v *virtuals) left(node, epoch string) {
	v.mu.Lock()
	v.cache.Drop(node, epoch)
	v.mu.Unlock()
	v.rouseSoon()
	v.keep.left()
}
