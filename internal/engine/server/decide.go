package server

import (
	"github.com/tandem-go/tandem/internal/engine/account"
	"github.com/tandem-go/tandem/internal/trail"
	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// This file ends requests: it gives them their outcomes, and sends these.

// Fail ends a request with an error. The verdict of err has to be true: after NotRun the request
// may be retried elsewhere.
func (in *Inbound) Fail(err *rpc.Error) { in.decide(outcome{err: err}, nil, false) }

// Recorded says that what Reply or Fail is about to be given is the outcome of an earlier attempt, which the caller is told.
func (in *Inbound) Recorded() { in.recorded = true }

// Reply ends a request with its result. The body must not change afterwards.
func (in *Inbound) Reply(typeID uint64, codec uint8, body []byte) {
	in.reply(typeID, codec, body, false)
}

// Answer is Reply for those who hold no lock: a caller in this node may get the answer in this goroutine.
func (in *Inbound) Answer(typeID uint64, codec uint8, body []byte) {
	in.reply(typeID, codec, body, true)
}

func (in *Inbound) reply(typeID uint64, codec uint8, body []byte, free bool) {
	if limit := in.session.server.cfg.MaxBody; len(body) > limit {
		in.Fail(rpc.Errorf(rpc.ReplyDropped, rpc.HasRun, "reply of %d bytes, limit %d", len(body), limit))
		return
	}
	in.decide(outcome{typeID: typeID, codec: codec, body: body}, in.pack(typeID, codec, body), free)
}

// decide gives the request its outcome. If the store has recorded that the request began,
// the outcome is written there first. packed is its body in compressed form, or nil. free says that the caller holds no lock.
func (in *Inbound) decide(o outcome, packed *transport.Packed, free bool) {
	o.stored = o.stored || in.recorded
	if in.Seq == 0 {
		return
	}
	srv := in.session.server
	if srv.journal == nil {
		in.finish(o, packed, free)
		return
	}
	in.session.mu.Lock()
	begun := in.begun
	in.session.mu.Unlock()
	switch {
	case !begun:
		in.finish(o, packed, free)
	case o.refused() && in.Number > 0:
		srv.journal.Unnumbered(in.name.id, in.Number)
		in.finish(o, nil, false)
	case o.refused():
		srv.journal.Freed(in.name.id)
		in.finish(o, nil, false)
	case in.Number > 0:
		srv.journal.Post(ledger.Change{Op: ledger.Done, ID: in.name.id, Fingerprint: in.Number}, func(error) { in.finish(o, packed, false) })
	default:
		keep, sent := o, o
		if len(o.body) > min(srv.cfg.Keep, ledger.MaxBatch/2) { // an outcome must fit into one write
			keep = replyDropped()
		}
		// If it cannot be written, a later start will answer OutcomeUnknown, but this one knows the outcome.
		srv.journal.Post(ledger.Change{Op: ledger.Done, ID: in.name.id, Outcome: keep.bytes()}, func(error) { in.finish(sent, packed, false) })
	}
}

func replyDropped() outcome {
	return outcome{err: rpc.Errorf(rpc.ReplyDropped, rpc.HasRun, "the reply was sent once, and was too large to keep")}
}

// finish records the outcome and sends it on every link on which a copy came: in its compressed form,
// if packed is not nil, on those whose peer inflates it. That form is not kept. free says that the caller holds no lock, so that a
// caller in this node may get the outcome in this goroutine.
func (in *Inbound) finish(o outcome, packed *transport.Packed, free bool) {
	s := in.session
	srv := s.server
	o = o.short()
	if in.Number > 0 {
		in.settle(o)
	}
	s.mu.Lock()
	in.releasePermit(!o.refused())
	_, ok := s.table.Finish(in.Seq)
	if !ok { // it was cancelled meanwhile, so nobody waits for the outcome
		in.dropBody()
		in.unusual(trail.Decided, nil, o.err)
		if !in.finished() {
			s.free(in.kept)
			in.kept = 0
			if in.begun && !in.isKeyed() {
				srv.journal.Freed(in.name.id)
			}
		}
		s.mu.Unlock()
		srv.poke()
		if in.isKeyed() && in.Number == 0 {
			srv.keys.finish(in, o)
		}
		return
	}
	in.Meta, in.body = nil, nil
	in.life.finish()
	in.outcome, in.onCancel = o, nil
	link, more := in.link, in.more
	if srv.cfg.Trail != nil {
		in.noteOutcome(o, link, more)
	}
	in.link, in.more = nil, nil
	if !in.keep(o.size()) {
		in.outcome = o.minimal()
	}
	s.mu.Unlock()
	if in.isKeyed() && in.Number == 0 { // first, so that who has the outcome and uses the key again is told that it is a recorded one
		srv.keys.finish(in, o)
	}
	o.send(link, in.Seq, packed, free)
	for ; more != nil; more = more.next {
		o.send(more.link, in.Seq, packed, false)
	}
}

// keep replaces the bytes that are counted for the request and its body with those of its
// record and an outcome of that size, and reports whether there is room for the outcome. If
// not, only the record is counted. The session's lock is held.
func (in *Inbound) keep(size int) bool {
	s := in.session
	had := in.kept + in.weight
	in.weight = 0
	want := size + account.Record
	fits := size <= s.server.cfg.Keep && (want <= had || s.hold(want-had, false))
	if !fits {
		want = account.Record
	}
	if want < had {
		s.free(had - want)
	}
	in.kept = want
	return fits
}

// replayLocked sends the recorded outcome on a link on which a copy came, unless it is in the
// link's queue already. It is called by the link's reader. The session's lock has been held
// since the record was found, because after an ack another request may use its memory.
func (in *Inbound) replayLocked(c *Link) {
	in.session.server.counts.replayed.Add(1)
	id := replay{in.session.grant, in.Seq}
	if !in.finished() || c.replays.waits(c.Link.Link, id) {
		return
	}
	in.unusual(trail.Again, c, in.outcome.err)
	if at, sent := in.outcome.again().send(c, in.Seq, nil, false); sent {
		c.replays.sent(id, at)
	}
}
