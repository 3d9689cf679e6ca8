package actor

import (
	"maps"
	"slices"
	"strings"

	"github.com/tandem-go/tandem/balance"
	"github.com/tandem-go/tandem/inspect"
	"github.com/tandem-go/tandem/registry"
)

// What a node knows of others, and what it has beside its actors, for those who look at it from outside. All of it is a snapshot
// that is made under short locks, one after another, so its parts need not fit together exactly.

// Members returns the other nodes that are in the registry, by name, as this node has last heard of them, and this node itself.
func (s *System) Members() []inspect.Member {
	m := s.members
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]inspect.Member, 0, len(m.nodes)+1)
	for name, n := range m.nodes {
		if name != s.cfg.Name {
			all = append(all, memberOf(n.Clone(), m.leaseExpired[name]))
		}
	}
	all = append(all, memberOf(m.mine.Clone(), false))
	slices.SortFunc(all, func(a, b inspect.Member) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Peers returns the other nodes that this node sends requests to, or has links with, by name.
func (s *System) Peers() []inspect.Peer { return s.node.Client.Peers() }

// Sessions returns the sessions that other nodes have opened here, by node.
func (s *System) Sessions() []inspect.Session { return s.node.Server.Sessions() }

// Services returns the services that there are in the registry, and those that this node has sent requests to, by name, with
// what this node knows of their instances, by address.
func (s *System) Services() []inspect.Service {
	names := map[string]bool{}
	for name := range *s.services.byName.Load() {
		names[name] = true
	}
	m := s.members
	m.mu.Lock()
	for _, n := range m.nodes {
		for name := range n.Services {
			names[name] = true
		}
	}
	for name := range m.mine.Services {
		names[name] = true
	}
	m.mu.Unlock()
	all := make([]inspect.Service, 0, len(names))
	for _, name := range slices.Sorted(maps.Keys(names)) {
		all = append(all, s.lookAtService(name))
	}
	return all
}

func (s *System) lookAtService(name string) inspect.Service {
	v := inspect.Service{Name: name, Policy: s.cfg.Balance[name].String(), Weights: s.Weights(name)}
	var seen []balance.Seen
	of := (*s.services.byName.Load())[name]
	if of == nil {
		_, instances := s.members.instances(name)
		for _, i := range instances {
			seen = append(seen, balance.Seen{Instance: i})
		}
	} else {
		v.Used = true
		of.refresh()
		of.mu.Lock()
		seen = of.picker.Look()
		of.mu.Unlock()
	}
	now := s.node.Client.Now()
	for _, i := range seen {
		at := inspect.Instance{Address: i.Actor + "@" + i.Node, Epoch: i.Epoch, Version: i.Version, Zone: i.Zone, Weight: max(i.Weight, 1),
			Outstanding: i.Outstanding, Latency: i.Latency, Ejected: i.Ejected, Probing: i.Probing}
		if i.Ejected || i.Probing {
			at.Why = i.Why.String()
		}
		if i.Ejected {
			at.Until = max(i.Until-now, 0)
		}
		v.Instances = append(v.Instances, at)
	}
	slices.SortStableFunc(v.Instances, func(a, b inspect.Instance) int { return strings.Compare(a.Address, b.Address) })
	return v
}

// Jobs returns up to n jobs that this node has been given and has not forgotten, those whose ids follow after in order; n is 1,000
// at most.
func (s *System) Jobs(after string, n int) []inspect.Job {
	t := &s.jobs
	t.mu.Lock()
	ids := make([]string, 0, len(t.all))
	for id := range t.all {
		if shownID(id) > after {
			ids = append(ids, id)
		}
	}
	t.mu.Unlock()
	slices.Sort(ids)
	all := make([]inspect.Job, 0, min(n, len(ids)))
	for _, id := range ids[:min(max(n, 0), len(ids), pageSize)] {
		if j, _ := t.get(id); j != nil {
			all = append(all, j.look())
		}
	}
	return all
}

// shownID is the part of a job's id that may be shown: who has the whole may read the result.
func shownID(id string) string { return id[:min(len(id), 8)] }

func (j *job) look() inspect.Job {
	r := j.now()
	v := inspect.Job{ID: shownID(j.id), Principal: j.principal, Actor: j.actor, State: r.State.String(), Done: r.Done, Total: r.Total, Durable: j.record != nil}
	v.Type, _ = j.sys.types.known(j.typeID)
	if r.Code != 0 {
		v.Error = r.status(j.sys.cfg.Name).Err.Error()
	}
	return v
}

// Topics returns what the actors of this node have subscribed to, by pattern, group and type.
func (s *System) Topics() []inspect.Topic {
	t := &s.topics
	t.mu.RLock()
	all := make([]inspect.Topic, 0, len(t.all))
	for k, a := range t.all {
		all = append(all, inspect.Topic{Pattern: k.pattern, Group: k.group, Type: a.mt.name, Subscribers: a.live})
	}
	t.mu.RUnlock()
	slices.SortFunc(all, func(a, b inspect.Topic) int {
		return strings.Compare(a.Pattern+"\x00"+a.Group+"\x00"+a.Type, b.Pattern+"\x00"+b.Group+"\x00"+b.Type)
	})
	return all
}

func memberOf(n registry.Node, leaseEnded bool) inspect.Member {
	return inspect.Member{Name: n.Name, Epoch: n.Epoch, Version: n.Version, Zone: n.Zone, Principal: n.Principal, Addrs: n.Addrs, Services: n.Services,
		Kinds: slices.Sorted(maps.Keys(n.Kinds)), LeaseEnded: leaseEnded}
}

// KindOf returns the kind of a live actor of this node; nil: there is none of that name.
func (s *System) KindOf(name string) *Kind {
	if c := s.refs.live(name); c != nil && !strings.HasPrefix(name, hidden) {
		return c.kind
	}
	return nil
}
