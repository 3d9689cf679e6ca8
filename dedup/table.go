// Package dedup decides what happens to each copy of a request. A request may be
// sent several times, over different roads; it runs at most once, and every copy
// gets the same outcome.
//
// A Table holds the records of one session, keyed by the client's sequence
// number. It follows RIFL (Lee et al., SOSP'15, §4): because numbers are
// sequential and the client acknowledges what it no longer needs, the table can
// tell a request that it has never seen from one that it has seen and forgotten,
// and refuses the latter. A set of ids with a time to live would run it again.
// Unlike RIFL's, the window counts the requests that are outstanding, not the
// span of their numbers, so that one slow request does not stall a million fast
// ones.
//
//	switch decision, request := table.Admit(seq, fingerprint); decision {
//	case dedup.Run:      // store the request through the pointer, and queue it
//	case dedup.Attached: // send the outcome, once it is there, to this copy's road as well
//	case dedup.Replay:   // send the outcome again
//	case dedup.Stale, dedup.Reused, dedup.Full: // refuse
//	}
//
// The promise: as long as the table lives, Admit returns Run for at most one of
// all copies of one number, in whatever order copies, acks and cancellations
// come. The memory is bounded, whatever the client sends.
//
// The limits: the table only decides. Its caller is responsible for sessions,
// leases, bytes, deadlines and replies. Records that outlive the process are in
// package ledger.
package dedup

import (
	"iter"
	"math/bits"
	"slices"
)

// DefaultWindow is how many outstanding requests a session may have.
const DefaultWindow = 4096

// MaxBelow is the largest valid Mark.Below. The largest sequence number is one
// less. No honest client ever comes near it.
const MaxBelow = 1 << 62

// State is the stage of a request's life:
//
//	Unseen ──Admit──► Queued ──Start──► Running ──Finish──► Finished ──Ack, GiveUp──► Acked
//	   │                │ │ ◄──PutBack────┘                     ▲                       ▲
//	   │                │ └───────────── Finish ────────────────┘                       │
//	   │                │                 Running ──Ack, GiveUp──► Orphaned ──Finish────┤
//	   └─ Ack, GiveUp ──┴───────────────────────────────────────────────────────────────┘
//
// There is no other way between two states, and none back but that for a request that has turned
// out not to have run. The first five are numbers of the wire protocol.
type State uint8

// The states.
const (
	Unseen   State = iota // no copy of it has come
	Queued                // recorded, and not started
	Running               // started
	Finished              // it has its outcome, which is kept
	Acked                 // the client does not need it any more: it will never run
	Orphaned              // likewise, but it was running by then: it has a record until it ends
)

// String returns the state's name.
func (s State) String() string {
	return [...]string{"unseen", "queued", "running", "finished", "acked", "orphaned", "invalid"}[min(s, Orphaned+1)]
}

// Decision says what the caller has to do with a copy that has arrived.
type Decision uint8

// The decisions.
const (
	Run      Decision = iota // it is new, and is now recorded as Queued: queue it
	Attached                 // it is queued or running: this copy waits for the outcome too
	Replay                   // it is finished: send the outcome
	Stale                    // it was acked, or its number is invalid: never run it
	Reused                   // the number belongs to a request with another fingerprint
	Full                     // the window is full; nothing was recorded
)

// String returns the name of the decision.
func (d Decision) String() string {
	return [...]string{"run", "attached", "replay", "stale", "reused", "full", "invalid"}[min(d, Full+1)]
}

