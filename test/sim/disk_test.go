package sim

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/tandem-go/tandem/ledger"
)

// disk is where a node keeps the records of its durable requests. It outlives the
// node's starts.
type disk struct {
	random func() float64 // for what takes its time
	slow   time.Duration  // a write takes, at most
	keeps  func(ledger.Change) bool
	fences bool

	mu    sync.Mutex // guards what follows
	kept  []ledger.Change
	owner *drive
	begun map[string]*drive // by request: which owner of the records has stored its beginning last
	fault string            // of the moment
}

// drive is the access of one start of a node to a disk. When it is unplugged it does nothing
// any more: its process gets an error for every write, or no answer.
type drive struct {
	*disk
	unplugged bool // guarded by disk.mu
	hangs     bool
}

var errDisk = errors.New("the disk has failed")

func (d *drive) Take(_ context.Context, _, _ string, load func(ledger.Change)) (ledger.Log, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owner = d
	for _, c := range d.kept {
		load(c)
	}
	return d, nil
}

// Append writes before its pause or after it, so another start may take over between the write
// and the answer to it.
func (d *drive) Append(ctx context.Context, changes []ledger.Change) error {
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

func (d *drive) store(ctx context.Context, changes []ledger.Change, fault string) error {
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
		return ledger.ErrFenced
	}
	for _, c := range changes {
		if d.keeps == nil || d.keeps(c) {
			d.kept = append(d.kept, c)
		}
		if c.Op == ledger.Begun && d.owner == d {
			d.begun[c.ID.String()] = d
		}
	}
	if fault == "store lies" {
		return errDisk
	}
	return nil
}

func (d *drive) Rewrite(_ context.Context, changes iter.Seq[ledger.Change]) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.unplugged || d.owner != d {
		return ledger.ErrFenced
	}
	d.kept = slices.Collect(changes)
	return nil
}

func (d *drive) Close() error { return nil }

// unplug makes the disk ignore this start from now on.
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

// breaks sets a fault of a disk, or removes it if it is still the same.
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

// ledger returns the ledger that the changes on a disk result in.
func (d *disk) ledger() *ledger.Ledger {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := ledger.New()
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
