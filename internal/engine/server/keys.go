package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// keys is the table of requests that have a key. A key of one principal at one actor stands
// for one execution and one outcome, whichever session asks, until KeyLife after it is done.
// Each attempt under a key is also a request of its session, with a number and a record.
//
// The memory of keys is bounded by Limits.KeyBytes, and counts in the share of their principal
// (package account). A key that is done takes about 81 bytes and its outcome. For an actor of a
// durable kind it takes 192 more, because the store's ledger is in memory too.
//
// A refusal is the outcome of the attempts that got it, but not of the key: nothing has run,
// so a later attempt may run.
type keys struct {
	server *Server

	mu   sync.Mutex // guards what follows
	all  map[[16]byte]*keyed
	done keyring

	marks      map[[16]byte]*mark // see numbered.go; their bytes count in done
	marksSwept time.Duration      // node clock when the old ones were last removed
}

// keyed is a key without an outcome yet.
type keyed struct {
	fingerprint uint64
	principal   uint32     // index of the owner in the keyring
	owner       *Inbound   // the attempt that is to run
	waiting     []*Inbound // further attempts, which wait for its outcome
	reserved    int        // bytes that are counted for the key
}

// keyID returns the ID of a key in tables and stores. It hashes each part with its length, so
// that different parts never give the same input to the hash.
func keyID(principal, target, key string) (id [16]byte) {
	return hashOf("key", principal, target, key)
}

func hashOf(parts ...string) (id [16]byte) {
	h := sha256.New()
	for _, part := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write([]byte(part))
	}
	copy(id[:], h.Sum(nil))
	return id
}

// admit decides on an attempt under a key: it is to run (nil and true), it waits for the
// attempt that runs (nil and false), or it gets the outcome that is returned. The attempt
// that runs gets the latest deadline of all attempts.
func (k *keys) admit(in *Inbound) (o *outcome, run bool) {
	srv := k.server
	var owner *Inbound
	k.mu.Lock()
	defer func() {
		k.mu.Unlock()
		if owner != nil { // not under k.mu, because this takes the lock of the owner's session
			owner.extend(in.deadline)
		}
	}()
	k.done.expire(srv.host.Now() - srv.cfg.KeyLife)
	if o := k.lookup(in); o != nil {
		return o, false
	}
	e := k.all[in.name.id.Grant]
	if e == nil {
		if kept := k.stored(in); kept != nil {
			return kept, false
		}
		size := sizeOfKey(srv.account.Reply, srv.journal != nil) // with this reserved, there is always room for a small reply
		principal, ok := k.done.reserve(in.session.principal, size)
		if !ok {
			srv.counts.keysRefused.Add(1)
			return &outcome{err: rpc.Errorf(rpc.Overloaded, rpc.NotRun, "the keys of %s fill its share of the %d bytes for all keys (rpc.Limits.KeyBytes), or of the memory (rpc.Limits.MemoryBytes); each is kept for %v",
				in.session.principal, srv.cfg.KeyBytes, srv.cfg.KeyLife)}, false
		}
		k.all[in.name.id.Grant] = &keyed{fingerprint: in.name.fingerprint, principal: principal, owner: in, reserved: size}
		return nil, true
	}
	if e.fingerprint != in.name.fingerprint {
		return keyReused(false), false
	}
	srv.counts.attached.Add(1)
	in.body, in.Meta = nil, nil // this attempt never runs itself
	e.waiting = append(e.waiting, in)
	owner = e.owner
	in.name.behind = owner.ID()
	return nil, false
}

// keyReused returns the outcome for another message under a key that is in use. Its verdict is
// about the key's own request: after NotRun, a client would send that again under another key,
// and it would run twice.
func keyReused(done bool) *outcome {
	if done {
		return &outcome{err: rpc.Errorf(rpc.IDReused, rpc.HasRun, "another message was sent under this key, and ran")}
	}
	return &outcome{err: rpc.Errorf(rpc.IDReused, rpc.Unknown, "another message was sent under this key, and may run")}
}

