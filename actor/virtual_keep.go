package actor

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/rpc"
)

// MaxKeptActive is how many actors of one kind KeepActive can keep active.
const MaxKeptActive = 1024

// ErrTooManyKept is wrapped by the error of NewSystem if a kind has more than MaxKeptActive ids in KeepActive.
var ErrTooManyKept error = rpc.NewError("actor.too_many_kept", fmt.Sprintf("more than %d actors of a kind are to be kept active", MaxKeptActive))

// The events of actors that are kept active. Actor is the virtual address.
const (
	KeptActive   rpc.EventType = "kept actor active"     // an actor of KeepActive is active on the node Peer: on this one, or again after a KeptInactive
	KeptInactive rpc.EventType = "kept actor not active" // an actor of KeepActive has ended on this node, or cannot be activated, as Err says; it is tried again
)

// KeepActive has the actors of a Virtual kind with these ids active on some node of the cluster while
// at least one hosts the kind, one activation each: singletons. No message is needed for that. They are activated
// when nodes come up, and again when their node has died, left or was fenced, at once when that is known, and when
// they have failed or were stopped. Idle does not end them, and they get no WentIdle.
//
//	var CleanerKind = actor.Define("cleaner", newCleaner, ...).With(actor.Virtual(), actor.KeepActive("nightly"))
//
// The node that the cluster chooses for an actor sees to it; all nodes that host the kind should have the same ids.
// While the claim cannot be made, it is tried again for as long as it takes, with pauses from 0.1 s to 30 s; and so it is
// with an actor that fails again and again. Between changes there is no traffic. The events are KeptActive and KeptInactive.
//
// Given several times, it adds ids. There can be MaxKeptActive for a kind; with more, NewSystem returns an error
// that wraps ErrTooManyKept.
func KeepActive(ids ...string) KindOption {
	return func(k *Kind) {
		k.kept = slices.Compact(slices.Sorted(slices.Values(slices.Concat(k.kept, ids))))
	}
}

// checkKept returns what is wrong with the ids of KeepActive, or nil.
func (k *Kind) checkKept() error {
	if n := len(k.kept); n > MaxKeptActive {
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "kind %s has KeepActive with %d ids: %w", k.name, n, ErrTooManyKept)
	}
	for _, id := range k.kept {
		if _, err := parseAddress(k.name + "/" + id + "@" + anywhere); err != nil {
			return fmt.Errorf("kind %s has KeepActive: %w", k.name, err)
		}
	}
	return nil
}

// keepsActive reports whether the actor with that id is kept active.
func (k *Kind) keepsActive(id string) bool {
	_, found := slices.BinarySearch(k.kept, id)
	return found
}

// keeper keeps the actors active that KeepActive names. One goroutine looks at what changes; the decisions
// are those of placement.Keep.
type keeper struct {
	sys  *System
	wake chan struct{} // holds a token when there is something to look at

	mu    sync.Mutex // guards what follows
	all   map[placement.Key]*placement.Keep
	tries int // attempts under way
}

const (
	maxKeepTries = activating      // attempts at a time
	keepTryWait  = 3 * time.Second // how long one takes; the activation goes on
	suspectPause = time.Second     // between two looks while a node's lease has expired, and a link to it is open
)

// keepRetry has an attempt find an actor that is about to move soon after that.
var keepRetry = rpc.Retry{MaxPause: 500 * time.Millisecond}

func (k *keeper) init(s *System) {
	k.sys, k.wake, k.all = s, make(chan struct{}, 1), map[placement.Key]*placement.Keep{}
	for _, kind := range s.cfg.Kinds {
		for _, id := range kind.kept {
			k.all[placement.Key{Kind: kind.name, ID: id}] = new(placement.Keep)
		}
	}
}

// start begins to keep them active.
func (k *keeper) start() {
	if len(k.all) > 0 {
		k.sys.services.run(k.run)
	}
}

// run looks at what changes, until the node leaves.
func (k *keeper) run() {
	for ctx := k.sys.ctx; !k.sys.life.reached(parting); {
		news := k.sys.members.news()
		var again <-chan time.Time
		if pause := k.look(); pause > 0 {
			again = time.After(pause)
		}
		select {
		case <-news:
		case <-k.wake:
		case <-again:
		case <-ctx.Done():
			return
		}
	}
}

