package actor

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/balance"
	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/rpc"
)

// linkWait is how long a request to a service waits for a link to one instance if there
// are others. It is long enough to open a first link on a bus after the direct road failed.
const linkWait = 500 * time.Millisecond

// services are the services that a system has sent to.
type services struct {
	sys    *System
	byName atomic.Pointer[map[string]*service] // the map is never changed, only replaced
	owned  sync.WaitGroup

	mu     sync.Mutex // guards what follows
	chores []chore
	busy   bool // a goroutine is doing them
	closed bool
}

// chore is something that a picker asks for, and that is done without its lock: to find out
// whether an instance is alive, or to report that one was ejected or has come back.
type chore struct {
	of     *service
	at     *instance
	change *balance.Change // what to report; nil: find out whether the instance is alive
}

// service is one service that this system sends to: a balance.Picker and its lock. The lock is
// only held briefly, sometimes under locks of the engine.Node.
type service struct {
	sys    *System
	name   string
	policy balance.Policy
	seen   atomic.Uint64 // version of the membership that the picker knows

	mu      sync.Mutex // guards what follows
	picker  *balance.Picker
	sites   map[site]struct{} // where there have been instances
	shares  []balance.Share   // of versions, see SetWeights; nil: there are no weights
	weighed uint64            // counts changes of shares
	plan    *balance.Plan     // for requests to the service as a whole; nil: all instances are alike
}

// instance is an instance of a service: the Data and the Signs of its balance.Candidate.
type instance struct {
	target   *target
	liveness client.Liveness
	local    bool
}

// Load implements balance.Signs: the length of the mailbox, for an actor on this node.
func (p *instance) Load() int {
	if c := p.target.cell.Load(); c != nil {
		return c.box.Len()
	}
	return 0
}

// Linked implements balance.Signs.
func (p *instance) Linked() bool { return p.local || p.liveness.Linked() }

// Heard implements balance.Signs.
func (p *instance) Heard() time.Duration {
	if p.local {
		return math.MaxInt64
	}
	return p.liveness.Heard()
}

func (ss *services) init(s *System) {
	ss.sys = s
	ss.byName.Store(&map[string]*service{})
}

// get returns the service of that name.
func (ss *services) get(name string) *service {
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
	s := &service{sys: ss.sys, name: name, policy: policy, picker: balance.New(policy), sites: map[site]struct{}{}}
	s.picker.Start(rand.Uint64())
	all := make(map[string]*service, len(old)+1)
	for n, o := range old {
		all[n] = o
	}
	all[name] = s
	ss.byName.Store(&all)
	return s
}

// refresh gives the picker the instances that exist now, if they have changed.
func (s *service) refresh() {
	m := s.sys.members
	if s.seen.Load() == m.version.Load() && m.suspects.Load() == 0 {
		return
	}
	version, instances := m.instances(s.name)
	for i := range instances {
		at := &instance{target: s.sys.refs.target(s.sys, address{instances[i].Actor, instances[i].Node}), local: instances[i].Node == s.sys.cfg.Name}
		if !at.local {
			at.liveness = s.sys.node.Client.Liveness(instances[i].Node)
		}
		instances[i].Data, instances[i].Signs = at, at
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if version >= s.seen.Load() { // otherwise another goroutine has set a later version
		s.picker.Set(s.sys.node.Client.Now(), instances)
		s.remember(instances)
		s.seen.Store(version)
		s.tend()
	}
}

// tend hands what the picker asks for to the goroutine that does it. s.mu is held.
func (s *service) tend() {
	asks, changes := s.picker.Asks(), s.picker.Changes()
	if len(asks)+len(changes) == 0 {
		return
	}
	ss := &s.sys.services
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.closed {
		return
	}
	for _, c := range asks {
		ss.chores = append(ss.chores, chore{of: s, at: c.Data.(*instance)})
	}
	for _, c := range changes {
		ss.chores = append(ss.chores, chore{s, c.Candidate.Data.(*instance), &c})
	}
	if !ss.busy {
		ss.busy = true
		ss.owned.Go(ss.work)
	}
}

// work does the chores in order, and ends when there are none.
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
	at := c.at.target.addr
	if c.change == nil {
		if !c.at.local {
			s.node.Client.Reach(at.node)
		}
		return
	}
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

// run runs fn in a goroutine that close waits for. It returns false after close.
func (ss *services) run(fn func()) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if !ss.closed {
		ss.owned.Go(fn)
	}
	return !ss.closed
}

// close stops taking chores, and waits for the goroutines.
func (ss *services) close() {
	ss.mu.Lock()
	ss.closed = true
	ss.mu.Unlock()
	ss.owned.Wait()
}

// arrival waits until there is an instance of what is selected, for as long as a call may take.
func (s *service) arrival(ctx context.Context, w *selected) *rpc.Error {
	wait := time.Until(s.sys.deadline(ctx))
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	for {
		news := s.sys.members.news()
		s.refresh()
		s.mu.Lock()
		n, none := len(s.picker.Among(s.planOf(w))), (*rpc.Error)(nil)
		if n == 0 {
			none = s.none(w)
		}
		s.mu.Unlock()
		if n > 0 {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return rpc.FromContext(ctx, rpc.NotRun)
		case <-timeout.C:
			return rpc.Errorf(rpc.Expired, rpc.NotRun, "%s, and for %v none has come", none.Message, wait)
		case <-s.sys.ctx.Done():
			return errShutdown
		}
	}
}

// errOnlyChosen ends the search for an instance to which nothing is sent.
var errOnlyChosen = rpc.Errorf(rpc.Canceled, rpc.NotRun, "nothing was sent to it")

// Instance returns an instance of a service, whose name may have what selects its instances (System.Service): the one to
// which requests with this rpc.Affinity go now; with an empty one, any.
// Who keeps the ref sends to this instance, whatever others there will be. NotFound: there is none.
func (s *System) Instance(service, affinity string) (Ref, error) {
	to := s.Service(service).to
	if to == nil {
		return Ref{}, rpc.Errorf(rpc.Invalid, rpc.NotRun, "%q is no name of a service", service)
	}
	v := s.routedCall(context.Background(), nil, to, &settings{Affinity: affinity})
	defer v.free()
	t, err := v.next()
	if err != nil {
		return Ref{}, err
	}
	v.end(errOnlyChosen)
	return Ref{to: t}, nil
}
