package ledger

import (
	"context"
	"errors"
	"iter"
)

// ErrFenced is wrapped by the errors of a Log once a later Take has succeeded: now another
// start of the node owns its records. Nothing was stored.
var ErrFenced = errors.New("ledger: another start of this node has taken its records over")

// ErrLost is wrapped by the errors of a Log when what it had stored is gone: the store was
// deleted, emptied or restored to an earlier state while it was in use. Nothing more is
// stored until a Rewrite, which restores everything, has succeeded.
var ErrLost = errors.New("ledger: the store has lost this node's records")

// Checker is a Log that can find out, without an Append, whether what it has stored is
// gone.
type Checker interface {
	// Check returns an error that wraps ErrLost if what was stored is gone. Another error
	// does not say whether it is.
	Check(ctx context.Context) error
}

// Store keeps what must outlive a server's process: which requests began, and the
// outcomes of those that are done. Its method may be called concurrently.
type Store interface {
	// Take makes one start of a node, which the epoch names, the owner of the node's
	// records. It calls load with each change that is kept, in the order in which they
	// were appended. Once Take has returned nil, no Append of an earlier owner can
	// succeed, and load has got the changes of every Append that did succeed.
	Take(ctx context.Context, node, epoch string, load func(Change)) (Log, error)
}

// Log appends to the records of one node. Its methods are called one at a time.
type Log interface {
	// Append stores changes, all of them or none, and returns when they are as safe as
	// this store can make them. After an error other than ErrFenced it is unknown
	// whether they are stored; they may even be stored later, but not once a later
	// Append has succeeded. The caller passes either one change, or several that have
	// at most MaxBatch bytes together.
	Append(ctx context.Context, changes []Change) error
	// Rewrite replaces everything that was appended before it with changes. Until it
	// has succeeded nothing is lost: what was appended is kept, and some of the changes
	// may be kept behind it, in order. After a later Take it fails as Append does.
	Rewrite(ctx context.Context, changes iter.Seq[Change]) error
	// Close frees the resources of the log. It stores nothing.
	Close() error
}

// MaxBatch is the most bytes, counted by Change.Size, that the changes of one Append may
// have together.
const MaxBatch = 512 << 10

// Completions are an application's own records of what its transactions have done. A
// handler writes a record in the same transaction as its effect. So there is never an
// effect without a record, not even after a crash. Its methods may be called concurrently.
type Completions interface {
	// Completed returns the record that was committed under id, and whether there is one.
	Completed(ctx context.Context, id string) (record []byte, found bool, err error)
	// Void returns the same. If there is no record, it also makes sure that none can be
	// committed under id any more, for example by inserting an empty one under the same
	// primary key. Once Void has returned false for an id, it always does.
	Void(ctx context.Context, id string) (record []byte, found bool, err error)
}
