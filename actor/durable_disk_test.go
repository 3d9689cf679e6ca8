package actor_test

// Stores in memory that outlive systems, and that can be slow or fail.

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/ledger"
)

// disk is a store that outlives systems.
type disk struct {
	writeTime time.Duration // how long a write takes; 0 means a millisecond
	failing   atomic.Bool   // writes fail: they hang until their context ends,
	refusing  atomic.Bool   // or with refusing set fail at once

	mu     sync.Mutex // guards what follows
	kept   []ledger.Change
	owner  string
	writes int
}

func (d *disk) Take(_ context.Context, _, epoch string, load func(ledger.Change)) (ledger.Log, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owner = epoch
	for _, c := range d.kept {
		load(c)
	}
	return diskLog{d, epoch}, nil
}

// diskLog is what one start of a node may write to its disk.
type diskLog struct {
	*disk
	epoch string
}

func (l diskLog) Append(ctx context.Context, changes []ledger.Change) error {
	if l.failing.Load() {
		if !l.refusing.Load() {
			<-ctx.Done()
		}
		return errors.New("test: the disk is away")
	}
	time.Sleep(cmp.Or(l.writeTime, time.Millisecond)) // changes that come meanwhile are written together
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.owner != l.epoch {
		return ledger.ErrFenced
	}
	l.writes++
	l.kept = append(l.kept, changes...)
	return nil
}

func (l diskLog) Rewrite(_ context.Context, changes iter.Seq[ledger.Change]) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = slices.Collect(changes)
	return nil
}

func (l diskLog) Close() error { return nil }

// written returns the number of successful appends.
func (d *disk) written() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.writes
}

// unplug makes every later write of the present owner fail.
func (d *disk) unplug() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owner = ""
}

// config makes a system keep its records on d, including those of the shop's workers.
func (d *disk) config(c *actor.Config) {
	c.Store = d
	c.Kinds = append(c.Kinds, newShop().workers("").With(actor.Durable()))
}

// brokenStore cannot be opened.
type brokenStore struct{ err error }

func (s brokenStore) Take(context.Context, string, string, func(ledger.Change)) (ledger.Log, error) {
	return nil, s.err
}
