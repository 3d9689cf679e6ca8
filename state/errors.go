package state

import (
	"errors"
	"fmt"
	"strings"
)

// The errors of stores. Use errors.Is; errors.As with an [*Error] tells more.
var (
	// ErrNone says that the key has no record: it never had one, or it was deleted.
	ErrNone = errors.New("no record")
	// ErrUnavailable says that the store could not be read.
	ErrUnavailable = errors.New("the store does not answer")
	// ErrFormat says that what is stored cannot be decoded. The error wraps a *FormatError.
	ErrFormat = errors.New("what is stored cannot be decoded")
	// ErrInvalid says that a key or a record is beyond the limits of this package. Nothing was
	// stored.
	ErrInvalid = fmt.Errorf("%w: invalid", ErrNotStored)

	// ErrNotStored says that the commit is not stored and never will be. All errors that are
	// such a proof wrap it.
	ErrNotStored = errors.New("not stored")
	// ErrConflict says that somebody else has committed. It wraps ErrNotStored.
	ErrConflict = fmt.Errorf("%w: somebody else has committed", ErrNotStored)
	// ErrFenced says that somebody else has committed under a higher token: this holder has lost
	// the key for good. It wraps ErrConflict.
	ErrFenced = fmt.Errorf("%w under a higher token", ErrConflict)
	// ErrTooLarge says that the record is larger than the store's messages may be. Nothing was
	// written. It wraps ErrNotStored.
	ErrTooLarge = fmt.Errorf("%w: too large", ErrNotStored)
	// ErrFull says that the store has no room. It wraps ErrNotStored.
	ErrFull = fmt.Errorf("%w: the store is full", ErrNotStored)

	// ErrUnknown says that it is unknown whether the commit is stored; it may be stored later,
	// too, but not once a later commit of the key is stored. Making the same Commit again,
	// under the same ID, finds out.
	ErrUnknown = errors.New("unknown whether it is stored")

	// ErrLost says that the store has lost records, or is another one than it was. A store
	// that has said so of itself says it for ever. The store's documentation says what an
	// operator can do.
	ErrLost = errors.New("the store has lost records")
)

// Error is the error of a store.
type Error struct {
	Op    string   // "load", "commit", "delete" or "walk"
	Key   Key      // of a walk: without an ID
	Kind  error    // the one of this package's errors that says what is known
	ID    ID       // of the commit, for commit and delete
	Found Revision // the last commit of the key, if the store has looked, and there is one
	Err   error    // the cause; it may be nil
}

// Error returns a text with the operation, the key, what is known, and the cause.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "state: %s of %s: %v", e.Op, strings.TrimSuffix(e.Key.String(), "/"), e.Kind)
	if e.Found != (Revision{}) && !errors.Is(e.Kind, ErrNone) {
		fmt.Fprintf(&b, " (the last commit is %d, under the token %d)", e.Found.Seq, e.Found.Token)
	}
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
