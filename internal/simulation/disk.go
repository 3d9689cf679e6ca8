package simulation

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/tandem-go/tandem/ledger"
)

// Disk is where a node keeps the records of its durable requests. It outlives the
// node's starts.
type Disk struct {
	Random func() float64           // for what takes its time
	Slow   time.Duration            // a write takes, at most
	Keeps  func(ledger.Change) bool // which changes; nil: all
	Fences bool                     // only the start that took the records last may write

	mu    sync.Mutex // guards what follows
	kept  []ledger.Change
	owner *Drive
	begun map[string]*Drive // by request: which owner of the records has stored its beginning last
	fault string            // of the moment
}

// NewDisk returns a disk on which a write takes as long as random says, slow at most, and which
// lets one start of the node write at a time.
func NewDisk(random func() float64, slow time.Duration) *Disk {
	return &Disk{Random: random, Slow: slow, Fences: true, begun: map[string]*Drive{}}
}

// Drive returns the access of the node's start of that number.
func (d *Disk) Drive(start int) *Drive { return &Drive{Disk: d, hangs: start%2 == 0} }

// Drive is the access of one start of a node to a disk. When it is unplugged it does nothing
// any more: its process gets an error for every write, or no answer.
type Drive struct {
	*Disk
	unplugged bool // guarded by Disk.mu
	hangs     bool
}

var errDisk = errors.New("the disk has failed")

// Take implements ledger.Store.
func (d *Drive) Take(_ context.Context, _, _ string, load func(ledger.Change)) (ledger.Log, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owner = d
	for _, c := range d.kept {
		load(c)
	}
	return d, nil
}

// Append implements ledger.Log. It writes before its pause or after it, so another start may take over between the write
// and the answer to it.
func (d *Drive) Append(ctx context.Context, changes []ledger.Change) error {
	d.mu.Lock()
	fault := d.fault
	d.mu.Unlock()
	pause := time.Duration(d.Random() * float64(d.Slow))
	if fault == "store slow" {
		pause = time.Duration(d.Random() * float64(8*time.Second))
	}
	before := time.Duration(d.Random() * 2 * float64(pause))
	if err := rest(ctx, min(before, pause)); err != nil {
		return err
	}
	if err := d.store(ctx, changes, fault); err != nil {
		return err
	}
	return rest(ctx, pause-min(before, pause))
}

func (d *Drive) store(ctx context.Context, changes []ledger.Change, fault string) error {
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
	case d.owner != d && d.Fences:
		return ledger.ErrFenced
	}
	for _, c := range changes {
		if d.Keeps == nil || d.Keeps(c) {
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

// Rewrite implements ledger.Log.
func (d *Drive) Rewrite(_ context.Context, changes iter.Seq[ledger.Change]) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.unplugged || d.owner != d {
		return ledger.ErrFenced
	}
	d.kept = slices.Collect(changes)
	return nil
}

// Close implements ledger.Log.
func (d *Drive) Close() error { return nil }

// Unplug makes the disk ignore this start from now on.
func (d *Drive) Unplug() {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unplugged = true
}

// HasBegun reports whether this start has stored that a request begins.
func (d *Drive) HasBegun(request string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.begun[request] == d
}

// Break sets the fault of a disk: "store fails", "store lies" or "store slow".
func (d *Disk) Break(fault string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = fault
}

// Mend removes a fault of a disk if it is still the same.
func (d *Disk) Mend(fault string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fault == fault {
		d.fault = ""
	}
}

// Ledger returns the ledger that the changes on a disk result in.
func (d *Disk) Ledger() *ledger.Ledger {
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
