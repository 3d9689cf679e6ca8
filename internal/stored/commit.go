package stored

import (
	"errors"
	"slices"
	"time"

	"github.com/tandem-go/tandem/state"
)

// gathers returns the number of the commit that is to be made next.
func (a *Activation[H]) gathers() uint64 {
	if a.phase == gathering {
		return a.committed + 1
	}
	return a.committed + 2
}

// open returns what is not stored, before more is added to it.
func (a *Activation[H]) open() *pending[H] {
	if a.pending == nil {
		a.pending = &pending[H]{kept: a.current}
	}
	return a.pending
}

// waitsIn returns the group of a commit that is not stored yet.
func (a *Activation[H]) waitsIn(number uint64) *group[H] {
	p := a.open()
	if number < a.gathers() {
		return &p.flight
	}
	a.wanted = true
	return &p.next
}

// Commit is a commit that has to be made.
type Commit struct {
	Record state.Record
	After  state.Revision
	Again  bool // it was made before, and nobody knows whether it is stored
}

// Next returns the commit that has to be made now, if there is one, and begins it. Its caller makes
// it, and then calls Committed or Failed; until then Next returns nothing. The record must not be
// changed before that.
func (a *Activation[H]) Next(now time.Time) (c Commit, ok bool) {
	switch {
	case a.phase == doubtful:
		a.phase = committing
		return Commit{a.pending.record, a.last, true}, true
	case a.phase != gathering || !a.wanted:
		return c, false
	}
	a.requests.expire(now)
	p := a.open()
	p.image, p.cleans, p.adds = a.current, a.box.stale, len(a.box.messages)-a.box.named
	p.record = state.Record{Token: a.token, TypeVersion: a.current.version, State: a.current.data,
		Outcomes: a.requests.record(p.record.Outcomes[:0]), Outbox: a.box.record(p.record.Outbox[:0])}
	p.flight, p.next = p.next, p.flight[:0]
	a.phase, a.wanted = committing, false
	return Commit{p.record, a.last, false}, true
}

// Reply is a reply that may leave.
type Reply[H any] struct {
	Handle  H
	Outcome []byte // of a named request; see Parse
}

// Done is what follows from a commit that is stored.
type Done[H any] struct {
	Replies []Reply[H]
	Send    []state.Message // the messages that it has added to the outbox
}

// Committed says that the commit which Next returned is stored.
func (a *Activation[H]) Committed(rev state.Revision) (d Done[H]) {
	if a.phase != committing {
		return d
	}
	p := a.pending
	a.phase, a.last, a.fence = gathering, rev, false
	a.committed++
	a.seen = max(a.seen, a.committed)
	if p.adds > 0 {
		d.Send = a.box.stored(p.adds, rev.Seq)
	}
	d.Replies = make([]Reply[H], len(p.flight))
	for i, w := range p.flight {
		d.Replies[i].Handle = w.handle
		if w.request != nil {
			d.Replies[i].Outcome = w.request.body
		}
	}
	clear(p.flight)
	p.kept, p.flight = p.image, p.flight[:0]
	if !a.wanted {
		a.pending = nil
	}
	return d
}

// Consequence is what has to follow from a commit that has failed.
type Consequence uint8

// The consequences.
const (
	Again  Consequence = iota + 1 // make the same commit again, after a pause: Next returns it
	GoBack                        // the state is again that of the last commit, see State; what follows goes on
	GiveUp                        // the activation is over
)

// String returns the consequence's name.
func (c Consequence) String() string {
	return [...]string{"none", "again", "go back", "give up", "invalid"}[min(c, GiveUp+1)]
}

// Failure is what follows from a commit that has failed, or from the end of an activation.
type Failure[H any] struct {
	Consequence Consequence
	NotRun      []H // these have left no trace, and never will
	Unknown     []H // of these nobody can tell whether they are stored
}

