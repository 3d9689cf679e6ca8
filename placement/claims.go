package placement

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
)

// Limits of a key and of a claim, in bytes.
const (
	MaxKey  = 255 // of a kind, and of an id
	MaxName = 128 // of a node's name, of an epoch, and of a claim's ID
)

// Key names a virtual actor.
type Key struct{ Kind, ID string }

// String returns "kind/id", for people.
func (k Key) String() string { return k.Kind + "/" + k.ID }

// Valid returns nil if kind and id have 1 to MaxKey bytes, else an error that wraps ErrInvalid.
// Any bytes are allowed.
func (k Key) Valid() error {
	if k.Kind == "" || k.ID == "" || len(k.Kind) > MaxKey || len(k.ID) > MaxKey {
		return fmt.Errorf("%w: a kind of %d bytes and an id of %d: want 1 to %d each", ErrInvalid, len(k.Kind), len(k.ID), MaxKey)
	}
	return nil
}

// Claim says who holds a key. ID is of one attempt to get it: it is how a node knows its own write
// again whose answer it has not seen, so it must not be used for two activations.
type Claim struct{ Node, Epoch, ID string }

// Valid returns nil if node, epoch and ID have 1 to MaxName bytes of letters, digits, '-' and '_',
// else an error that wraps ErrInvalid.
func (c Claim) Valid() error {
	for _, s := range []string{c.Node, c.Epoch, c.ID} {
		if !name(s) {
			return fmt.Errorf("%w: a claim by node %q, epoch %q, with the ID %q: want 1 to %d letters, digits, '-' and '_' each", ErrInvalid, c.Node, c.Epoch, c.ID, MaxName)
		}
	}
	return nil
}

func name(s string) bool {
	if s == "" || len(s) > MaxName {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// NewID returns a random ID for a claim.
func NewID() string { return rand.Text() }

// Token is the fencing token of a claim. Those of one key grow for ever, whatever happens to its
// claims. No claim has the token 0.
type Token uint64

// Held is a claim with its token. The zero value says that nobody holds the key.
type Held struct {
	Claim
	Token Token
}

// Claims keeps the claims of a cluster. Its methods may be called concurrently, and end with their
// ctx. Their errors are *Error; each wraps the error of this package that says what is known.
//
// Create and Replace may be made again after ErrUnknown, with the same Claim. If that is the last
// claim of its key already, they return its token.
type Claims interface {
	// Get returns the claim of a key, or the zero value if there is none. It has all writes
	// that were acknowledged before, as far as the store can tell; only a write proves that.
	Get(ctx context.Context, key Key) (Held, error)

	// Create makes a claim of a key that has none, by a Get just before. ErrConflict: there
	// is one.
	Create(ctx context.Context, key Key, c Claim) (Token, error)

	// Replace puts c in the place of the claim under the token before. ErrConflict: that is
	// not the key's claim any more.
	Replace(ctx context.Context, key Key, c Claim, before Token) (Token, error)

	// Release removes the claim under a token. It returns nil if that is not the key's claim
	// any more, so a successor's claim is never removed by mistake.
	Release(ctx context.Context, key Key, token Token) error
}

// The errors of Claims. Use errors.Is; errors.As with an [*Error] tells more.
var (
	// ErrInvalid says that a key or a claim is beyond the limits. Nothing was written.
	ErrInvalid = errors.New("invalid")
	// ErrConflict says that the key's claim is not the one that the write was to replace. It is
	// a proof that this write is not the key's claim, and never will be.
	ErrConflict = errors.New("the key has another claim")
	// ErrUnknown says that it is unknown whether the write was made; it may be made later, too.
	ErrUnknown = errors.New("unknown whether it was made")
	// ErrUnavailable says that the store could not be read, or that it did not take a write: that
	// was not made, and never will be.
	ErrUnavailable = errors.New("the store is not available")
	// ErrFormat says that the key's claim cannot be decoded. Nothing was written.
	ErrFormat = errors.New("the claim cannot be decoded")
	// ErrLost says that the store has lost claims, or is another one than it was. A store that
	// has said so says it for ever. Its documentation says what an operator can do.
	ErrLost = errors.New("the store has lost claims")
)

// Error is the error of a Claims.
type Error struct {
	Op    string // "get", "create", "replace", "release" or "check"
	Key   Key    // none of "check"
	Kind  error  // the one of this package's errors that says what is known
	Found Held   // the key's claim that was seen, after ErrConflict; it may be the zero value
	Err   error  // the cause; it may be nil
}

// Error returns a text with the operation, the key, what is known, and the cause.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "placement: %s of %v: %v", e.Op, e.Key, e.Kind)
	if e.Found.Token != 0 {
		fmt.Fprintf(&b, ", by node %s (%s) under the token %d", e.Found.Node, e.Found.Epoch, e.Found.Token)
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
