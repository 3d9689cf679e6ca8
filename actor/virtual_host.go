package actor

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/internal/stored"
	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/rpc"
)

// virtuals are the virtual actors of a system: the activations that it hosts, and what it knows of
// those of others.
type virtuals struct {
	sys     *System
	alone   atomic.Uint64 // the latest token, if the system has no Claims
	count   activationCounts
	keep    keeper
	balance rebalancer

	hosts      atomic.Pointer[map[string]*hosts] // by kind; what it points to is not changed any more
	caller     string                            // what this start of the node is to a stored actor
	sending    atomic.Int32                      // the length of onward
	bounds     map[string]*stored.Config         // by stored kind that it hosts
	rousing    atomic.Bool                       // a goroutine is about to look at claims of nodes that are gone
	statesAway atomic.Bool                       // Config.States does not serve, as far as is known
	statesFail atomic.Pointer[fault]             // the latest failure of it
	fencing    atomic.Bool                       // a goroutine is about to call fence

	mu       sync.Mutex // guards what follows
	reported uint64     // activations that were fenced, and are reported
	cache    *placement.Cache
	onward   map[*target][]onward // one-way messages that are sent on to virtual actors; a goroutine does that for each
	drains   map[*target]drainage // of those for which somebody waits
	todo     []func(context.Context)
	busy     int // goroutines that do what there is to do
	closed   bool
	over     sync.Cond // broadcast when the last of them ends
}

// activationCounts are numbers for Stats.
type activationCounts struct{ begun, moved, failed, fenced atomic.Uint64 }

// VirtualStats are numbers of a system's activations of virtual actors.
type VirtualStats struct {
	Begun  uint64 // activations that have begun
	Moved  uint64 // attempts that have found another node to have the actor
	Failed uint64 // attempts that have come to nothing
	Fenced uint64 // activations that have ended because the lease of this node was not certain
}

// ActivationsFenced is the event that a system's activations of virtual actors, Count of them, have
// ended, because the lease of its name was not renewed in time: other nodes may activate these actors.
const ActivationsFenced rpc.EventType = "activations fenced"

const (
	maxHolders     = 1 << 16               // actors whose nodes are remembered
	activating     = 64                    // claims under way at a time
	maxWaiting     = 1 << 14               // activations that wait for their turn
	activationWait = 10 * time.Second      // how long an attempt to activate an actor may take
	claimPause     = 50 * time.Millisecond // before a claim is looked at once more, after the second time
)

func (v *virtuals) init(s *System) {
	v.sys, v.over.L = s, &v.mu
	v.cache = placement.NewCache(maxHolders)
	v.hosts.Store(&map[string]*hosts{})
	v.caller = server.CallerOf(s.cfg.Name, s.epoch)
	v.bounds = map[string]*stored.Config{}
	v.keep.init(s)
	for _, k := range s.cfg.Kinds {
		if k.keeps != nil {
			v.bounds[k.name] = k.keeps.bounds()
		}
	}
	if len(v.bounds) > 0 && s.cfg.Claims == nil { // what is stored has the tokens of earlier starts
		v.alone.Store(uint64(time.Now().UnixNano()))
	}
}

// errUncertain is the error of a message that came while the node's lease was not certain.
var (
	errUncertain    = rpc.Errorf(rpc.Unavailable, rpc.NotRun, "the node cannot confirm its own lease, so it may not serve virtual actors")
	errAnsweredLate = rpc.Errorf(rpc.Unavailable, rpc.HasRun, "the activation that had put its answer off has ended, so the answer may be out of date")
	errFencedOff    = rpc.Errorf(rpc.Unavailable, rpc.HasRun, "the node could not confirm its own lease when the handler had run, so its answer may be out of date")
)

// ErrFencedOff is why an activation of a virtual actor ends whose node's lease was not certain.
var ErrFencedOff error = rpc.NewError("actor.fenced_off", "the node could not confirm its own lease, so the virtual actor may be active elsewhere")

// place is what makes a cell an activation of a virtual actor.
type place struct {
	term     uint64                    // of the node's lease in which the claim was made
	refusal  atomic.Pointer[rpc.Error] // why it has come to nothing, or may not go on
	kept     bool                      // see KeepActive
	deferred atomic.Int32              // answers that are put off
	store    *lasting                  // of an activation of a stored actor; nil: none, or it has no claim yet. Only the run loop uses it

	token placement.Token // 0: there is no claim. The mu of the annex guards it
}

