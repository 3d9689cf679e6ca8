package outbox

import (
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// Outcome is how an attempt at a message has ended.
type Outcome struct {
	Verdict rpc.Verdict // whether its handler ran
	Code    rpc.Code    // of the error; 0 for none
	Kept    bool        // the receiver's record of what it has handled outlives its node, so it can be asked for ever
}

// Fate is what becomes of a message after an attempt.
type Fate uint8

// The fates.
const (
	Handled Fate = iota + 1 // it has left the box
	GivenUp                 // it has left the box, and Decision.Verdict says whether it was handled
	Again                   // it is to be sent again after a pause
)

// Decision is what Settle decides.
type Decision struct {
	Fate    Fate
	Verdict rpc.Verdict   // of a message that was given up: NotRun or Unknown
	Pause   time.Duration // before the next attempt
}

// Pauses between two attempts.
const (
	firstPause = 25 * time.Millisecond // doubled each time
	lastPause  = 5 * time.Second       // the longest one, before jitter
	doubtsMax  = 2                     // so often the receiver has to say that it cannot know
)

// Settle ends an attempt that Next began, and decides what becomes of the message. random is uniform in
// [0, 1).
//
// A receiver that keeps no record says OutcomeUnknown for a message that may have come before it was
// started. It says so to a question only, that is, to a message that was sent before: an error with that
// code of the first attempt is one that says that the receiver was restarted meanwhile. With a receiver that keeps
// its record, a question has that error only if the receiver was restarted meanwhile, too: that is no answer.
func (b *Box[T]) Settle(m *Message[T], o Outcome, now time.Time, random float64) Decision {
	asked := !m.SentSince.IsZero()
	switch o.Verdict {
	case rpc.HasRun:
		b.remove(m)
		return Decision{Fate: Handled}
	case rpc.NotRun:
		m.doubts = 0
		if !Transient(o.Code) {
			return b.giveUp(m)
		}
	default:
		if !asked {
			m.SentSince = m.began
		} else if o.Code == rpc.OutcomeUnknown && !o.Kept {
			m.doubts++
		}
		if m.doubts >= doubtsMax {
			return b.giveUp(m)
		}
	}
	if m.late(now) {
		return b.giveUp(m)
	}
	m.stage = waiting
	pause := lastPause
	if m.tries < 10 {
		pause = min(firstPause<<m.tries, lastPause)
	}
	m.tries++
	pause = time.Duration((0.5 + random/2) * float64(pause))
	if !m.Until.IsZero() {
		pause = min(pause, m.Until.Sub(now))
	}
	return Decision{Fate: Again, Pause: pause}
}

// late reports whether the message's time has passed.
func (m *Message[T]) late(now time.Time) bool { return !m.Until.IsZero() && !now.Before(m.Until) }

// Expire gives a message up that Next has returned, if its time has passed before it is sent.
func (b *Box[T]) Expire(m *Message[T], now time.Time) (d Decision, late bool) {
	if !m.late(now) {
		return d, false
	}
	return b.giveUp(m), true
}

func (b *Box[T]) giveUp(m *Message[T]) Decision {
	b.remove(m)
	return Decision{Fate: GivenUp, Verdict: m.Verdict()}
}

// Verdict is what is known of a message that nobody is sending, and whose handler is not known to have run.
func (m *Message[T]) Verdict() rpc.Verdict {
	if m.SentSince.IsZero() {
		return rpc.NotRun
	}
	return rpc.Unknown
}

// Transient reports whether a message that did not run because of an error with that code may run later.
func Transient(c rpc.Code) bool {
	switch c {
	case rpc.NotFound, rpc.Overloaded, rpc.Unavailable, rpc.Leaving, rpc.Moved, rpc.SessionLost, rpc.OutcomeUnknown, rpc.Expired, rpc.Canceled, rpc.Stale:
		return true
	}
	return false
}
