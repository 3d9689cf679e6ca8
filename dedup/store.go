package dedup

import (
	"context"
	"errors"
	"iter"
)

// ErrFenced is wrapped by a Log's errors once a later Take has succeeded: another
// start of the node is its owner now. Nothing was stored.
var ErrFenced = errors.New("dedup: another start of this node has taken its records over")

// ErrLost is wrapped by a Log's errors when what it had stored is gone: the store was
// deleted, emptied or put back to an earlier state while it was in use. Nothing more is
// stored until a Rewrite has succeeded, which puts all of it back.
var ErrLost = errors.New("dedup: the store has lost this node's records")

// Checker is a Log that can find out without being written to that what it has stored
// is gone. Its error then wraps ErrLost; any other says nothing of that.
type Checker interface {
	Check(ctx context.Context) error
}

// Store keeps what must outlive a server's process: which requests began, and the
// outcomes of those that are done. It may be used concurrently.
type Store interface {
	// Take makes one start of a node, named by its epoch, the owner of the node's
	// records, and calls load with each change that is kept, in the order of Append.
	// From when it returns, no Append of an earlier owner can succeed, and none that
	// has succeeded was missed by load.
	Take(ctx context.Context, node, epoch string, load func(Change)) (Log, error)
}

// Log appends to the records of one node. Its methods are called one at a time.
type Log interface {
	// Append stores changes, all of them or none, and returns when they are as safe as
	// this store can make them. After another error than ErrFenced nobody knows: they
	// may be stored, or may be later, but not once a later Append has succeeded. They
	// amount to MaxBatch bytes at most, or are one.
	Append(ctx context.Context, changes []Change) error
	// Rewrite puts changes in the place of everything that was appended before it.
	// Until it has succeeded nothing is lost: what was appended is kept, and some of
	// the changes may be kept besides, in order, behind it. It is fenced as Append is.
	Rewrite(ctx context.Context, changes iter.Seq[Change]) error
	// Close frees what the log holds. It stores nothing.
	Close() error
}

// MaxBatch bounds the Size of all changes of one Append.
const MaxBatch = 512 << 10

// Completions are an application's own records of what its transactions have done: a
// handler writes one, in the transaction of its effect, so that not even a crash
// between effect and record leaves a doubt. Its methods may be called concurrently.
type Completions interface {
	// Completed returns the record that was committed under id, and whether there is one.
	Completed(ctx context.Context, id string) (record []byte, found bool, err error)
	// Void does the same and, if there is none, sees to it that none can be committed
	// under id from then on: for example by inserting an empty one under the same
	// primary key. Once Void has reported false for an id, it always does.
	Void(ctx context.Context, id string) (record []byte, found bool, err error)
}