// Failed says that the commit which Next returned has failed, with an error of the store. The error
// tells the callers of the messages in NotRun why, if it is a proof: [state.ErrFull],
// [state.ErrTooLarge], [state.ErrConflict].
func (a *Activation[H]) Failed(err error) Failure[H] {
	if a.phase != committing {
		return Failure[H]{}
	}
	var e *state.Error
	switch proof := errors.Is(err, state.ErrNotStored); {
	case errors.Is(err, state.ErrConflict):
		return a.end(true)
	case proof:
		if errors.Is(err, state.ErrTooLarge) { // the store takes less than was said
			size := (&state.Stored{Record: a.pending.record}).Size() + a.frame - (&state.Stored{}).Size()
			a.largest = min(a.largest, size-1)
		}
		a.box.stale = a.box.stale || a.pending.cleans
		flight, next := a.undo()
		a.phase = gathering
		return Failure[H]{Consequence: GoBack, NotRun: append(flight, next...)}
	case errors.Is(err, state.ErrUnknown) && errors.As(err, &e) && e.ID != (state.ID{}):
		a.phase, a.pending.record.ID = doubtful, e.ID
		return Failure[H]{Consequence: Again}
	}
	return a.end(false)
}

// undo goes back to the last commit, and returns what has waited for the one that was under way, and for
// the one after it.
func (a *Activation[H]) undo() (flight, next []H) {
	if p := a.pending; p != nil {
		flight, next = a.drop(p.flight), a.drop(p.next)
		a.current, a.pending = p.kept, nil
	}
	a.box.undo()
	a.settle()
	a.wanted = false
	return flight, next
}

func (a *Activation[H]) drop(g group[H]) (handles []H) {
	for _, w := range g {
		handles = append(handles, w.handle)
		if w.request != nil {
			a.requests.drop(w.request)
		}
	}
	return handles
}

// End ends the activation, because its claim or its node's lease is lost, or because there is no time
// to wait for the fate of its commit.
func (a *Activation[H]) End() Failure[H] { return a.end(a.phase == gathering) }

// end ends the activation. proof says that the commit under way is not stored and never will be, or
// that there is none.
func (a *Activation[H]) end(proof bool) Failure[H] {
	if a.phase == over {
		return Failure[H]{Consequence: GiveUp}
	}
	flight, next := a.undo()
	a.phase = over
	if proof {
		return Failure[H]{Consequence: GiveUp, NotRun: append(flight, next...)}
	}
	return Failure[H]{Consequence: GiveUp, NotRun: next, Unknown: flight}
}

// Quiet reports whether the activation may end and give its claim back: nothing waits for a commit, none
// is under way and none is wanted; all messages were sent; and no predecessor can commit any more, which
// the successor relies on, see [Loaded].Contested. What may not be stored yet are outcomes of requests
// that have changed nothing, and what was dropped. An activation that is over has to leave its claim to
// be taken from it.
func (a *Activation[H]) Quiet() bool {
	return a.phase == gathering && !a.wanted && !a.fence && len(a.box.messages) == 0
}

// Outbox returns all messages that are committed and were not sent, in order: after New, they all
// have to be sent again, under the same names, Since and Index.
func (a *Activation[H]) Outbox() []state.Message { return slices.Clone(a.box.messages[:a.box.named]) }

// Sent says that a message of the outbox has reached its receiver, or was given up. The next commit
// removes it. It reports whether the message was there.
func (a *Activation[H]) Sent(since uint64, index uint32) bool { return a.box.sent(since, index) }

// Stale reports whether the record has messages that were sent. If no other commit removes them for a
// while, the shell calls Flush and then Next. Until they are removed, a successor sends them again.
func (a *Activation[H]) Stale() bool { return a.phase != over && a.box.stale }

// Flush has the next commit be made although nobody waits for it, if the record is Stale.
func (a *Activation[H]) Flush() { a.wanted = a.wanted || a.Stale() }
