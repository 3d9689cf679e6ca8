// Package dedup decides what becomes of a copy of a request, so that a request
// that is retried, on whatever road, runs at most once and every copy gets the
// same outcome.
//
// A Table holds the records of one session, keyed by the client's sequence
// number. It follows RIFL (Lee et al., SOSP'15, §4): because numbers are
// sequential and the client acknowledges what it no longer needs, the table can
// tell "never seen" from "seen, and forgotten since", and refuses the latter;
// a bag of ids with a time to live would run it again. Unlike RIFL's, the
// window counts requests that are outstanding, not the span of their numbers,
// so that one slow request does not stall a million fast ones.
//
//	switch verdict, request := table.Admit(seq, fingerprint); verdict {
//	case dedup.Run:      // store the request through the pointer, queue it
//	case dedup.Attached: // the outcome goes to this copy's road as well
//	case dedup.Replay:   // send the outcome again
//	case dedup.Stale, dedup.Reused, dedup.Full: // refuse
//	}
//
// The promise: of all copies of one number, Admit returns Run for at most one,
// for as long as the table lives, in whatever order copies, acks and give-ups
// come. Memory is bounded whatever the client sends.
//
// The limits: the table only decides. Sessions, leases, bytes, deadlines and
// replies are its caller's; so are records that outlive the process.
package dedup

import (
	"iter"
	"math/bits"
	"slices"
)

// DefaultWindow is how many outstanding requests a session may have.
const DefaultWindow = 4096

// MaxBelow is the largest Mark.Below, and one beyond the largest sequence
// number. No honest client ever comes near it.
const MaxBelow = 1 << 62

// State is where a request is in its life.
type State uint8

// The states, in the order of a request's life.
const (
	Unseen  State = iota // no copy came
	Queued               // recorded, not started
	Running              // started
	Decided              // has its outcome, which is kept
	Acked                // the client needs it no longer: it never runs from here on
)

// String returns the state's name.
func (s State) String() string {
	return [...]string{"unseen", "queued", "running", "decided", "acked", "invalid"}[min(s, Acked+1)]
}

// Verdict says what to do with a copy that arrived.
type Verdict uint8

// The verdicts.
const (
	Run      Verdict = iota // new, and now recorded as Queued: queue it
	Attached                // queued or running: this copy waits for the outcome too
	Replay                  // decided: send the outcome
	Stale                   // acked, or no number of a request: never run
	Reused                  // the number belongs to a request with another fingerprint
	Full                    // the window is full; nothing was recorded
)

// String returns the verdict's name.
func (v Verdict) String() string {
	return [...]string{"run", "attached", "replay", "stale", "reused", "full", "invalid"}[min(v, Full+1)]
}

// Table is the records of one session. V is what the caller keeps for a request:
// who waits for it, and its outcome. A Table has no lock, clock, goroutine or
// I/O: it is not safe for concurrent use, and its caller serialises.
//
// Sequence numbers go from 1 to MaxBelow-1; others count as acked. Every *V that
// a method returns is valid until the next Admit, Ack, Decide or GiveUp.
type Table[V any] struct {
	window  int
	records store[V]
	acked   acked
}

// New returns an empty table that records at most window outstanding requests;
// 0 or less means DefaultWindow.
func New[V any](window int) *Table[V] {
	if window <= 0 {
		window = DefaultWindow
	}
	return &Table[V]{window: window, records: store[V]{maxRing: 1 << bits.Len(uint(window-1))}, acked: acked{floor: 1}}
}

// Admit decides on a copy of the request seq. The fingerprint stands for the
// request's content: two copies of one request have the same. The returned value
// is the record's, and nil for Stale, Reused and Full; for Run it is zero, and
// the caller stores its own through it.
//
// Full proves nothing about other copies, and records nothing: the number stays
// unseen. A caller that refuses other than by Full decides the record (rule "one
// seq, one outcome").
func (t *Table[V]) Admit(seq, fingerprint uint64) (Verdict, *V) {
	if !valid(seq) || t.acked.has(seq) {
		return Stale, nil
	}
	if r := t.records.find(seq); r != nil {
		switch {
		case r.fingerprint != fingerprint:
			return Reused, nil
		case r.state == Decided:
			return Replay, &r.value
		}
		return Attached, &r.value
	}
	if t.records.count >= t.window {
		return Full, nil
	}
	r := t.records.insert(seq)
	r.fingerprint, r.state = fingerprint, Queued
	return Run, &r.value
}

// Start marks a queued request as running, right before its handler is called.
// False means that it must not run: it was acked, given up, decided or started.
func (t *Table[V]) Start(seq uint64) bool {
	r := t.find(seq)
	if r == nil || r.state != Queued {
		return false
	}
	r.state = Running
	return true
}