// Table holds the records of one session. V is what the caller keeps for a
// request, such as who waits for it, and its outcome. A Table has no lock, clock,
// goroutine or I/O. It is not safe for concurrent use: its caller serialises the
// calls.
//
// Sequence numbers go from 1 to MaxBelow-1; others count as acked. Every *V that
// a method returns is valid until the next Admit, Ack, Finish or GiveUp.
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
// request's content: two copies of one request have the same fingerprint. The
// returned pointer leads to the record's value. It is nil for Stale, Reused and
// Full. For Run the value is zero, and the caller stores its own through the
// pointer.
//
// Full proves nothing about other copies, and records nothing: the number stays
// unseen. A caller that gets Run and then refuses the request must call Finish, so
// that every copy gets the same refusal.
func (t *Table[V]) Admit(seq, fingerprint uint64) (Decision, *V) {
	if !valid(seq) || t.acked.has(seq) {
		return Stale, nil
	}
	if r := t.records.find(seq); r != nil {
		switch {
		case r.fingerprint != fingerprint:
			return Reused, nil
		case r.state == Finished:
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

// Start marks a queued request as running. It is called right before the
// request's handler. False means that the request must not run: it was acked,
// cancelled, finished or started before.
func (t *Table[V]) Start(seq uint64) bool {
	r := t.find(seq)
	if r == nil || r.state != Queued {
		return false
	}
	r.state = Running
	return true
}

// PutBack marks a running request as queued again: its handler has had no effect, and is to be called
// later. False means that it must not be: the request was acked or cancelled meanwhile, and
// Finish has to be called.
func (t *Table[V]) PutBack(seq uint64) bool {
	r := t.find(seq)
	if r == nil || r.state != Running {
		return false
	}
	r.state = Queued
	return true
}

// Finish marks a queued or running request as finished. It returns a pointer to
// the record's value, through which the caller stores the outcome. A queued
// request is finished when it is refused. False, with nil, means that nobody needs
// the outcome: the request was finished, cancelled or acked before. Finish must be
// called for every request that was started: until then, one that was cancelled
// or acked while it ran keeps its place in the window.
func (t *Table[V]) Finish(seq uint64) (*V, bool) {
	r := t.find(seq)
	switch {
	case r == nil || r.state == Finished:
		return nil, false
	case r.state == Orphaned:
		t.records.remove(r)
		return nil, false
	}
	r.state = Finished
	return &r.value, true
}

// GiveUp acks a single request, which its client has cancelled. It returns the
// state that the request was in and the value that it had, if any:
//   - an unseen request becomes acked, so that a late first copy is Stale;
//   - a queued or finished request becomes acked, and its record is removed;
//   - a running request becomes orphaned, and keeps its record until Finish: the
//     caller may cancel it through the value.
//
// For a request that was acked before, the state is Acked and the value nil, or the state is
// Orphaned, if the request still runs.
//
// The error is ErrTooManyGivenUp; then nothing has changed.
func (t *Table[V]) GiveUp(seq uint64) (State, *V, error) {
	state, value := t.Lookup(seq)
	if state == Acked || state == Orphaned {
		return state, value, nil
	}
	if err := t.acked.add(seq, 4*t.window); err != nil {
		return state, value, err
	}
	if state == Queued || state == Finished {
		removed := *value
		value = &removed
	}
	t.release(seq, nil)
	return state, value, nil
}

// Ack acks the requests that the mark covers, in addition to all that were acked
// before: the set of acked numbers is the union of all marks, in whatever order
// they come, and never shrinks. The records of queued and finished requests that
// become acked are removed. If freed is not nil, it is called with the value of
// each, in no particular order; it must not use the table. Running requests become
// orphaned, and keep their records until Finish.
//
// The error wraps ErrBadMark; then nothing has changed. Ack neither changes nor
// keeps the mark's slice.
func (t *Table[V]) Ack(m Mark, freed func(V)) error {
	except, err := m.check(t.window)
	if err != nil {
		return err
	}
	t.acked.compact(m.Below, except, func(seq uint64) { t.release(seq, freed) })

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
	} else { // the cost of a large jump depends on what the table holds, not on the numbers it spans
		for r := range t.records.all() {
			if from <= r.seq && r.seq < to && !contains(except, r.seq) {
				t.releaseRecord(r, freed)
			}
		}
	}
	t.acked.raise(to, except)
	return nil
}

// Lookup returns the state of a request and a pointer to its value. The pointer is
// nil for a request that is unseen or acked.
func (t *Table[V]) Lookup(seq uint64) (State, *V) {
	r := t.find(seq)
	switch {
	case r == nil && (!valid(seq) || t.acked.has(seq)):
		return Acked, nil
	case r == nil:
		return Unseen, nil
	}
	return r.state, &r.value
}

// All yields the numbers and values of all outstanding requests, in no
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

// Outstanding returns how many requests take a place in the window: those that
// are recorded and not acked, and those that are orphaned.
func (t *Table[V]) Outstanding() int { return t.records.count }

func (t *Table[V]) find(seq uint64) *record[V] {
	if !valid(seq) {
		return nil
	}
	return t.records.find(seq)
}

// release removes the record of seq, which is acked, if there is one.
func (t *Table[V]) release(seq uint64, freed func(V)) {
	if r := t.records.find(seq); r != nil {
		t.releaseRecord(r, freed)
	}
}

// releaseRecord removes the record of an acked request, or leaves that to Finish if
// the request is running.
func (t *Table[V]) releaseRecord(r *record[V], freed func(V)) {
	if r.state == Running || r.state == Orphaned {
		r.state = Orphaned
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

// Listed returns how many numbers the table lists one by one, at 8 bytes each: those below
// the ack mark that are not acked, and those above it that are.
func (t *Table[V]) Listed() int { return len(t.acked.except) + len(t.acked.alone) }

// Trim frees the spare capacity of these lists, and returns Listed.
func (t *Table[V]) Trim() int {
	t.acked.except, t.acked.alone = slices.Clone(t.acked.except), slices.Clone(t.acked.alone)
	return t.Listed()
}
