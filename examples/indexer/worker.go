package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/transport/tcp"
)

const (
	patience = 10 * time.Second       // with a coordinator that does not answer
	retry    = 200 * time.Millisecond // after which to try again
)

// work is what a worker process does: it leases files, indexes them, and sends each
// one's result, until there are no more. It is an ordinary goroutine and no actor,
// since nobody sends it anything; the verbs are the same.
//
// It reads the files itself, so the folder has to be on its own machine.
func work(ctx context.Context, o options, folder *os.Root, logs io.Writer) error {
	n, err := join(o.nats, o.job, workerName(), tcp.Config{}, logs) // dials, and is not dialled
	if err != nil {
		return err
	}
	err = indexLeased(ctx, n.System, folder)
	// After a failed job the leaving may fail too, and says nothing new.
	if left := n.leave(); err == nil {
		err = left
	}
	return err
}

func indexLeased(ctx context.Context, sys *actor.System, folder *os.Root) error {
	coordinator := sys.Ref(coordinatorName + "@" + mainNode)
	for {
		batch, err := insist(ctx, coordinator, Lease{Worker: sys.Name()})
		if err != nil {
			return fmt.Errorf("no coordinator: %w", err)
		}
		if batch.Done {
			return nil
		}
		results := sys.Bind(batch.Results) // a ref from a message knows no system
		for _, name := range batch.Files {
			if _, err := insist(ctx, results, Result{Worker: sys.Name(), File: indexFile(folder, name)}); err != nil {
				return fmt.Errorf("no aggregator: %w", err)
			}
		}
		if !pause(ctx, batch.Wait) {
			return context.Cause(ctx)
		}
	}
}

// insist repeats a request until it is answered or patience has run out. rpc.Ran
// would say of each error whether the request ran, and one would repeat only those
// that did not. These may be repeated all the same: a result is counted once per
// file, and a lease that nobody heard of runs out.
func insist[M actor.Question[R], R any](ctx context.Context, to actor.Ref, m M) (R, error) {
	giveUp := time.Now().Add(patience)
	for {
		r, err := actor.Call(ctx, to, m)
		if err == nil || time.Now().After(giveUp) || !pause(ctx, retry) {
			return r, err
		}
	}
}

// pause waits; false if ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return ctx.Err() == nil
	}
}

// workerName names a worker's node: unique in the cluster, as a process is.
func workerName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	host = strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-':
			return r
		}
		return '_'
	}, host)
	return fmt.Sprintf("worker-%.40s-%d", host, os.Getpid())
}

var errLeash = errors.New("the process that started this one has ended")

// leashed returns a context that ends when standard input does. A worker's input is
// a pipe whose other end its parent holds, and which the operating system closes
// even if the parent is killed: so no worker outlives it.
func leashed(ctx context.Context, input io.Reader) context.Context {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() { // ends with the process at the latest: a read cannot be called off
		_, _ = io.Copy(io.Discard, input)
		cancel(errLeash)
	}()
	return ctx
}
