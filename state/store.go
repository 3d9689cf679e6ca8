package state

import (
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"time"
)

// MaxKey is the most bytes that the kind and the id of a [Key] may have, each.
const MaxKey = 255

// Key names a virtual actor: its kind and its id. Each is a text of 1 to MaxKey bytes; any bytes
// are allowed.
type Key struct{ Kind, ID string }

// String returns the key as the address of an actor shows it: kind/id.
func (k Key) String() string { return k.Kind + "/" + k.ID }

// Valid returns nil, or an error that wraps ErrInvalid.
func (k Key) Valid() error {
	for _, s := range [...]string{k.Kind, k.ID} {
		if s == "" || len(s) > MaxKey {
			return fmt.Errorf("%w: the kind %q and the id %q must have 1 to %d bytes each", ErrInvalid, k.Kind, k.ID, MaxKey)
		}
	}
	return nil
}

// ID is the random name of one commit.
type ID [16]byte

// NewID returns a new ID.
func NewID() (id ID) {
	rand.Read(id[:])
	return id
}

// String returns the ID in hexadecimal digits.
func (id ID) String() string { return fmt.Sprintf("%x", id[:]) }

// Revision names one commit of a key. The zero Revision says that there never was one. Revisions
// are compared with ==. Those of different keys, or of different stores, have nothing to do with
// one another.
type Revision struct {
	Seq   uint64 // the store's own number of the commit; it grows with each commit of the key
	Token uint64 // the fencing token of the commit
	ID    ID
}

// Store keeps records. Its methods may be called concurrently, also for one key. Their errors are
// of type [*Error]. The caller may change what it has passed and what it has got. If ctx ends, a
// method returns soon.
type Store interface {
	// Load returns the last record of key and its revision.
	//
	// If there is none, the error wraps ErrNone, and the revision is the one after which the
	// first commit is made. If the record was deleted, the Token of the record that is returned
	// is the token of the Delete, and the revision is not zero. If what is stored cannot be
	// decoded, the error wraps ErrFormat and a *FormatError with the bytes, and the revision's
	// Seq is set. ErrLost says that records are lost, perhaps this one, too, and
	// ErrUnavailable that the store has not answered.
	Load(ctx context.Context, key Key) (Record, Revision, error)

	// Commit stores rec if the commit after is still the last one of key, and returns its
	// revision. The token of rec must not be lower than that of after.
	//
	// rec.ID names this commit. The store draws it if it is zero, which is best for a commit
	// that was never made before; the error says which it was. A Commit may be made again under
	// its ID, with the same record and the same after; it is stored once. Since it may have been
	// stored before, an error that is not a proof of the opposite wraps ErrUnknown then.
	//
	// Commit finds out by itself whether rec is stored, as long as ctx allows. Its result is
	// true: if there is no error, rec is stored, although somebody may have replaced it since.
	// If the error wraps ErrNotStored, it is not stored and never will be. If it wraps
	// ErrUnknown, it may be stored, or may be stored yet. See the errors of this package.
	Commit(ctx context.Context, key Key, rec Record, after Revision) (Revision, error)

	// Delete replaces the record by a mark that there is none. The mark has a revision and a
	// token, as a commit does, and everything that is said about Commit is true for Delete.
	// The next Commit is made after the revision that Delete returns.
	Delete(ctx context.Context, key Key, token uint64, after Revision) (Revision, error)

	// Walk yields the ids of the records of a kind, in no particular order. An id that has a
	// record from the beginning to the end is yielded at least once, and an id without one,
	// before and after, never. After an error, which is the last thing that it yields, some
	// may be missing.
	Walk(ctx context.Context, kind string) iter.Seq2[string, error]
}

// Committer is a [Store] that can make a commit without a goroutine that waits for it.
type Committer interface {
	Store

	// CommitThen is Commit under a ctx that ends after wait, but it does not wait: it calls then with the result of
	// Commit, once, from any goroutine, and perhaps before it returns. then must return soon. rec must not be changed
	// before it is called.
	CommitThen(ctx context.Context, wait time.Duration, key Key, rec Record, after Revision, then func(Revision, error))
}
