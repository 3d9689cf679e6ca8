package reminder

import (
	"context"
	"time"
)

// Store keeps reminders. Its methods may be called concurrently. Their errors are of type [*Error].
// The caller may change what it has passed and what it has got. If ctx ends, a method returns soon.
type Store interface {
	// Set stores r in place of the reminder of the same actor and name, if there is one, and
	// returns what is stored. When it returns without an error, the reminder before fires no more;
	// the documentation of the package says what that means for a firing that is under way.
	//
	// id names this Set. The store draws it if it is zero, which is best for a Set that was never
	// made before; the error says which it was. A Set may be made again under its ID, and has its
	// effect once: if it was stored before, that is all that this call finds out, and it returns
	// what is there now, which may be of a later Set, or have ended. That works for the last
	// MaxChanges changes of a reminder, and for KeepEnded after it has ended.
	Set(ctx context.Context, r Reminder, id ID) (Entry, error)

	// Forget ends a reminder. It is no error if there is none. Everything else is as for Set.
	Forget(ctx context.Context, a Actor, name string, id ID) error

	// List returns the reminders of an actor that have not ended, sorted by name.
	List(ctx context.Context, a Actor) ([]Entry, error)

	// Follow hands out firings until ctx ends; then it returns nil, after all its handlers have
	// returned. Any number of processes may follow; each firing is handed to one of them at a
	// time. The store limits how many handlers run at the same time, and how long each may take:
	// then its ctx ends, its Outcome is ignored, and the firing is handed out again. So it is when
	// Follow ends. handle must not panic.
	//
	// Follow waits while the store does not answer. It returns an error only if the store is lost,
	// closed for good, or refuses.
	Follow(ctx context.Context, handle func(ctx context.Context, f Firing) Outcome) error
}

// Firing is one time at which a reminder is due. Its handler may keep it.
type Firing struct {
	Reminder
	Generation ID            // the ID of the Set
	Number     uint64        // of this firing of the Set, from 1, without gaps
	Attempt    int           // how often it was handed out, as far as the store knows, from 1; more than that says nothing
	Due        time.Time     // when it was due
	Late       time.Duration // how long after that it is handed out
	Missed     uint64        // how many other times have passed without a firing, at most MaxMissed
}

// Key returns the name under which the message of f is sent, so that it runs once.
func (f *Firing) Key() Key {
	return Key{Actor: f.Actor, Name: f.Name, Generation: f.Generation, Number: f.Number}
}

// Outcome is the answer of a handler.
type Outcome struct {
	again bool
	after time.Duration
}

// Done says that the firing needs no handler any more.
func Done() Outcome { return Outcome{} }

// Retry says that the firing is to be handed out again, at the earliest after a while; if the store's server is
// restarted, perhaps sooner.
func Retry(after time.Duration) Outcome { return Outcome{again: true, after: max(0, after)} }

// Retry returns after which time the firing is to be handed out again, and false if it is not.
func (o Outcome) Retry() (time.Duration, bool) { return o.after, o.again }
