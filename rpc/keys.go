package rpc

import (
	"crypto/sha256"
	"slices"
	"sync"
	"time"
)

// keys are the server's side of requests that their callers have named themselves: one
// key of one principal at one actor is one execution and one outcome, whichever
// session asks, for KeyLife after it is done. Of a session's own numbers nothing is
// taken back: each attempt under a key has a record of its own besides.
//
// A refusal is the outcome of the attempts that got it, not of the key: it did not
// run, and a later attempt may.
type keys struct {
	node *Node

	mu   sync.Mutex // guards what follows
	all  map[[16]byte]*keyed
	done []keyDone // in the order of their ends
}

// keyed is what is known of one key.
type keyed struct {
	print     uint64
	principal string
	share     *share
	owner     *Inbound   // the attempt that is to run, until it is decided
	waiting   []*Inbound // further attempts meanwhile
	outcome   *outcome   // once decided
	kept      int        // bytes reserved for it
}

type keyDone struct {
	id [16]byte
	at time.Duration // node clock
}

// keySize is about what a key takes beside its outcome.
const keySize = 256

// keyID is what a key stands for in tables and stores.
func keyID(principal, target, key string) (id [16]byte) {
	h := sha256.New()
	for _, part := range []string{"key", principal, target} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	h.Write([]byte(key))
	copy(id[:], h.Sum(nil))
	return id
}

// admit decides on an attempt under a key: it is to run (nil and true), it waits for
// the one that runs (nil and false), or it has the outcome that is returned. The one that
// runs has until the latest deadline of all.
func (k *keys) admit(in *Inbound) (o *outcome, run bool) {
	n := k.node
	var owner *Inbound
	k.mu.Lock()
	defer func() {
		k.mu.Unlock()
		if owner != nil { // whose session may be another one
			owner.extend(in.deadline)
		}
	}()
	k.expire(n.now())
	e := k.all[in.name.id.Grant]
	if e == nil {
		if kept := k.earlier(in); kept != nil {
			return kept, false
		}
		share := n.budget.of(in.session.principal)
		if !n.budget.reserve(share, keySize) {
			n.budget.leave(in.session.principal, share)
			return &outcome{err: Errorf(Overloaded, NotRun, "what is kept for %s fills its share of the table", in.session.principal)}, false
		}
		k.all[in.name.id.Grant] = &keyed{print: in.name.print, principal: in.session.principal, share: share, owner: in, kept: keySize}
		return nil, true
	}
	switch {
	case e.print != in.name.print:
		return keyReused(), false
	case e.outcome != nil:
		n.stats.replayed.Add(1)
		return e.outcome, false
	}
	n.stats.attached.Add(1)
	in.body, in.Meta = nil, nil // it never runs itself
	e.waiting = append(e.waiting, in)
	owner = e.owner
	return nil, false
}

func keyReused() *outcome {
	return &outcome{err: Errorf(IDReused, NotRun, "another request has this key")}
}

// earlier is the outcome that an earlier start of this node has stored for the key of
// in, or nil.
func (k *keys) earlier(in *Inbound) *outcome {
	j := k.node.journal
	if j == nil {
		return nil
	}
	page, found := j.settled(in.name.id)
	switch {
	case !found:
		return nil
	case page.Fingerprint != in.name.print:
		return keyReused()
	case page.Done:
		k.node.stats.replayed.Add(1)
		o := parseOutcome(page.Outcome)
		return &o
	}
	return &outcome{err: Errorf(OutcomeUnknown, Unknown, "the handler of a request under this key had started when the node was lost")}
}

// settle gives all attempts under in's key the outcome of in, which was to run.
func (k *keys) settle(in *Inbound, o outcome) {
	n := k.node
	k.mu.Lock()
	e := k.all[in.name.id.Grant]
	if e == nil || e.owner != in {
		k.mu.Unlock()
		return
	}
	waiting := e.waiting
	e.owner, e.waiting = nil, nil
	if o.refused() {
		k.forget(in.name.id.Grant, e)
		o = outcome{err: Errorf(Unavailable, NotRun, "the attempt under this key that was to run did not: %w", o.err)}
	} else {
		keep := o
		if size := len(o.body); size > n.cfg.Keep || size > 0 && !n.budget.reserve(e.share, size) {
			keep = replyDropped()
		} else {
			e.kept += size
		}
		e.outcome = &keep
		k.done = append(k.done, keyDone{in.name.id.Grant, n.now()})
	}
	k.mu.Unlock()
	for _, w := range waiting {
		w.settle(o)
	}
}

// leave takes an attempt that was given up out of those that wait.
func (k *keys) leave(in *Inbound) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.all[in.name.id.Grant]; e != nil {
		e.waiting = slices.DeleteFunc(e.waiting, func(w *Inbound) bool { return w == in })
	}
}

// expire forgets the keys whose time is over. k.mu is held.
func (k *keys) expire(now time.Duration) {
	for len(k.done) > 0 && now-k.done[0].at >= k.node.cfg.KeyLife {
		id := k.done[0].id
		k.done = k.done[1:]
		if e := k.all[id]; e != nil && e.outcome != nil {
			k.forget(id, e)
		}
	}
}

// forget takes a key out. k.mu is held.
func (k *keys) forget(id [16]byte, e *keyed) {
	delete(k.all, id)
	k.node.budget.free(e.share, e.kept)
	k.node.budget.leave(e.principal, e.share)
}

// runs reports whether an attempt under a key is to run, or runs.
func (k *keys) runs(name [16]byte) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.all[name]
	return e != nil && e.owner != nil
}

// sweep forgets the keys whose time is over.
func (k *keys) sweep(now time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.expire(now)
}

// shared reports whether others wait for the outcome of in.
func (k *keys) shared(in *Inbound) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.all[in.name.id.Grant]
	return e != nil && e.owner == in && len(e.waiting) > 0
}

// isKeyed reports whether the caller has named the request.
func (in *Inbound) isKeyed() bool { return in.name != nil && in.name.id.Seq == 0 }