// place is what the cell has as an activation of a virtual actor, or nil.
func (c *cell) place() *place {
	if a := c.more.Load(); a != nil {
		return a.place
	}
	return nil
}

// holds reports whether an activation still has its actor for certain.
func (c *cell) holds() bool { return c.self.sys.members.certainIn(c.place().term) }

// activation returns the activation with that name on this node. If there is none it begins one, which
// takes messages at once, and handles them when it has the claim.
func (v *virtuals) activation(name string) (*cell, *rpc.Error) {
	s := v.sys
	for {
		if c := s.refs.live(name); c != nil {
			return c, nil
		}
		key, ok := activationOf(name)
		kind := s.kinds[key.Kind]
		switch {
		case !ok || kind == nil || !kind.placed:
			return nil, rpc.Errorf(rpc.NotFound, rpc.NotRun, "no actor %s on node %s", name, s.cfg.Name)
		case s.life.reached(parting):
			return nil, errLeaving
		case !s.members.certain():
			return nil, errUncertain
		case v.isFull():
			return nil, rpc.Errorf(rpc.Overloaded, rpc.NotRun, "%d virtual actors wait to be activated on this node", maxWaiting)
		}
		if to, given := v.balance.given(key); given {
			return nil, moved(key, to)
		}
		c := &cell{kind: s.intercepted(kind)}
		c.more.Store(&annex{place: &place{kept: kind.keepsActive(key.ID)}})
		c.life.word.Store(uint32(claiming))
		c.initBox(nil)
		t, err := s.refs.enter(s, name, c)
		switch {
		case err != nil:
			return nil, errLeaving
		case t == nil: // another goroutine was faster
			continue
		}
		s.busy.Add(1) // a shutdown waits for it
		v.do(func(ctx context.Context) {
			defer s.idle()
			v.activate(ctx, key, c)
		})
		return c, nil
	}
}

// isFull reports whether no more activations may wait for their turn.
func (v *virtuals) isFull() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.todo) >= maxWaiting
}

// do has fn called by one of a bounded number of goroutines.
func (v *virtuals) do(fn func(context.Context)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.todo = append(v.todo, fn)
	if v.busy < activating {
		v.busy++
		go v.work()
	}
}

// work does what there is to do. close waits for it.
func (v *virtuals) work() {
	for {
		v.mu.Lock()
		if len(v.todo) == 0 {
			if v.busy--; v.busy == 0 {
				v.todo = nil
				v.over.Broadcast()
			}
			v.mu.Unlock()
			return
		}
		fn := v.todo[0]
		v.todo[0] = nil
		v.todo = v.todo[1:]
		v.mu.Unlock()
		ctx, cancel := context.WithTimeout(v.sys.members.ctx, activationWait)
		fn(ctx)
		cancel()
	}
}

// close waits until all claims are released, or ctx ends. Claims that are left end with the node's
// record in the registry.
func (v *virtuals) close(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.closed, v.todo = true, nil
		v.over.Broadcast()
	})
	defer stop()
	v.mu.Lock()
	defer v.mu.Unlock()
	for v.busy > 0 && !v.closed {
		v.over.Wait()
	}
}

// activate makes c the one activation of its actor, or has those who wait for it told why not.
func (v *virtuals) activate(ctx context.Context, key placement.Key, c *cell) {
	p := c.place()
	term := v.sys.members.term.Load()
	token, contested, refusal := v.claim(ctx, key, term)
	var made activated
	if refusal == nil {
		var err error
		if c.kind.keeps != nil {
			if made.state, made.store, err = v.load(ctx, c.kind, key, token, contested); err != nil {
				refusal = v.notLoaded(c, key, err)
			}
		} else if made.state, err = c.kind.fresh(); err != nil {
			refusal = rpc.Errorf(rpc.Unavailable, rpc.NotRun, "virtual actor %v: %w", key, err)
			v.sys.log.Error("a virtual actor cannot be activated", "actor", key.String(), "err", err)
		}
		if err != nil && !contested { // otherwise its predecessor may still commit, and the next one has to know
			v.release(key, token, nil)
		}
	}
	if refusal != nil {
		if refusal.Code == rpc.Moved {
			v.count.moved.Add(1)
		} else {
			v.count.failed.Add(1)
		}
		c.turnAway(refusal)
		return
	}
	a := c.annexed()
	a.mu.Lock()
	left := c.life.now() == gone // if it is not, then leavePlace comes after this
	if !left {
		p.token, p.term = token, term
	}
	a.mu.Unlock()
	if left { // it was stopped meanwhile
		if c.kind.keeps == nil || !contested {
			v.release(key, token, nil)
		}
		return
	}
	v.count.begun.Add(1)
	c.signal(made)
}

