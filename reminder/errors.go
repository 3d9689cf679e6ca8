package reminder

import (
	"errors"
	"fmt"
	"strings"
)

// The errors of stores. Use errors.Is; errors.As with an [*Error] tells more.
var (
	// ErrUnavailable says that the store does not answer. Nothing was to be changed.
	ErrUnavailable = errors.New("the store does not answer")
	// ErrFormat says that what is stored cannot be decoded. The error wraps a *FormatError.
	ErrFormat = errors.New("what is stored cannot be decoded")

	// ErrNotStored says that the change is not stored and never will be. All errors that are such
	// a proof wrap it.
	ErrNotStored = errors.New("not stored")
	// ErrInvalid says that a reminder is beyond the limits of this package. It wraps ErrNotStored.
	ErrInvalid = fmt.Errorf("%w: invalid", ErrNotStored)
	// ErrTooLarge says that the reminder is larger than the store's messages may be. It wraps
	// ErrNotStored.
	ErrTooLarge = fmt.Errorf("%w: too large", ErrNotStored)
	// ErrFull says that the store has no room. It wraps ErrNotStored.
	ErrFull = fmt.Errorf("%w: the store is full", ErrNotStored)

	// ErrUnknown says that it is unknown whether the change is stored; it may be stored later,
	// too, but not once a later change of the same reminder is stored. Making the same call
	// again, under the same ID, finds out.
	ErrUnknown = errors.New("unknown whether it is stored")

	// ErrLost says that the store has lost reminders, or is another one than it was. A store that
	// has said so says it for ever. The store's documentation says what an operator can do.
	ErrLost = errors.New("the store has lost reminders")
)

// Error is the error of a store.
type Error struct {
	Op    string // "set", "forget", "list", "follow" or "check"
	Actor Actor
	Name  string // of the reminder, for set and forget
	Kind  error  // the one of this package's errors that says what is known
	ID    ID     // of the change, for set and forget
	Err   error  // the cause; it may be nil
}

// Error returns a text with the operation, the reminder, what is known, and the cause.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "reminder: %s", e.Op)
	if e.Actor != (Actor{}) {
		fmt.Fprintf(&b, " of %v", e.Actor)
	}
	if e.Name != "" {
		fmt.Fprintf(&b, " %q", e.Name)
	}
	fmt.Fprintf(&b, ": %v", e.Kind)
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// FormatError says why bytes could not be decoded.
type FormatError struct {
	Version int    // the format version that the bytes have; -1 if there are none
	Data    []byte // the bytes
	Why     string
}

// Error returns a text without the bytes.
func (e *FormatError) Error() string {
	return fmt.Sprintf("%d bytes of format version %d: %s", len(e.Data), e.Version, e.Why)
}
