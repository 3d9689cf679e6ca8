package storetest

import (
	"context"
	"time"

	"github.com/tandem-go/tandem/state"
)

// Then returns s as a store whose Commit is a CommitThen.
func Then(s state.Committer) state.Store { return then{s} }

type then struct{ state.Committer }

// Commit waits for the result of a CommitThen. It panics if there are two.
func (s then) Commit(ctx context.Context, key state.Key, rec state.Record, after state.Revision) (rev state.Revision, err error) {
	wait := time.Hour
	if until, ok := ctx.Deadline(); ok {
		wait = time.Until(until)
	}
	done := make(chan struct{})
	s.CommitThen(ctx, wait, key, rec, after, func(r state.Revision, e error) {
		rev, err = r, e
		close(done)
	})
	<-done
	return rev, err
}