// activated is the signal that an activation has its claim.
type activated struct {
	state any
	store *lasting // nil unless the actor is stored
}

func (s activated) arrive(c *cell) any {
	c.state, c.place().store = s.state, s.store
	if c.life.move(cellClaimed) {
		c.self.sys.refs.showPlaced(c)
		if s.store != nil {
			s.store.begin(c)
		}
		if c.kind.idle > 0 && !c.place().kept {
			c.minds()
		}
	}
	return nil
}

// turnAway ends an activation that has come to nothing. Those who wait get the refusal. Its run loop gives
// them back, so that one-way messages which are sent on keep their order.
func (c *cell) turnAway(refusal *rpc.Error) {
	c.place().refusal.Store(refusal)
	if !c.beginEnd(refusal) {
		return
	}
	if c.box.Wake() {
		c.run()
		return
	}
	c.unpark()
}

// giveBackAll gives back what waits in the mailbox of an activation that has come to nothing, behind what its run
// loop had in hand. From then on this node knows where the actor is.
func (c *cell) giveBackAll() {
	rest, _ := c.box.Close()
	for _, it := range rest {
		c.giveBack(it)
	}
	if why := c.place().refusal.Load(); why != nil {
		if h, moved := holderIn(why); moved { // not before, so that no message which goes there at once overtakes these
			c.self.sys.virtuals.awaitSentOn(c.virtualSelf())
			key, _ := activationOf(c.self.addr.name)
			c.self.sys.virtuals.learn(key, h)
		}
	}
}

// giveBack ends a message that waits for an actor which ends.
func (c *cell) giveBack(it item) {
	p := c.place()
	if p == nil || p.refusal.Load() == nil {
		c.self.sys.handBack(c.self.addr, it, errStopped)
		return
	}
	why := p.refusal.Load()
	if h, moved := holderIn(why); moved {
		if it.req == nil && c.self.sys.virtuals.sendOn(c.virtualSelf(), it, h) {
			return
		}
		c.self.sys.virtuals.awaitSentOn(c.virtualSelf()) // its sender is told who has the actor, and goes there at once
	}
	c.self.sys.handBack(c.self.addr, it, why)
}

// claim makes the claim for an attempt to activate an actor, in a term of the node's lease. contested says that
// it has replaced another one, whose holder may not know that yet.
func (v *virtuals) claim(ctx context.Context, key placement.Key, term uint64) (token placement.Token, contested bool, refusal *rpc.Error) {
	m, claims := v.sys.members, v.sys.cfg.Claims
	if claims == nil {
		return placement.Token(v.alone.Add(1)), true, nil
	}
	me := placement.Claim{Node: v.sys.cfg.Name, Epoch: v.sys.epoch, ID: placement.NewID()}
	self := placement.Self{Node: me.Node, Epoch: me.Epoch, Attempt: me.ID}
	for again := 0; ; {
		found, err := claims.Get(ctx, key)
		if err != nil {
			return 0, false, v.unclaimed(key, err)
		}
		sight := m.sight(found.Claim)
		self.Certain = m.certainIn(term)
		step := placement.Decide(self, found, sight)
		if step == placement.Moved && m.evictDead(ctx, found.Claim) {
			step = placement.Confirm
		}
		if step == placement.Confirm {
			if sight, err = m.confirm(ctx, found.Claim); err != nil {
				return 0, false, v.unclaimed(key, err)
			}
			self.Certain = m.certainIn(term)
			step = placement.Decide(self, found, sight)
		}
		switch step {
		case placement.Serve:
			return found.Token, contested, nil
		case placement.Moved:
			return 0, false, moved(key, found)
		case placement.Create:
			token, err = claims.Create(ctx, key, me)
		case placement.Replace:
			contested = true
			token, err = claims.Replace(ctx, key, me, found.Token)
		default:
			return 0, false, errUncertain
		}
		switch placement.After(err) {
		case placement.Hold:
			if m.certainIn(term) {
				return token, contested, nil
			}
			v.release(key, token, nil)
			return 0, false, errUncertain
		case placement.ReadAgain:
			if again++; again > 1 && !sleep(ctx, claimPause) {
				return 0, false, v.unclaimed(key, err)
			}
		default:
			return 0, false, v.unclaimed(key, err)
		}
	}
}

