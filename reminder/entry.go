package reminder

import (
	"fmt"
	"slices"
	"time"
)

const (
	// MaxChanges is how many of the last Sets and Forgets of a reminder are recognised by their IDs.
	MaxChanges = 8
	// KeepEnded is how long the mark is kept that a reminder has ended: it was forgotten, or has no
	// further time.
	KeepEnded = 24 * time.Hour
)

// Entry is what a store keeps of a reminder. It decides what becomes of it, and has no clock. The zero
// Entry is that of a reminder that never was. An entry is waiting, or it has ended:
//
//	waiting ──Answered, and there is a further time──► waiting
//	   ▲ └──Answered, and there is none; Forget──► ended
//	   └──────────────────Set───────────────────────┘
//
// Its methods change nothing: they return the next Entry.
type Entry struct {
	Reminder             // once it has ended, and in what Forget leaves of what never was: Actor and Name only
	Generation ID        // the ID of the Set
	Since      time.Time // when it was set; an Every counts from it
	Due        time.Time // when the next firing is due; zero if it has ended
	Number     uint64    // of the next firing, from 1; 0 if it has ended
	Skipped    uint64    // how many times have passed before Due, of which no firing has told
	Changes    []ID      // the last Sets and Forgets, the latest first; at most MaxChanges
}

// Ended reports whether nothing is due any more.
func (e *Entry) Ended() bool { return e.Number == 0 }

// Has reports whether the Set or Forget named id is among the last changes.
func (e *Entry) Has(id ID) bool { return slices.Contains(e.Changes, id) }

// Follows reports whether all Sets and Forgets since before are among the last changes of e, so that one
// that is not among them was not stored since. before is an earlier entry of the same reminder, or e.
func (e *Entry) Follows(before *Entry) bool {
	if len(before.Changes) == 0 {
		return len(e.Changes) < MaxChanges
	}
	return e.Has(before.Changes[0])
}

// Clone returns a copy that shares no memory with e.
func (e Entry) Clone() Entry {
	e.Reminder, e.Changes = e.Reminder.Clone(), slices.Clone(e.Changes)
	return e
}

// Set returns the entry after a Set of r under id, at the time now. The error wraps ErrInvalid if r is
// beyond the limits, or has no time at all.
func (e Entry) Set(r Reminder, id ID, now time.Time) (Entry, error) {
	if err := r.Valid(); err != nil {
		return e, err
	}
	now = now.Round(0).UTC()
	due, err := r.When.first(now)
	if err != nil {
		return e, err
	}
	if due.IsZero() {
		return e, fmt.Errorf("%w: %v: no such time comes", ErrInvalid, r.When)
	}
	next := Entry{Reminder: r, Generation: id, Since: now, Due: due, Number: 1, Changes: e.with(id)}
	room := (MaxChanges - len(next.Changes)) * len(id) // so that it does not depend on what there was before
	if n := next.Size() + room; n > MaxSize {
		return e, fmt.Errorf("%w: %d bytes: want at most %d", ErrInvalid, n, MaxSize)
	}
	return next, nil
}

// Forget returns the entry after a Forget of a reminder under id.
func (e Entry) Forget(a Actor, name string, id ID) (Entry, error) {
	r := Reminder{Actor: a, Name: name, When: Every(MinEvery), Message: Message{Type: "-"}}
	if err := r.Valid(); err != nil {
		return e, err
	}
	return Entry{Reminder: Reminder{Actor: a, Name: name}, Changes: e.with(id)}, nil
}

func (e *Entry) with(id ID) []ID {
	changes := append([]ID{id}, e.Changes...)
	return changes[:min(len(changes), MaxChanges)]
}

// Firing returns what is handed out at the time now, the attempt-th time. The entry is waiting, and due
// by the store's clock; if the clock of now is behind that, it is not late.
func (e *Entry) Firing(now time.Time, attempt int) (Firing, error) {
	_, passed, err := e.When.after(e.Since, e.Due, now.Round(0))
	return Firing{
		Reminder: e.Reminder.Clone(), Generation: e.Generation, Number: e.Number, Attempt: attempt,
		Due: e.Due, Late: max(0, now.Round(0).Sub(e.Due)), Missed: min(e.Skipped+passed, MaxMissed),
	}, err
}

// Answered returns the entry after f was answered, at the time now. It returns false if f is of the
// past: the reminder was set anew or forgotten, or f was answered before.
func (e Entry) Answered(f *Firing, now time.Time) (next Entry, ok bool, err error) {
	if e.Ended() || e.Generation != f.Generation || e.Number != f.Number {
		return e, false, nil
	}
	due, passed, err := e.When.after(e.Since, e.Due, now.Round(0))
	if err != nil {
		return e, false, err
	}
	if due.IsZero() {
		return Entry{Reminder: Reminder{Actor: e.Actor, Name: e.Name}, Changes: e.Changes}, true, nil
	}
	e.Skipped = min(e.Skipped+passed, MaxMissed)
	e.Skipped -= min(e.Skipped, f.Missed)
	e.Due, e.Number = due, e.Number+1
	return e, true, nil
}
