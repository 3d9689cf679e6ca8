package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/tcp"
)

// job is one run of the main process. It belongs to the goroutine that runs lead.
type job struct {
	options
	*node
	files      actor.Ref // the queue
	aggregator actor.Ref
	total      int // files
	crew       *crew
	events     <-chan actor.Event
	show       display
}

// lead runs a whole job: it starts what the job needs, follows it, and prints its result. When it
// returns, everything that it has started has ended. Unless errs is an *os.File, it must allow
// concurrent writes, because workers write to it too.
func lead(ctx context.Context, o options, folder *os.Root, out, errs io.Writer) (err error) {
	files, err := goFiles(folder)
	if err != nil {
		return usagef("folder: %w", err)
	}
	if len(files) == 0 {
		return usagef("no Go files below %s", o.folder)
	}
	if o.nats == "" {
		server, err := embedded.Start(embedded.Config{})
		if err != nil {
			return err
		}
		defer server.Shutdown()
		o.nats = server.URL()
	}
	n, err := join(o.nats, o.job, mainNode, tcp.Config{Listen: "127.0.0.1:0"}, errs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.leave()) }()

	j := &job{options: o, node: n, total: len(files), events: n.Events(ctx)}
	if err := j.spawn(ctx, files); err != nil {
		return err
	}
	if j.crew, err = startCrew(o, errs); err != nil {
		return err
	}
	defer j.crew.dismiss()

	began := time.Now()
	j.show = newDisplay(errs, j.total, began)
	if o.workers == 0 {
		j.show.note(fmt.Sprintf("waiting for workers: indexer -worker -nats %s -name %s -folder ...", o.nats, o.job))
	}
	err = j.follow(ctx)
	took := time.Since(began)
	if j.kill && err == nil {
		j.show.note("the job was over before its middle was seen: no worker was killed")
	}
	j.show.close()
	if err != nil {
		return err
	}
	index, err := j.report(ctx, out, took)
	if err != nil {
		return err
	}
	j.awaitWorkers(ctx)
	if o.check {
		return check(out, folder, files, index)
	}
	return nil
}

// spawn starts the two actors. The aggregator's name is random, so that a worker of an earlier job
// with the same name cannot send its results here.
func (j *job) spawn(ctx context.Context, files []string) (err error) {
	if j.aggregator, err = j.Spawn("", aggregatorKind); err != nil {
		return err
	}
	if j.files, err = j.Spawn(filesName, filesKind(len(files))); err != nil {
		return err
	}
	return fill(ctx, j.files, files, j.aggregator)
}

// follow shows the job's progress until all files are counted.
func (j *job) follow(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond) // to redraw
	defer tick.Stop()
	for {
		var event actor.Event
		select {
		case <-ctx.Done():
		case event = <-j.events:
		case w := <-j.crew.exited:
			if j.crew.running--; w.err != nil {
				j.show.note(fmt.Sprintf("worker process %d ended: %v", w.pid, w.err))
			}
		case <-tick.C:
		}
		status, err := actor.Call(context.WithoutCancel(ctx), j.aggregator, Progress{})
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w after %d of %d files", errInterrupted, status.Files, j.total)
		}
		j.show.update(status, func() []Count {
			top, _ := actor.Call(ctx, j.aggregator, Top{N: 3})
			return top
		})
		switch {
		case status.Files == j.total:
			return nil
		case event.Type == actor.NodeLeft:
			j.show.note(event.Peer + " has left")
		}
		switch {
		case j.workers > 0 && j.crew.running == 0 && j.alone():
			return fmt.Errorf("no worker is left after %d of %d files", status.Files, j.total)
		case j.kill && status.Files >= j.total/2:
			j.kill = false
			pid, err := j.crew.kill()
			if err != nil {
				return err
			}
			j.show.note(fmt.Sprintf("killed worker process %d after %d files", pid, status.Files))
		}
	}
}

// report prints the result, and returns it.
func (j *job) report(ctx context.Context, out io.Writer, took time.Duration) (*Index, error) {
	index, err := actor.Call(ctx, j.aggregator, Snapshot{})
	if err != nil {
		return nil, err
	}
	status, err := actor.Call(ctx, j.aggregator, Progress{})
	if err != nil {
		return nil, err
	}
	queue, err := actor.QueueStats[File](ctx, j.files)
	if err != nil {
		return nil, err
	}
	printIndex(out, index, j.top)
	printRun(out, status, queue.Redeliveries, took)
	return index, nil
}

// awaitWorkers waits until the workers have asked once more and found that no files are left, so
// that they end by themselves, wherever they run. A worker that was killed stays a member until
// its lease ends.
func (j *job) awaitWorkers(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, nodeLease+time.Second)
	defer cancel()
	for !j.alone() {
		select {
		case <-j.events:
		case <-ctx.Done():
			return
		}
	}
}