// look begins the attempts that are due, and returns when to look again; 0: when something changes.
func (k *keeper) look() (pause time.Duration) {
	hosts := map[string]*hosts{}
	for _, kind := range k.sys.cfg.Kinds {
		if len(kind.kept) > 0 {
			hosts[kind.name] = k.sys.virtuals.hostsOf(kind.name)
		}
	}
	if k.sys.members.suspects.Load() > 0 {
		pause = suspectPause
	}
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	for key, one := range k.all {
		if k.tries == maxKeepTries {
			break // the next one that ends wakes this goroutine
		}
		h := hosts[key.Kind]
		node, ok := h.choose(key, nil)
		begin, wait := one.Next(now, ok && node == k.sys.cfg.Name, h.has)
		if wait > 0 && (pause == 0 || wait < pause) {
			pause = wait
		}
		if begin && k.sys.services.run(func() { k.try(key) }) { // it is not run when the system has ended
			k.tries++
		}
	}
	return pause
}

// has reports whether a holder hosts the kind.
func (h *hosts) has(by placement.Holder) bool {
	epoch, ok := h.epochs[by.Node]
	return ok && (epoch == by.Epoch || epoch == "")
}

// try is one attempt to have an actor activated.
func (k *keeper) try(key placement.Key) {
	ctx, cancel := context.WithTimeout(k.sys.ctx, keepTryWait)
	h, err := k.sys.virtuals.reach(ctx, key, keepRetry)
	cancel()
	h.Token = 0
	k.note(key, h.Node, err, func(one *placement.Keep) bool {
		k.tries--
		return one.Tried(time.Now(), h, err != nil)
	})
}

// own is this node as the holder of what it has under a claim.
func (k *keeper) own(token placement.Token) placement.Holder {
	return placement.Holder{Node: k.sys.cfg.Name, Epoch: k.sys.epoch, Token: token}
}

// left is called when a node has gone.
func (k *keeper) left() {
	k.mu.Lock()
	for _, one := range k.all {
		one.Left(time.Now(), k.own(0))
	}
	k.mu.Unlock()
	k.rouse()
}

// rouse has the goroutine look again.
func (k *keeper) rouse() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// note changes what is known of an actor. If that is news, the operator learns that it is active on a node, or
// why it is not.
func (k *keeper) note(key placement.Key, node string, why error, change func(*placement.Keep) bool) {
	k.mu.Lock()
	one := k.all[key]
	news := one != nil && change(one)
	k.mu.Unlock()
	k.rouse()
	if !news || k.sys.life.reached(parting) {
		return
	}
	e := Event{Type: KeptActive, Actor: key.String() + "@" + anywhere, Peer: node, Err: why}
	if why == nil {
		k.sys.log.Info("an actor that is kept active is active", "actor", e.Actor, "at", node)
	} else {
		e.Type = KeptInactive
		k.sys.log.Warn("an actor that is kept active is not: it is activated again, or tried again", "actor", e.Actor, "err", why)
	}
	k.sys.event(e)
}

// errKeptStopped is why an actor that is kept active is not, for a moment, when somebody has stopped it.
var errKeptStopped = rpc.NewError("actor.kept_stopped", "somebody has stopped it")

// keptBegins notes that an activation has begun, if its actor is kept active.
func (c *cell) keptBegins() {
	if k := &c.self.sys.virtuals.keep; c.place().kept {
		key, _ := activationOf(c.self.addr.name)
		h := k.own(c.token())
		k.note(key, h.Node, nil, func(one *placement.Keep) bool { return one.Began(time.Now(), h) })
	}
}

// keepsOn returns what is to be called when the claim of an activation that has ended is released.
func (c *cell) keepsOn(key placement.Key, token placement.Token, why error) func() {
	if !c.place().kept {
		return func() {}
	}
	if why == nil {
		why = errKeptStopped
	}
	return func() {
		k := &c.self.sys.virtuals.keep
		k.note(key, "", why, func(one *placement.Keep) bool { return one.Ended(time.Now(), k.own(token), why == ErrRebalanced) })
	}
}