// unclaimed is the error of messages to an actor that could not be claimed.
func (v *virtuals) unclaimed(key placement.Key, err error) *rpc.Error {
	if !errors.Is(err, context.Canceled) {
		v.sys.faults.note(DeadLetter{Time: time.Now(), To: key.String() + "@" + anywhere, Type: "claim", Reason: rpc.Errorf(rpc.Unavailable, rpc.NotRun, "%w", err)}, key.Kind)
	}
	return rpc.Errorf(rpc.Unavailable, rpc.NotRun, "virtual actor %v could not be activated: %w", key, err)
}

// release gives up a claim, and calls then, if that is not nil.
func (v *virtuals) release(key placement.Key, token placement.Token, then func()) {
	if then == nil {
		then = func() {}
	}
	if v.sys.cfg.Claims == nil || token == 0 {
		then()
		return
	}
	v.do(func(ctx context.Context) {
		if err := v.sys.cfg.Claims.Release(ctx, key, token); err != nil && ctx.Err() == nil {
			v.sys.log.Warn("the claim of a virtual actor was not released: it ends with this node", "actor", key.String(), "err", err)
		}
		then()
	})
}

// leavePlace gives up the claim of an activation that has ended.
func (c *cell) leavePlace() {
	p := c.place()
	if p == nil {
		return
	}
	key, _ := activationOf(c.self.addr.name)
	a := c.annexed()
	a.mu.Lock()
	token, why := p.token, a.why
	a.mu.Unlock()
	over := c.keepsOn(key, token, why)
	if p.store.mayRelease() {
		c.self.sys.virtuals.release(key, token, over)
	} else {
		c.self.sys.outbox.recall(c.self.addr.name)
		c.rouseAnew()
		over()
	}
}

// fence ends all activations, because the node's lease was not certain for a while, and reports how
// many there were.
func (v *virtuals) fence() {
	for _, c := range v.sys.refs.all() {
		state := c.life.now() // the term of one that has been stopped before it had its claim may be written now
		if c.kind.placed && state != claiming && state < ending && !c.holds() {
			c.endFenced()
		}
	}
	v.mu.Lock()
	n := v.count.fenced.Load() - v.reported
	v.reported += n
	v.mu.Unlock()
	if n == 0 {
		return
	}
	v.sys.log.Error("the lease of this node's name was not renewed in time: its virtual actors end, and may be activated elsewhere", "activations", n)
	v.sys.event(Event{Type: ActivationsFenced, Peer: v.sys.cfg.Name, Count: n, Err: ErrFencedOff})
}

// fenceOff ends an activation that may not answer any more, and all others of the node that may not.
func (c *cell) fenceOff() {
	v := &c.self.sys.virtuals
	if c.endFenced() && v.fencing.CompareAndSwap(false, true) {
		v.sys.services.run(func() {
			v.fencing.Store(false)
			v.fence()
		})
	}
}

// endFenced returns false if the activation ends already.
func (c *cell) endFenced() bool {
	if c.life.now() >= ending || !c.place().refusal.CompareAndSwap(nil, errUncertain) {
		return false
	}
	c.self.sys.virtuals.count.fenced.Add(1)
	c.end(ErrFencedOff)
	c.self.sys.outbox.recall(c.self.addr.name)
	return true
}

// outcomeUnsure ends an activation that has handled a message and may not answer any more. It returns
// the error of that message.
func (c *cell) outcomeUnsure() error {
	c.fenceOff()
	return errFencedOff
}

// stats returns the numbers of the activations.
func (v *virtuals) stats() VirtualStats {
	n := &v.count
	return VirtualStats{Begun: n.begun.Load(), Moved: n.moved.Load(), Failed: n.failed.Load(), Fenced: n.fenced.Load()}
}
