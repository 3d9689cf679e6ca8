package server

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/rpc"
)

// A message of an outbox has a number in it. Its sender sends a message only when it knows what
// became of all that it has sent before to the same actor. So one record for each outbox and actor is
// enough, however many messages there are: those up to a number are over.

// mark is what is known of the messages of one outbox to one actor. Its ID is a hash of both.
type mark struct {
	over      uint64        // the messages up to this number are over: their handlers have returned, or will never be called
	doubt     uint64        // the handler of this one was called at an earlier start, and it is not known whether it returned; 0: there is none
	owner     *Inbound      // the attempt at the next message that is to run; nil: there is none
	waiting   []*Inbound    // further attempts at the same message
	principal uint32        // index of the owner in the keyring
	size      int           // bytes that are counted for it
	used      time.Duration // node clock of the latest attempt
}

// ActorOutbox begins the names of the outboxes of virtual actors, and of no others.
const ActorOutbox = "~"

const (
	markSize       = 192
	sweepMarksTime = time.Minute
)

// markID returns the ID of a mark in tables and stores. The outbox of a virtual actor is the same at
// whatever node the actor is, so it does not matter who sends its messages: Config.Check decides who may.
func markID(principal, target, outbox string) [16]byte {
	if strings.HasPrefix(outbox, ActorOutbox) {
		principal = ""
	}
	return hashOf("outbox", principal, target, outbox)
}

// admitNumbered decides on an attempt at a message of an outbox: it is to run (nil and true), it waits for
// the attempt that runs (nil and false), or it gets the outcome that is returned.
func (k *keys) admitNumbered(in *Inbound) (o *outcome, run bool) {
	srv, now := k.server, k.server.host.Now()
	memory := k.memory(in)
	var owner *Inbound
	k.mu.Lock()
	defer func() {
		k.mu.Unlock()
		if owner != nil { // not under k.mu, because this takes the lock of the owner's session
			owner.extend(in.deadline)
		}
	}()
	id := in.name.id
	m := k.marks[id.Grant]
	if m == nil {
		size := markSize
		if srv.journal != nil {
			size += ledgerSize
		}
		principal, ok := k.done.reserve(in.session.principal, size)
		if !ok {
			srv.counts.keysRefused.Add(1)
			return &outcome{err: rpc.Errorf(rpc.Overloaded, rpc.NotRun, "the keys and outboxes of %s fill its share of the %d bytes for them (rpc.Limits.KeyBytes), or of the memory (rpc.Limits.MemoryBytes)",
				in.session.principal, srv.cfg.KeyBytes)}, false
		}
		m = &mark{principal: principal, size: size}
		m.over, m.doubt = srv.journal.Outbox(id)
		k.marks[id.Grant] = m
	}
	m.used = now
	switch {
	case in.Number == m.doubt:
		return &outcome{err: rpc.Errorf(rpc.OutcomeUnknown, rpc.Unknown, "the handler of this message had started when the node was lost")}, false
	case in.Number <= m.over:
		srv.counts.replayed.Add(1)
		return &outcome{stored: true}, false
	case m.owner != nil && m.owner.Number == in.Number:
		srv.counts.attached.Add(1)
		in.body, in.Meta = nil, nil // this attempt never runs itself
		m.waiting = append(m.waiting, in)
		owner = m.owner
		in.name.behind = owner.ID()
		return nil, false
	case m.owner != nil:
		return &outcome{err: rpc.Errorf(rpc.Unavailable, rpc.NotRun, "an earlier message of this outbox is still being handled")}, false
	case m.over == 0 && in.sentFor > 0 && k.knownOfAnother(in):
		k.forget(id.Grant, m)
		return &outcome{err: rpc.Errorf(rpc.OutcomeUnknown, rpc.Unknown, "messages of this outbox have come from another principal, perhaps of the same node over another road, and this may have been one of them")}, false
	case m.over == 0 && in.sentFor > 0 && in.sentFor >= memory: // the first message that is known of this outbox may have been here before
		k.forget(id.Grant, m)
		return &outcome{err: rpc.Errorf(rpc.OutcomeUnknown, rpc.Unknown, "an earlier start of the node may have handled this message, and no record of that is left")}, false
	}
	m.owner = in
	return nil, true
}

