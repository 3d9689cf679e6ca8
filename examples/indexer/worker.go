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
	patience = 10 * time.Second       // how long to wait for a main node that does not answer
	retry    = 200 * time.Millisecond // pause between two attempts
)

// work is the work of a worker process. It pulls files from the queue, indexes them, and sends the
// result of each, until no files are left. It is an ordinary goroutine and not an actor, since
// nobody sends it messages; the verbs are the same.
//
// It reads the files itself, so the folder must be on its own machine.
func work(ctx context.Context, o options, folder *os.Root, logs io.Writer) error {
	n, err := join(o.nats, o.job, workerName(), tcp.Config{}, logs) // it dials, and nobody dials it
	if err != nil {
		return err
	}
	err = index(ctx, n.System, folder)
	// After a failed job, leaving may fail too, and its error says nothing new.
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
			results := sys.Bind(d.Message.Results) // a ref from a message is not bound to a system
			result := Result{Worker: sys.Name(), File: indexFile(folder, d.Message.Path)}
			if _, err := insist(ctx, func() (bool, error) { return actor.Call(ctx, results, result) }); err != nil {
				return fmt.Errorf("no aggregator: %w", err)
			}
		}
		_ = actor.AckAll(ctx, batch) // if an ack fails, the file comes again, but it is counted already
		if len(batch) == 0 {
			if over, err := empty(ctx, files); over || err != nil {
				return err
			}
		}
	}
}

// insist repeats a request until it is answered, or patience has passed. In general one should
// repeat only requests that did not run, which rpc.Ran reports. These requests can be repeated in
// any case, because a file is counted once, and the leases of files that nobody got end.
func insist[R any](ctx context.Context, request func() (R, error)) (R, error) {
	giveUp := time.Now().Add(patience)
	for {
		r, err := request()
		if err == nil || time.Now().After(giveUp) || !pause(ctx, retry) {
			return r, err
		}
	}
}

// pause waits. It returns false if ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return ctx.Err() == nil
	}
}

// workerName returns the name of a worker's node. It is unique in the cluster, because each
// process has another one.
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

// leashed returns a context that ends when standard input does. A worker's input is a pipe whose
// other end its parent has. The operating system closes it even if the parent is killed, so no
// worker outlives the parent.
func leashed(ctx context.Context, input io.Reader) context.Context {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() { // it may run until the process ends, because a read cannot be cancelled
		_, _ = io.Copy(io.Discard, input)
		cancel(errLeash)
	}()
	return ctx
}
