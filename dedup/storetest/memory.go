package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/tandem-go/tandem/dedup"
)

// MaxChange is the largest change that a [Memory] takes.
const MaxChange = 1 << 20

// ErrTooLarge is wrapped by the error of a [Memory] for a change beyond MaxChange, and
// for a batch beyond dedup.MaxBatch.
var ErrTooLarge = errors.New("storetest: too large")

var errClosed = errors.New("storetest: log is closed")

// Memory is a [dedup.Store] in memory, for tests: what it holds outlives the systems
// that use it, not the process. Its zero value is empty and ready, and works in bubbles
// of testing/synctest. It must not be copied. Methods may be called concurrently.
type Memory struct {
	mu       sync.Mutex // guards what follows
	nodes    map[string]*records
	failures []failure
	delay    time.Duration
	appends  int
	changes  int
}

// records are a node's.
type records struct {
	owner *memoryLog // who may append
	kept  []byte     // encoded changes
}

type failure struct {
	err    error
	stored bool
}

var _ dedup.Store = (*Memory)(nil)

// FailNext has the next Append, or the next step of a Rewrite, that no earlier FailNext
// has claimed fail with err: after it has stored its changes if stored is set, before
// otherwise. An owner that has been fenced gets ErrFenced instead, and uses nothing up.
func (m *Memory) FailNext(stored bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failures = append(m.failures, failure{err, stored})
}

// SetDelay has each Append, and each step of a Rewrite, wait for d before it stores
// anything, or until its ctx ends, which is then its error.
func (m *Memory) SetDelay(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.delay = d
}

// Appends returns how many calls of Append have succeeded, and with how many changes.
func (m *Memory) Appends() (calls, changes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.appends, m.changes
}

// Changes returns what is kept of a node, in order.
func (m *Memory) Changes(node string) []dedup.Change {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.nodes[node]; r != nil {
		return parse(r.kept)
	}
	return nil
}

// Take takes over what is kept for node.
func (m *Memory) Take(ctx context.Context, node, epoch string, load func(dedup.Change)) (dedup.Log, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l := &memoryLog{store: m, node: node, epoch: epoch}
	m.mu.Lock()
	if m.nodes == nil {
		m.nodes = map[string]*records{}
	}
	r := m.nodes[node]
	if r == nil {
		r = &records{}
		m.nodes[node] = r
	}
	r.owner = l
	kept := parse(r.kept)
	m.mu.Unlock()
	for _, c := range kept {
		load(c)
	}
	return l, nil
}

type memoryLog struct {
	store       *Memory
	node, epoch string
	closed      bool
}

// Append stores changes.
func (l *memoryLog) Append(ctx context.Context, changes []dedup.Change) error {
	var b []byte
	for _, c := range changes {
		if c.Size() > MaxChange {
			return fmt.Errorf("%w: a change of %d bytes", ErrTooLarge, c.Size())
		}
		b = c.Append(b)
	}
	if len(changes) > 1 && len(b) > dedup.MaxBatch {
		return fmt.Errorf("%w: a batch of %d bytes", ErrTooLarge, len(b))
	}
	if err := l.step(ctx, func(r *records) { r.kept = append(r.kept, b...) }); err != nil {
		return err
	}
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	l.store.appends++
	l.store.changes += len(changes)
	return nil
}

// Rewrite appends the changes one by one, and then, in one step, removes what was there
// before.
func (l *memoryLog) Rewrite(ctx context.Context, changes iter.Seq[dedup.Change]) error {
	from := 0
	if err := l.step(ctx, func(r *records) { from = len(r.kept) }); err != nil {
		return err
	}
	for c := range changes {
		b := c.Append(nil)
		if err := l.step(ctx, func(r *records) { r.kept = append(r.kept, b...) }); err != nil {
			return err
		}
	}
	return l.step(ctx, func(r *records) { r.kept = slices.Clone(r.kept[from:]) })
}

// Close ends the log.
func (l *memoryLog) Close() error {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	l.closed = true
	return nil
}

// step changes what is kept, or fails as it was told to.
func (l *memoryLog) step(ctx context.Context, change func(*records)) error {
	m := l.store
	m.mu.Lock()
	delay := m.delay
	m.mu.Unlock()
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.nodes[l.node]
	switch {
	case l.closed:
		return errClosed
	case r.owner != l:
		return fmt.Errorf("%w: its epoch is %s", dedup.ErrFenced, r.owner.epoch)
	}
	if len(m.failures) == 0 {
		change(r)
		return nil
	}
	f := m.failures[0]
	m.failures = m.failures[1:]
	if f.stored {
		change(r)
	}
	return f.err
}

// parse reads what append wrote.
func parse(b []byte) (all []dedup.Change) {
	for len(b) > 0 {
		c, rest, err := dedup.ParseChange(b)
		if err != nil {
			panic(err) // only what Append wrote is ever parsed
		}
		all, b = append(all, c), rest
	}
	return all
}