// lookup returns the outcome of a key that is done, or nil. k.mu is held.
func (k *keys) lookup(in *Inbound) *outcome {
	e, found := k.done.find(in.name.id.Grant)
	switch {
	case !found:
		return nil
	case e.fingerprint != in.name.fingerprint:
		return keyReused(true)
	case e.stored:
		return k.stored(in) // nil if it has just expired there
	}
	k.server.counts.replayed.Add(1)
	o := unpackOutcome(bytes.Clone(e.outcome)).again()
	return &o
}

// stored returns the outcome for the key of in that is in the store, or nil.
func (k *keys) stored(in *Inbound) *outcome {
	j := k.server.journal
	if j == nil {
		return nil
	}
	page, found := j.Earlier(in.name.id)
	switch {
	case !found:
		return nil
	case page.Fingerprint != in.name.fingerprint:
		return keyReused(page.Done)
	case page.Done:
		k.server.counts.replayed.Add(1)
		o := parseOutcome(page.Outcome).again()
		return &o
	}
	return &outcome{err: rpc.Errorf(rpc.OutcomeUnknown, rpc.Unknown, "the handler of a request under this key had started when the node was lost")}
}

// finish gives the outcome of in, which was to run, to all attempts that wait under its key.
func (k *keys) finish(in *Inbound, o outcome) {
	k.mu.Lock()
	e := k.all[in.name.id.Grant]
	if e == nil || e.owner != in {
		k.mu.Unlock()
		return
	}
	waiting := e.waiting
	delete(k.all, in.name.id.Grant)
	unsure := o.err != nil && o.err.Verdict == rpc.Unknown && k.server.cfg.Handler.Durability(in.Target).Stored
	if unsure { // the next attempt finds out
		k.done.release(e.principal, e.reserved)
	} else if o.refused() {
		k.done.release(e.principal, e.reserved)
		o = outcome{err: rpc.Errorf(rpc.Unavailable, rpc.NotRun, "the attempt under this key that was to run did not: %w", o.err)}
	} else {
		k.keep(in, e, o)
	}
	k.mu.Unlock()
	for _, w := range waiting {
		w.finish(o, nil, false)
	}
}

// keep adds a key that has its outcome to those that are done. k.mu is held.
func (k *keys) keep(in *Inbound, e *keyed, o outcome) {
	srv := k.server
	stored := srv.journal.Has(in.name.id)
	packed := o.pack()
	more := sizeOfKey(len(packed), stored) - e.reserved // in addition to what is counted already
	switch {
	case len(packed) > srv.cfg.Keep+packedHead || !stored && more > 0 && !k.done.grow(e.principal, more):
		stored, packed = false, replyDropped().pack()
		k.done.resize(e.principal, sizeOfKey(len(packed), stored)-e.reserved)
	case stored || more <= 0:
		k.done.resize(e.principal, more)
	}
	k.done.add(in.name.id.Grant, e.fingerprint, srv.host.Now(), e.principal, packed, stored)
}

// removeWaiting removes an attempt that was cancelled from those that wait.
func (k *keys) removeWaiting(in *Inbound) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if in.Number > 0 {
		k.removeWaitingNumbered(in)
		return
	}
	if e := k.all[in.name.id.Grant]; e != nil {
		e.waiting = slices.DeleteFunc(e.waiting, func(w *Inbound) bool { return w == in })
	}
}

// runs reports whether an attempt under the key runs or is to run.
func (k *keys) runs(name [16]byte) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	e, m := k.all[name], k.marks[name]
	return e != nil && e.owner != nil || m != nil && m.owner != nil
}

// sweep removes the keys that have expired.
func (k *keys) sweep(now time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.done.expire(now - k.server.cfg.KeyLife)
	k.sweepMarks(now)
}

// count returns how many keys and outboxes are known, and how many bytes they take.
func (k *keys) count() (n int, size int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.all) + k.done.count() + len(k.marks), k.done.used
}

// waits returns how many attempts wait for the outcome of another one.
func (k *keys) waits() (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range k.all {
		n += len(e.waiting)
	}
	return n
}

// shared reports whether others wait for the outcome of in.
func (k *keys) shared(in *Inbound) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.all[in.name.id.Grant]
	return e != nil && e.owner == in && len(e.waiting) > 0
}

// isKeyed reports whether the request has a key.
func (in *Inbound) isKeyed() bool { return in.name != nil && in.name.id.Seq == 0 }