// Decide marks a queued or running request as decided and returns its value,
// through which the caller stores the outcome. Deciding a queued one is refusing
// it. False, with nil, means that the slot is no longer the request's own and
// the outcome is nobody's: it was decided before, or given up or acked. Decide
// must be called for every request that was started: until then a request that
// was given up keeps its place in the window.
func (t *Table[V]) Decide(seq uint64) (*V, bool) {
	r := t.find(seq)
	switch {
	case r == nil || r.state == Decided:
		return nil, false
	case r.givenUp:
		t.records.remove(r)
		return nil, false
	}
	r.state = Decided
	return &r.value, true
}

// GiveUp acks one request by itself: an explicit cancel. It returns the state
// that the request was in and the value it had, if any, and from then on
//   - an unseen one is acked, so that a late first copy is Stale;
//   - a queued or decided one is removed, and acked;
//   - a running one is acked, and keeps its record until Decide: the caller may
//     cancel it through the value.
//
// The state is Acked for a request that was acked before; the value is then not
// nil only if it still runs.
//
// The error is ErrTooManyGivenUp; nothing has changed then.
func (t *Table[V]) GiveUp(seq uint64) (State, *V, error) {
	state, value := t.Lookup(seq)
	if state == Acked {
		return state, value, nil
	}
	if err := t.acked.add(seq, 4*t.window); err != nil {
		return state, value, err
	}
	if state == Queued || state == Decided {
		removed := *value
		value = &removed
	}
	t.release(seq, nil)
	return state, value, nil
}

// Ack acks what the mark covers, in addition to all that was acked before: the
// acked set is the union of all marks and never shrinks, in whatever order they
// come. Queued and decided requests among it are removed, and freed, if it is
// not nil, is called with the value of each, in no particular order; it must not
// use the table. Running ones keep their record until Decide.
//
// The error wraps ErrBadMark; nothing has changed then. The mark's slice is
// neither changed nor kept.
func (t *Table[V]) Ack(m Mark, freed func(V)) error {
	except, err := m.check(t.window)
	if err != nil {
		return err
	}
	t.acked.settle(m.Below, except, func(seq uint64) { t.release(seq, freed) })

	from, to := t.acked.floor, m.Below
	if to <= from {
		return nil
	}
	if span := to - from; span <= uint64(t.records.span()) {
		for seq := from; seq < to; seq++ {
			if len(except) == 0 || !contains(except, seq) {
				t.release(seq, freed)
			}
		}
	} else { // a jump costs what the table holds, not what the jump spans
		for r := range t.records.all() {
			if from <= r.seq && r.seq < to && !contains(except, r.seq) {
				t.releaseRecord(r, freed)
			}
		}
	}
	t.acked.raise(to, except)
	return nil
}

// Lookup returns the state of a request and its value. The value is nil for one
// that is unseen, and for one that is acked unless it still runs.
func (t *Table[V]) Lookup(seq uint64) (State, *V) {
	r := t.find(seq)
	switch {
	case r == nil && (!valid(seq) || t.acked.has(seq)):
		return Acked, nil
	case r == nil:
		return Unseen, nil
	case r.givenUp:
		return Acked, &r.value
	}
	return r.state, &r.value
}

// All returns the numbers and values of all outstanding requests, in no
// particular order. The table must not be changed meanwhile.
func (t *Table[V]) All() iter.Seq2[uint64, V] {
	return func(yield func(uint64, V) bool) {
		for r := range t.records.all() {
			if !yield(r.seq, r.value) {
				return
			}
		}
	}
}

// Outstanding returns how many requests take a place in the window: those
// recorded and not acked, and those acked that still run.
func (t *Table[V]) Outstanding() int { return t.records.count }

func (t *Table[V]) find(seq uint64) *record[V] {
	if !valid(seq) {
		return nil
	}
	return t.records.find(seq)
}

// release lets go of the record of seq, if there is one, because seq is acked.
func (t *Table[V]) release(seq uint64, freed func(V)) {
	if r := t.records.find(seq); r != nil {
		t.releaseRecord(r, freed)
	}
}

func (t *Table[V]) releaseRecord(r *record[V], freed func(V)) {
	if r.state == Running {
		r.givenUp = true
		return
	}
	value := r.value
	t.records.remove(r)
	if freed != nil {
		freed(value)
	}
}

func valid(seq uint64) bool { return 0 < seq && seq < MaxBelow }

// Window returns how many outstanding requests the table records at most.
func (t *Table[V]) Window() int { return t.window }

// Listed returns how many numbers the table lists one by one, of 8 bytes each: those below
// the ack mark that are still needed, and those above it that are not.
func (t *Table[V]) Listed() int { return len(t.acked.except) + len(t.acked.alone) }

// Trim gives back the memory that the lists do not need any more, and returns Listed.
func (t *Table[V]) Trim() int {
	t.acked.except, t.acked.alone = slices.Clone(t.acked.except), slices.Clone(t.acked.alone)
	return t.Listed()
}
