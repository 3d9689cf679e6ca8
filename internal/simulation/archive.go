package simulation

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/tandem-go/tandem/state"
	"github.com/tandem-go/tandem/state/memory"
)

// Archive is a store of states that writes down which commits it has taken.
type Archive struct {
	state.Store
	Lenient bool // it says of commits that it has taken them which it refuses because of another one

	mu    sync.Mutex // guards what follows, and is held during a commit
	taken []Taken
	seq   uint64 // of the latest commit
}

// Taken is a commit that a store has taken.
type Taken struct {
	Key   state.Key
	Token uint64
	Seq   uint64
}

// NewArchive returns an empty archive.
func NewArchive() *Archive { return &Archive{Store: memory.New(memory.Config{})} }

// Commit implements state.Store.
func (a *Archive) Commit(ctx context.Context, key state.Key, rec state.Record, after state.Revision) (state.Revision, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	rev, err := a.Store.Commit(ctx, key, rec, after)
	if a.Lenient && (errors.Is(err, state.ErrConflict) || errors.Is(err, state.ErrUnknown)) {
		rev, err = state.Revision{Seq: a.seq + 1, Token: rec.Token, ID: rec.ID}, nil
	}
	if err == nil && rev.Seq > a.seq { // otherwise it was made again
		a.seq = rev.Seq
		a.taken = append(a.taken, Taken{key, rec.Token, rev.Seq})
	}
	return rev, err
}

// Taken returns the commits that it has taken, in their order.
func (a *Archive) Taken() []Taken {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.taken)
}
