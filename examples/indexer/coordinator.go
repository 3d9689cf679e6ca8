package main

import (
	"time"

	"github.com/tandem-go/tandem/actor"
)

const (
	coordinatorName = "coordinator"
	batchSize       = 16                     // files per lease: milliseconds of work, so that no worker ends late
	leaseTime       = 10 * time.Second       // without a word of any of its files
	askAgain        = 100 * time.Millisecond // when all files are with other workers
)

// Lease asks for files to index.
type Lease struct {
	actor.Returns[Batch]
	Worker string // its node
}

// Batch is a worker's for leaseTime; then others may get the same files.
type Batch struct {
	Files   []string
	Results actor.Ref     // who takes each file's Result
	Wait    time.Duration // no files now: ask again after this
	Done    bool          // no files any more
}

// Indexed says that a file's result is in.
type Indexed struct{ Path string }

// WorkerLeft says that a worker's node has left the cluster.
type WorkerLeft struct{ Node string }

// Handouts asks how often files had to be handed out again.
type Handouts struct{ actor.Returns[int] }

// A type of package main needs a name to travel to another node. The other messages
// do not travel.
func (Lease) WireName() string { return "indexer.Lease" }
func (Batch) WireName() string { return "indexer.Batch" }

// Coordinator is the actor that hands out the files. A file is done when the
// aggregator says so, and not when a worker does, so whatever happens to a worker,
// its files are handed out until their results are in.
type Coordinator struct {
	leases  *leases
	results actor.Ref
}

// coordinatorKind describes the coordinator of one job. Its state is made anew if a
// handler panics: then all files are handed out again, and those that the aggregator
// has already are told again as duplicates.
func coordinatorKind(files []string, results actor.Ref) *actor.Kind {
	return actor.Define("indexer.coordinator",
		func() *Coordinator { return &Coordinator{newLeases(files), results} },
		actor.Answer((*Coordinator).Lease),
		actor.Handle((*Coordinator).Indexed),
		actor.Handle((*Coordinator).WorkerLeft),
		actor.Answer((*Coordinator).Handouts))
}

// Lease hands out a batch. It is also when leases are found to have run out: nobody
// else could use the files.
func (c *Coordinator) Lease(ctx *actor.Context, m Lease) (Batch, error) {
	files := c.leases.take(m.Worker, time.Now())
	switch {
	case c.leases.done():
		return Batch{Done: true}, nil
	case len(files) == 0:
		return Batch{Wait: askAgain}, nil
	}
	return Batch{Files: files, Results: c.results}, nil
}

func (c *Coordinator) Indexed(ctx *actor.Context, m Indexed) error {
	c.leases.finish(m.Path, time.Now())
	return nil
}

func (c *Coordinator) WorkerLeft(ctx *actor.Context, m WorkerLeft) error {
	c.leases.release(m.Node)
	return nil
}

func (c *Coordinator) Handouts(ctx *actor.Context, m Handouts) (int, error) {
	return c.leases.again, nil
}

// leases is who has which files. It takes the time as an argument and does nothing
// by itself. Each file either waits, or is in one lease, or is finished.
type leases struct {
	waiting []string
	current map[*lease]bool
	holder  map[string]*lease // by file
	open    map[string]bool   // files that are not finished
	again   int               // files that went back to waiting
}

// lease is one batch in a worker's hands.
type lease struct {
	worker string
	until  time.Time
	files  map[string]bool // not finished
}

func newLeases(files []string) *leases {
	l := &leases{waiting: files, current: map[*lease]bool{}, holder: map[string]*lease{}, open: map[string]bool{}}
	for _, f := range files {
		l.open[f] = true
	}
	return l
}

func (l *leases) done() bool { return len(l.open) == 0 }

// take gives a worker the next files; none if all are with others.
func (l *leases) take(worker string, now time.Time) []string {
	l.end(func(x *lease) bool { return !now.Before(x.until) })
	given := &lease{worker, now.Add(leaseTime), map[string]bool{}}
	var batch []string
	for len(l.waiting) > 0 && len(batch) < batchSize {
		f := l.waiting[0]
		l.waiting = l.waiting[1:]
		if l.open[f] { // else its result came after its lease had ended
			batch = append(batch, f)
			given.files[f] = true
			l.holder[f] = given
		}
	}
	if len(batch) > 0 {
		l.current[given] = true
	}
	return batch
}

// finish takes note that a file is done, whoever did it. Its lease starts anew: its
// holder is slow perhaps, but at work.
func (l *leases) finish(file string, now time.Time) {
	delete(l.open, file)
	x := l.holder[file]
	if x == nil {
		return
	}
	delete(l.holder, file)
	delete(x.files, file)
	x.until = now.Add(leaseTime)
	if len(x.files) == 0 {
		delete(l.current, x)
	}
}

// release ends the leases of a worker.
func (l *leases) release(worker string) {
	l.end(func(x *lease) bool { return x.worker == worker })
}

// end takes files back.
func (l *leases) end(which func(*lease) bool) {
	for x := range l.current {
		if !which(x) {
			continue
		}
		delete(l.current, x)
		for f := range x.files {
			delete(l.holder, f)
			l.waiting = append(l.waiting, f)
			l.again++
		}
	}
}
