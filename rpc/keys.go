package rpc

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"
	"time"
)

// keys are the server's side of requests that their callers have named themselves: one
// key of one principal at one actor is one execution and one outcome, whichever
// session asks, for KeyLife after it is done. Of a session's own numbers nothing is
// taken back: each attempt under a key has a record of its own besides.
//
// What keys take is bounded by Config.KeyBytes, and counts in the share of their principal
// (account.go): a key that is done takes about 81 bytes and its outcome, of a durable kind 192
// more, for the store's ledger is in memory too.
//
// A refusal is the outcome of the attempts that got it, not of the key: it did not
// run, and a later attempt may.
type keys struct {
	node *Node

	mu   sync.Mutex // guards what follows
	all  map[[16]byte]*keyed
	done keyring
}

// keyed is a key that is not decided.
type keyed struct {
	print     uint64
	principal uint32     // in the keyring
	owner     *Inbound   // the attempt that is to run
	waiting   []*Inbound // further attempts meanwhile
	kept      int        // bytes set aside for it
}

// keyID is what a key stands for in tables and stores. Each part goes with its length, so
// that no bytes in one make it look like another's.
func keyID(principal, target, key string) (id [16]byte) {
	h := sha256.New()
	for _, part := range []string{"key", principal, target, key} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write([]byte(part))
	}
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
	k.done.expire(n.now() - n.cfg.KeyLife)
	if o := k.known(in); o != nil {
		return o, false
	}
	e := k.all[in.name.id.Grant]
	if e == nil {
		if kept := k.earlier(in); kept != nil {
			return kept, false
		}
		size := sizeOfKey(n.account.replies, n.journal != nil) // so a small reply always finds room
		principal, ok := k.done.reserve(in.session.principal, size)
		if !ok {
			n.stats.keysRefused.Add(1)
			return &outcome{err: Errorf(Overloaded, NotRun, "the keys of %s fill its share of the %d bytes for all keys (rpc.Config.KeyBytes), or of the memory (rpc.Config.MemoryBytes); each is kept for %v",
				in.session.principal, n.cfg.KeyBytes, n.cfg.KeyLife)}, false
		}
		k.all[in.name.id.Grant] = &keyed{print: in.name.print, principal: principal, owner: in, kept: size}
		return nil, true
	}
	if e.print != in.name.print {
		return keyReused(false), false
	}
	n.stats.attached.Add(1)
	in.body, in.Meta = nil, nil // it never runs itself
	e.waiting = append(e.waiting, in)
	owner = e.owner
	return nil, false
}

// keyReused is what another message gets under a key. Its verdict is about the key's own
// request: whoever trusts a NotRun would take another key, and have it run twice.
func keyReused(done bool) *outcome {
	if done {
		return &outcome{err: Errorf(IDReused, HasRun, "another message was sent under this key, and ran")}
	}
	return &outcome{err: Errorf(IDReused, Unknown, "another message was sent under this key, and may run")}
}

// known is the outcome of a key that is done, or nil. k.mu is held.
func (k *keys) known(in *Inbound) *outcome {
	e, found := k.done.find(in.name.id.Grant)
	switch {
	case !found:
		return nil
	case e.print != in.name.print:
		return keyReused(true)
	case e.stored:
		return k.earlier(in) // nil if it has just been forgotten there
	}
	k.node.stats.replayed.Add(1)
	o := unpackOutcome(bytes.Clone(e.outcome))
	return &o
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
		return keyReused(page.Done)
	case page.Done:
		k.node.stats.replayed.Add(1)
		o := parseOutcome(page.Outcome)
		return &o
	}
	return &outcome{err: Errorf(OutcomeUnknown, Unknown, "the handler of a request under this key had started when the node was lost")}
}

// settle gives all attempts under in's key the outcome of in, which was to run.
func (k *keys) settle(in *Inbound, o outcome) {
	k.mu.Lock()
	e := k.all[in.name.id.Grant]
	if e == nil || e.owner != in {
		k.mu.Unlock()
		return
	}
	waiting := e.waiting
	delete(k.all, in.name.id.Grant)
	if o.refused() {
		k.done.release(e.principal, e.kept)
		o = outcome{err: Errorf(Unavailable, NotRun, "the attempt under this key that was to run did not: %w", o.err)}
	} else {
		k.keep(in, e, o)
	}
	k.mu.Unlock()
	for _, w := range waiting {
		w.settle(o)
	}
}

// keep moves a key that is decided among those that are done. k.mu is held.
func (k *keys) keep(in *Inbound, e *keyed, o outcome) {
	n := k.node
	stored := n.journal.has(in.name.id)
	packed := o.pack()
	more := sizeOfKey(len(packed), stored) - e.kept // beyond what was set aside
	switch {
	case len(packed) > n.cfg.Keep+packedHead || !stored && more > 0 && !k.done.grow(e.principal, more):
		stored, packed = false, replyDropped().pack()
		k.done.resize(e.principal, sizeOfKey(len(packed), stored)-e.kept)
	case stored || more <= 0:
		k.done.resize(e.principal, more)
	}
	k.done.add(in.name.id.Grant, e.print, n.now(), e.principal, packed, stored)
}

// leave takes an attempt that was given up out of those that wait.
func (k *keys) leave(in *Inbound) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.all[in.name.id.Grant]; e != nil {
		e.waiting = slices.DeleteFunc(e.waiting, func(w *Inbound) bool { return w == in })
	}
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
	k.done.expire(now - k.node.cfg.KeyLife)
}

// count is how many keys are known, and the bytes that they take.
func (k *keys) count() (n int, size int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.all) + k.done.count(), k.done.used
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
