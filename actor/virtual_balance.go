package actor

import (
	"iter"
	"maps"
	"sync"
	"time"

	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/rpc"
)

// ErrRebalanced is why an activation of a virtual actor ends that its node gives up to the node which the cluster
// chooses for the actor now, see Config.Rebalance.
var ErrRebalanced error = rpc.NewError("actor.rebalanced", "the virtual actor is to be active on another node")

// rebalancer gives up activations that other nodes should have, see Config.Rebalance. One goroutine does that; the
// decisions are those of placement.Pace and placement.Hosts.Misplaced.
type rebalancer struct {
	sys    *System
	pace   *placement.Pace              // only the goroutine uses these
	seen   map[string]map[string]string // the hosts, as they were seen last: their epochs, by kind and node
	rescan bool                         // not all that is here has been looked at

	mu    sync.Mutex // guards what follows
	to    map[placement.Key]yielded
	order []placement.Key // the keys of to, oldest first
}

// yielded says which node an actor was given up to. For a while this node does not activate it again: callers that
// still ask here are sent there.
type yielded struct {
	to    placement.Held
	until time.Time
}

const (
	maxRebalance = 1e6 // of Config.Rebalance
	yieldTime    = 5 * time.Second
	moveAgain    = time.Second // before those are tried again that were busy
)

// start begins to give up activations, if that is wanted.
func (r *rebalancer) start(s *System) {
	if r.sys = s; s.cfg.Rebalance > 0 && s.cfg.Claims != nil {
		r.pace = placement.NewPace(s.cfg.Rebalance)
		s.services.run(r.run)
	}
}

// run goes on until the node leaves.
func (r *rebalancer) run() {
	var moves []relocation
	for m := r.sys.members; ; {
		news := m.news()
		now := time.Now()
		if r.changed() {
			r.pace.Changed(now)
			moves, r.rescan = nil, true
		}
		pause := r.pace.Settled(now)
		if pause == 0 && len(moves) == 0 && r.rescan {
			moves, r.rescan = r.misplaced(), false
		}
		if pause == 0 && len(moves) > 0 {
			var n int
			n, pause = r.pace.Take(now, len(moves))
			for _, mv := range moves[:n] {
				r.rescan = !r.giveUp(mv) || r.rescan
			}
			if moves = moves[n:]; len(moves) == 0 && r.rescan {
				pause = moveAgain
			}
		}
		var again <-chan time.Time
		if pause > 0 {
			again = time.After(pause)
		}
		select {
		case <-news:
		case <-again:
		case <-r.sys.ctx.Done():
			return
		}
		if r.sys.life.reached(parting) {
			return
		}
	}
}

// changed reports whether the hosts of a kind are not the ones that they were.
func (r *rebalancer) changed() bool {
	now := map[string]map[string]string{}
	for _, k := range r.sys.cfg.Kinds {
		if k.placed {
			now[k.name] = r.sys.virtuals.hostsOf(k.name).epochs
		}
	}
	before := r.seen
	r.seen = now
	return !maps.EqualFunc(before, now, maps.Equal[map[string]string])
}

// relocation is an activation that another node should have.
type relocation struct {
	placement.Move
	cell *cell
}

// misplaced returns the activations that other nodes should have.
func (r *rebalancer) misplaced() (moves []relocation) {
	s := r.sys
	byKind := map[string]map[placement.Key]*cell{}
	for _, c := range s.refs.all() {
		if c.kind.placed {
			if byKind[c.kind.name] == nil {
				byKind[c.kind.name] = map[placement.Key]*cell{}
			}
			key, _ := activationOf(c.self.addr.name)
			byKind[c.kind.name][key] = c
		}
	}
	for kind, cells := range byKind {
		for m := range s.virtuals.hostsOf(kind).Misplaced(s.cfg.Name, iter.Seq[placement.Key](maps.Keys(cells))) {
			moves = append(moves, relocation{m, cells[m.Key]})
		}
	}
	return moves
}

// giveUp gives an activation up, as one that is idle ends. It returns false if that has to be tried again, because the
// actor is busy now.
func (r *rebalancer) giveUp(m relocation) bool {
	c := m.cell
	if c.life.ends() || !c.movable() {
		return true
	}
	epoch, ok := r.sys.virtuals.hostsOf(m.Key.Kind).epochs[m.To]
	if !ok {
		return true // it has just left
	}
	r.yield(m.Key, placement.Held{Claim: placement.Claim{Node: m.To, Epoch: epoch}, Token: c.token()})
	if c.life.now() != working || !c.endIfIdle(ErrRebalanced) {
		r.keep(m.Key)
		return false
	}
	return true
}

// movable reports whether an activation loses nothing but its state in memory when it ends: others would not have
// its timers, subscriptions and children before their next message. One that is kept active begins anew at once.
func (c *cell) movable() bool {
	a := c.annexed()
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.place.kept || a.ticking == 0 && (a.hears == nil || len(a.hears.topics) == 0) && !a.hasChildren()
}

// endIfIdle ends an actor that has nothing to do. It returns false if it has.
func (c *cell) endIfIdle(why error) bool {
	if !c.box.CloseIfIdle(c.holdsNothing) {
		return false
	}
	c.beginEnd(why)
	c.run()
	return true
}

// yield has those who ask for an actor sent to the node that it is given up to.
func (r *rebalancer) yield(key placement.Key, to placement.Held) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.order) > 0 {
		if first, ok := r.to[r.order[0]]; ok && now.Before(first.until) {
			break
		}
		delete(r.to, r.order[0])
		r.order = r.order[1:]
	}
	if r.to == nil {
		r.to = map[placement.Key]yielded{}
	}
	if _, again := r.to[key]; !again {
		r.order = append(r.order, key)
	}
	r.to[key] = yielded{to, now.Add(yieldTime)}
}

// keep takes a yield back.
func (r *rebalancer) keep(key placement.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.to, key)
}

// given returns the node that an actor was given up to, if it still hosts the kind.
func (r *rebalancer) given(key placement.Key) (placement.Held, bool) {
	r.mu.Lock()
	y, ok := r.to[key]
	r.mu.Unlock()
	if !ok || !time.Now().Before(y.until) {
		return placement.Held{}, false
	}
	h := y.to
	return h, r.sys.virtuals.hostsOf(key.Kind).has(placement.Holder{Node: h.Node, Epoch: h.Epoch})
}

// handOver ends the activations of a node that drains as soon as each has nothing to do, so that other nodes can
// have them although some actor here still runs. stop ends that.
func (v *virtuals) handOver() (stop func()) {
	over := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		left := v.sys.refs.all()
		for {
			rest := left[:0]
			for _, c := range left {
				if c.kind.placed && !c.life.ends() && (c.life.now() != working || !c.endIfIdle(errShutdown)) {
					rest = append(rest, c)
				}
			}
			if left = rest; len(left) == 0 {
				return
			}
			select {
			case <-over:
				return
			case <-time.After(handOverPause):
			}
		}
	})
	return func() {
		close(over)
		ended.Wait()
	}
}

// handOverPause is how long handOver waits before it looks again at those that were busy.
const handOverPause = 20 * time.Millisecond
