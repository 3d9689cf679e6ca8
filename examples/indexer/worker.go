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
	patience = 10 * time.Second       // with a main node that does not answer
	retry    = 200 * time.Millisecond // after which to try again
)

// work is what a worker process does: it pulls files from the queue, indexes them, and
// sends each one's result, until there are no more. It is an ordinary goroutine and no
// actor, since nobody sends it anything; the verbs are the same.
//
// It reads the files itself, so the folder has to be on its own machine.
func work(ctx context.Context, o options, folder *os.Root, logs io.Writer) error {
	n, err := join(o.nats, o.job, workerName(), tcp.Config{}, logs) // dials, and is not dialled
	if err != nil {
		return err
	}
	err = index(ctx, n.System, folder)
	// After a failed job the leaving may fail too, and says nothing new.
	if left := n.leave(); err == nil {
		err = left
	}
	return err
}

func index(ctx context.Context, sys *actor.System, folder *os.Root) error {
	files := sys.Ref(filesName + "@" + mainNode)
	for {
		batch, err := insist(ctx, func() ([]actor.Delivery[File], error) {
			return actor.Pull[File](ctx, files, actor.Max(batchSize), actor.Wait(askAgain))
		})
		if err != nil {
			return fmt.Errorf("no files: %w", err)
		}
		for _, d := range batch {
			results := sys.Bind(d.Message.Results) // a ref from a message knows no system
			result := Result{Worker: sys.Name(), File: indexFile(folder, d.Message.Path)}
			if _, err := insist(ctx, func() (bool, error) { return actor.Call(ctx, results, result) }); err != nil {
				return fmt.Errorf("no aggregator: %w", err)
			}
		}
		_ = actor.AckAll(ctx, batch) // a file whose ack fails is counted already, and comes again for nothing
		if len(batch) == 0 {
			if over, err := empty(ctx, files); over || err != nil {
				return err
			}
		}
	}
}

// insist repeats a request until it is answered or patience has run out. rpc.Ran
// would say of each error whether the request ran, and one would repeat only those
// that did not. These may be repeated all the same: a result is counted once per
// file, and the lease of files that nobody got runs out.
func insist[R any](ctx context.Context, request func() (R, error)) (R, error) {
	giveUp := time.Now().Add(patience)
	for {
		r, err := request()
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
