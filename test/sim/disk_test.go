package sim

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/tandem-go/tandem/dedup"
)

// disk is where a node keeps the records of its durable requests. It outlives the
// node's starts.
type disk struct {
	random func() float64 // for what takes its time
	slow   time.Duration  // a write takes, at most
	keeps  func(dedup.Change) bool
	fences bool

	mu    sync.Mutex // guards what follows
	kept  []dedup.Change
	owner *drive
	begun map[string]*drive // by request: which owner of the records has stored its beginning last
	fault string            // of the moment
}

// drive is one start's access to a disk. Unplugged, it does nothing any more: to its
// process either every write is an error, or none comes back.
type drive struct {
	*disk
	unplugged bool // guarded by disk.mu
	hangs     bool
}

var errDisk = errors.New("the disk has failed")

func (d *drive) Take(_ context.Context, _, _ string, load func(dedup.Change)) (dedup.Log, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owner = d
	for _, c := range d.kept {
		load(c)
	}
	return d, nil
}

// Append writes before its pause or after it: so another start may take over between
// the write and the word of it.
func (d *drive) Append(ctx context.Context, changes []dedup.Change) error {
	d.mu.Lock()
	fault := d.fault
	d.mu.Unlock()
	pause := time.Duration(d.random() * float64(d.slow))
	if fault == "store slow" {
		pause = time.Duration(d.random() * float64(8*time.Second))
	}
	before := time.Duration(d.random() * 2 * float64(pause))
	if err := rest(ctx, min(before, pause)); err != nil {
		return err
	}
	if err := d.store(ctx, changes, fault); err != nil {
		return err
	}
	return rest(ctx, pause-min(before, pause))
}

func (d *drive) store(ctx context.Context, changes []dedup.Change, fault string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.unplugged && d.hangs:
		d.mu.Unlock()
		<-ctx.Done()
		d.mu.Lock()
		return ctx.Err()
	case d.unplugged, fault == "store fails":
		return errDisk
	case d.owner != d && d.fences:
		return dedup.ErrFenced
	}
	for _, c := range changes {
		if d.keeps == nil || d.keeps(c) {
			d.kept = append(d.kept, c)
		}
		if c.Op == dedup.Begun && d.owner == d {
			d.begun[c.ID.String()] = d
		}
	}
	if fault == "store lies" {
		return errDisk
	}
	return nil
}

func (d *drive) Rewrite(_ context.Context, changes iter.Seq[dedup.Change]) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.unplugged || d.owner != d {
		return dedup.ErrFenced
	}
	d.kept = slices.Collect(changes)
	return nil
}

func (d *drive) Close() error { return nil }

// unplug has nothing more of this start arrive.
func (d *drive) unplug() {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unplugged = true
}

// hasBegun reports whether this start has stored that a request begins.
func (d *drive) hasBegun(request string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.begun[request] == d
}

// breaks gives a disk a fault, or takes it back if it is still that one.
func (d *disk) breaks(fault string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = fault
}

func (d *disk) mended(fault string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fault == fault {
		d.fault = ""
	}
}

// ledger is what the changes on a disk amount to.
func (d *disk) ledger() *dedup.Ledger {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := dedup.NewLedger()
	for _, c := range d.kept {
		l.Apply(c)
	}
	return l
}

// rest waits for a while, or until ctx ends.
func rest(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// random is a source of randomness for something that draws from several goroutines.
func (w *world) random(whose string) func() float64 {
	r := w.rng(whose)
	var mu sync.Mutex // guards r
	return func() float64 {
		mu.Lock()
		defer mu.Unlock()
		return r.Float64()
	}
}