// knownOfAnother reports whether messages of the same outbox to the same actor have come from another principal. A node can
// be another one on each road, and its messages are known by who has sent them. k.mu is held.
func (k *keys) knownOfAnother(in *Inbound) bool {
	for principal := range k.done.byName {
		if principal == in.session.principal {
			continue
		}
		id := ledger.ID{Grant: markID(principal, in.Target, in.name.outbox)}
		if m := k.marks[id.Grant]; m != nil && id.Grant != in.name.id.Grant {
			return true
		}
		if last, doubt := k.server.journal.Outbox(id); last+doubt > 0 && id.Grant != in.name.id.Grant {
			return true
		}
	}
	return false
}

// memory is for how long an attempt at the message of in, whose actor is the same, would be known here.
func (k *keys) memory(in *Inbound) time.Duration {
	if in.sentFor == 0 {
		return 0
	}
	d := k.server.cfg.Handler.Durability(in.Target)
	if d.Stored {
		return math.MaxInt64
	}
	if d.Durable && k.server.journal != nil || d.Completions != nil {
		return ledger.OutboxLife
	}
	return min(k.server.host.Now(), ledger.OutboxLife)
}

// settle ends a message of an outbox: its record is made, and the other attempts get their outcome.
func (in *Inbound) settle(o outcome) {
	in.session.mu.Lock()
	begun := in.begun
	in.session.mu.Unlock()
	for _, w := range in.session.server.keys.settle(in, o, begun) {
		w.finish(o, nil, false)
	}
}

// settle notes the outcome of in if it was to run, and returns the other attempts, which get it too.
// It is called before in's sender can know the outcome and send the next message.
func (k *keys) settle(in *Inbound, o outcome, begun bool) (waiting []*Inbound) {
	if in.name == nil { // it was refused before it came to its mark
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	m := k.marks[in.name.id.Grant]
	if m == nil || m.owner != in {
		return nil
	}
	waiting, m.owner, m.waiting = m.waiting, nil, nil
	switch unsure := o.err != nil && o.err.Verdict == rpc.Unknown; {
	case unsure && k.server.cfg.Handler.Durability(in.Target).Stored: // the next attempt finds out
	case !o.refused():
		m.over = in.Number
		if unsure {
			m.doubt = in.Number
		}
	case m.over == 0 && !begun: // if it was begun, the store may not know yet that it was not
		k.forget(in.name.id.Grant, m)
	}
	return waiting
}

// forget removes a mark. k.mu is held.
func (k *keys) forget(id [16]byte, m *mark) {
	k.done.release(m.principal, m.size)
	delete(k.marks, id)
}

// sweepMarks removes the marks of outboxes that have sent nothing for a long time. k.mu is held.
func (k *keys) sweepMarks(now time.Duration) {
	if now-k.marksSwept < sweepMarksTime {
		return
	}
	k.marksSwept = now
	for id, m := range k.marks {
		if m.owner == nil && now-m.used > ledger.OutboxLife {
			k.forget(id, m)
		}
	}
}

// removeWaitingNumbered is removeWaiting for a message of an outbox. k.mu is held.
func (k *keys) removeWaitingNumbered(in *Inbound) {
	if m := k.marks[in.name.id.Grant]; m != nil {
		m.waiting = slices.DeleteFunc(m.waiting, func(w *Inbound) bool { return w == in })
	}
}

// pageOf is what an outbox's page says about its message with that number.
func pageOf(page ledger.Page, found bool, number uint64) (ledger.Page, bool) {
	switch {
	case !found || page.Number < number:
		return ledger.Page{}, false
	case page.Number > number || page.Done:
		return ledger.Page{Begun: true, Done: true, Outcome: outcome{}.bytes()}, true
	}
	return page, true
}
