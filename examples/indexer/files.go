package main

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/queue"
)

const (
	filesName = "files"
	batchSize = 16                     // files per pull: milliseconds of work, so that no worker ends late
	leaseTime = 3 * time.Second        // to index a batch; then others get its files
	askAgain  = 200 * time.Millisecond // pause if other workers have all files
)

// File is an item of the queue.
type File struct {
	Path    string
	Results actor.Ref // the actor to which its Result is sent
}

// A type of package main needs a name to be sent to another node.
func (File) WireName() string { return "indexer.File" }

// filesKind describes the queue of n files. A worker acks a file when its result was counted. The
// files of a worker that has died come back when their leases end. The number of attempts is not
// limited, because the job is done only when every file was counted.
func filesKind(n int) *actor.Kind {
	return actor.QueueKind[File]("indexer.files", queue.Config{Capacity: n, Lease: leaseTime, Attempts: math.MaxInt})
}

// fill puts all files into a queue.
func fill(ctx context.Context, files actor.Ref, names []string, results actor.Ref) error {
	var errs []error
	for _, name := range names {
		errs = append(errs, actor.Push(ctx, files, File{name, results}))
	}
	return errors.Join(errs...)
}

// empty reports whether every file is done.
func empty(ctx context.Context, files actor.Ref) (bool, error) {
	s, err := actor.QueueStats[File](ctx, files)
	return err == nil && s.Pushed > 0 && s.Depth+s.InFlight == 0, err
}
