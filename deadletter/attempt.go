package deadletter

import (
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// stage says whether a letter is being sent again, and whether it may have arrived:
//
//	            take                     settled as ran
//	undelivered ────────► sending ─────────────────────────► gone
//	      ▲                 │ │                                ▲
//	      │     not run     │ │ unknown                        │
//	      └─────────────────┘ ▼                      ran       │
//	                       unclear ◄──────────► sendingAgain ──┘
//	                          take / not run, unknown
//
// NotRun is only about the attempt that got it: a letter that is unclear stays so, because an
// earlier attempt may have been accepted.
type stage uint8

const (
	undelivered stage = iota
	sending
	unclear
	sendingAgain
)

// take returns the next stage of a letter that somebody wants to send; false: somebody else
// is sending it.
func (s stage) take() (stage, bool) {
	switch s {
	case undelivered:
		return sending, true
	case unclear:
		return sendingAgain, true
	}
	return s, false
}

// settle returns the next stage of a letter that was sent with that outcome; gone says that it
// has none, because its message is in a mailbox.
func (s stage) settle(ran rpc.Verdict) (next stage, gone bool) {
	switch {
	case ran == rpc.HasRun:
		return s, true
	case s == sending && ran == rpc.NotRun:
		return undelivered, false
	}
	return unclear, false
}

// isSent reports whether somebody is sending the letter.
func (s stage) isSent() bool { return s == sending || s == sendingAgain }

// state is the stage as users see it.
func (s stage) state() State {
	switch {
	case s.isSent():
		return Sending
	case s == unclear:
		return Unclear
	}
	return Undelivered
}

// Attempt is one attempt to send a letter again, from Store.Take to Store.Settle. Who makes it
// sets At and Epoch as soon as they are known.
type Attempt[C any] struct {
	Kept              // the letter when it was taken
	Carried C         // as it was given to Store.Add
	Asked   string    // the address to which it is to be sent, which may be that of a service
	At      string    // the address of the actor that gets it; empty: none is chosen yet
	Epoch   string    // the only start of that actor's node that may get it; empty: any
	Expiry  time.Time // until then its receiver certainly remembers the key of the attempt
	Again   bool      // an earlier attempt may have arrived, so the verdict NotRun of this one is not that of the letter

	of *letter[C]
}

// Take begins an attempt to send the letter with an id to an address; empty: to where it was
// addressed. keyLife is how long receivers remember the key of a message. The error is an
// *rpc.Error of ErrGone, ErrBusy or ErrUnclear. Settle ends the attempt.
func (s *Store[C]) Take(now time.Time, keyLife time.Duration, id, to string) (Attempt[C], error) {
	l := s.find(id)
	if l == nil {
		return Attempt[C]{}, rpc.Errorf(rpc.NotFound, rpc.Unknown, "%w: %q", ErrGone, id)
	}
	next, free := l.stage.take()
	if !free {
		return Attempt[C]{}, rpc.Errorf(rpc.Unavailable, rpc.Unknown, "%w: %s", ErrBusy, id)
	}
	a := Attempt[C]{Carried: l.carried, Asked: to, Expiry: now.Add(keyLife), of: l}
	switch {
	case next == sendingAgain && to != "" && to != l.asked && to != l.SentTo:
		return Attempt[C]{}, rpc.Errorf(rpc.Invalid, rpc.Unknown, "%w at %s, and can be sent again only there", ErrUnclear, l.SentTo)
	case next == sendingAgain && !now.Before(l.Until):
		return Attempt[C]{}, rpc.Errorf(rpc.OutcomeUnknown, rpc.Unknown, "%w at %s, which may not remember it any more", ErrUnclear, l.SentTo)
	case next == sendingAgain:
		a.Asked, a.At, a.Epoch, a.Expiry, a.Again = l.asked, l.SentTo, l.epoch, l.Until, true
	case to == "":
		a.Asked = l.To
	}
	l.stage = next
	a.Kept = l.seen()
	return a, nil
}

// Settle ends an attempt, of which it is known whether it ran, that is, whether the message is in
// a mailbox. keyed says that a further attempt under the same key would be recognised, at the start
// of the node that may have got this one.
func (s *Store[C]) Settle(a Attempt[C], ran rpc.Verdict, keyed bool) {
	l := a.of
	next, gone := l.stage.settle(ran)
	if gone {
		s.remove(l)
		return
	}
	if s.bySeq[l.seq] != l { // it was pushed out meanwhile
		s.dropped++
	}
	if l.stage = next; next == unclear && !a.Again {
		l.asked, l.SentTo, l.epoch, l.Until = a.Asked, a.At, a.Epoch, a.Expiry
		if !keyed {
			l.Until = time.Time{}
		}
	}
}
