package dedup

import (
	"context"
	"errors"
	"iter"
)

// ErrFenced is wrapped by a Log's errors once a later Take has succeeded: another
// start of the node is its owner now. Nothing was stored.
var ErrFenced = errors.New("dedup: another start of this node has taken its records over")

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
	// may be stored, or may never be. They amount to MaxBatch bytes at most, or are one.
	Append(ctx context.Context, changes []Change) error
	// Rewrite puts changes in the place of everything that was appended before it.
	// Until it has succeeded nothing is lost: what was appended is kept, and some of
	// the changes may be kept besides, in order, behind it.
	Rewrite(ctx context.Context, changes iter.Seq[Change]) error
	// Close frees what the log holds. It stores nothing.
	Close() error
}

// MaxBatch bounds the Size of all changes of one Append.
const MaxBatch = 512 << 10
