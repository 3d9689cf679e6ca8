package actor

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/balance"
	"github.com/tandem-go/tandem/rpc"
)

// linkWait is how long a request to a service waits for a link to one instance, if there
// are others: long enough for a first link on a bus, when the direct road leads nowhere.
const linkWait = 500 * time.Millisecond

// services are those that a system has sent to.
type services struct {
	sys    *System
	byName atomic.Pointer[map[string]*service] // never written, only replaced
	owned  sync.WaitGroup

	mu     sync.Mutex // guards what follows
	chores []chore
	busy   bool // somebody does them
	closed bool
}

// chore is what follows from a choice and is done without the locks that it was made
// under: to find out whether an instance lives, or to say what has become of one.
type chore struct {
	of     *service
	ask    *spot
	change balance.Change
}

// service is one service as this system sends to it: a balance.Picker and its lock, which
// is held for moments only, at times under locks of the rpc.Node.
type service struct {
	sys    *System
	name   string
	policy balance.Policy
	seen   atomic.Uint64 // version of the membership that picker has

	mu     sync.Mutex // guards what follows
	picker *balance.Picker
	known  bool // there have been instances
}

// spot is an instance: the Data and the Signs of its balance.Candidate.
type spot struct {
	target *target
	vital  rpc.Vital
	local  bool
}

// Load implements balance.Signs: of an actor on this node its mailbox tells.
func (p *spot) Load() int {
	if c := p.target.cell.Load(); c != nil {
		return c.box.Len()
	}
	return 0
}

// Linked implements balance.Signs.
func (p *spot) Linked() bool { return p.local || p.vital.Linked() }

// Heard implements balance.Signs.
func (p *spot) Heard() time.Duration {
	if p.local {
		return math.MaxInt64
	}
	return p.vital.Heard()
}

func (ss *services) init(s *System) {
	ss.sys = s
	ss.byName.Store(&map[string]*service{})
}

// of returns the service of that name.
func (ss *services) of(name string) *service {
	if s := (*ss.byName.Load())[name]; s != nil {
		return s
	}
	ss.mu.Lock()
	defer ss.mu.Unlock()
	old := *ss.byName.Load()
	if s := old[name]; s != nil {
		return s
	}
	policy := ss.sys.cfg.Balance[name]
	s := &service{sys: ss.sys, name: name, policy: policy, picker: balance.New(policy)}
	s.picker.Start(rand.Uint64())
	all := make(map[string]*service, len(old)+1)
	for n, o := range old {
		all[n] = o
	}
	all[name] = s
	ss.byName.Store(&all)
	return s
}

// refresh has the picker know the instances that there are now.
func (s *service) refresh() {
	m := s.sys.members
	if s.seen.Load() == m.version.Load() && m.doubtful.Load() == 0 {
		return
	}
	version, instances := m.instances(s.name)
	for i := range instances {
		at := &spot{target: s.sys.refs.target(s.sys, address{instances[i].Actor, instances[i].Node}), local: instances[i].Node == s.sys.cfg.Name}
		if !at.local {
			at.vital = s.sys.node.Vital(instances[i].Node)
		}
		instances[i].Data, instances[i].Signs = at, at
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if version >= s.seen.Load() { // else another one was quicker, and knows more
		s.picker.Set(s.sys.node.Now(), instances)
		s.known = s.known || len(instances) > 0
		s.seen.Store(version)
		s.tend()
	}
}

// tend hands on what the picker wants to be done. s.mu is held.
func (s *service) tend() {
	asks, changes := s.picker.Asks(), s.picker.Changes()
	if len(asks)+len(changes) == 0 {
		return
	}
	ss := &s.sys.services
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for _, c := range asks {
		ss.chores = append(ss.chores, chore{of: s, ask: c.Data.(*spot)})
	}
	for _, c := range changes {
		ss.chores = append(ss.chores, chore{of: s, change: c})
	}
	if !ss.busy && !ss.closed {
		ss.busy = true
		ss.owned.Go(ss.work)
	}
}

// work does what is to be done, in order.
func (ss *services) work() {
	for {
		ss.mu.Lock()
		todo := ss.chores
		if ss.chores = nil; len(todo) == 0 || ss.closed {
			ss.busy = false
			ss.mu.Unlock()
			return
		}
		ss.mu.Unlock()
		for _, c := range todo {
			c.do(ss.sys)
		}
	}
}

func (c chore) do(s *System) {
	if c.ask != nil {
		if !c.ask.local {
			s.node.Reach(c.ask.target.addr.node)
		}
		return
	}
	at := c.change.Candidate.Data.(*spot).target.addr
	e := Event{Type: InstanceBack, Actor: at.String(), Peer: at.node, Service: c.of.name}
	if c.change.Ejected {
		e.Type = InstanceEjected
		e.Err = rpc.Errorf(rpc.Unavailable, rpc.Unknown, "instance %v of service %s is %v", at, c.of.name, c.change.Why)
		s.log.Warn("an instance is left out of its service", "service", c.of.name, "instance", at.String(), "why", c.change.Why.String())
	} else {
		s.log.Info("an instance is back in its service", "service", c.of.name, "instance", at.String())
	}
	s.event(e)
}

// run has fn run in a goroutine of its own that close waits for; false: not any more.
func (ss *services) run(fn func()) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if !ss.closed {
		ss.owned.Go(fn)
	}
	return !ss.closed
}

// close waits for what is being done, and has nothing more done.
func (ss *services) close() {
	ss.mu.Lock()
	ss.closed = true
	ss.mu.Unlock()
	ss.owned.Wait()
}

// arrival waits until the service has an instance, as long as a call does.
func (s *service) arrival(ctx context.Context) *rpc.Error {
	wait := time.Until(s.sys.deadline(ctx))
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	for {
		news := s.sys.members.news()
		s.refresh()
		s.mu.Lock()
		n := s.picker.Len()
		s.mu.Unlock()
		if n > 0 {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return rpc.FromContext(ctx, rpc.NotRun)
		case <-timeout.C:
			return rpc.Errorf(rpc.Expired, rpc.NotRun, "all instances of service %s have gone, and for %v none has come", s.name, wait)
		case <-s.sys.ctx.Done():
			return errShutdown
		}
	}
}
