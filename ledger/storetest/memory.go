package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/tandem-go/tandem/ledger"
)

// MaxChange is the largest change that a [Memory] takes.
const MaxChange = 1 << 20

// ErrTooLarge is wrapped by the error of a [Memory] for a change of more than MaxChange
// bytes, and for a batch of more than ledger.MaxBatch.
var ErrTooLarge = errors.New("storetest: too large")

var errClosed = errors.New("storetest: log is closed")

// Memory is a [ledger.Store] in memory, for tests. What it keeps outlives the systems that
// use it, but not the process. Its zero value is empty and ready to use. It works in bubbles
// of testing/synctest. It must not be copied. Its methods may be called concurrently.
type Memory struct {
	mu       sync.Mutex // guards what follows
	nodes    map[string]*records
	failures []failure
	delay    time.Duration
	appends  int
	changes  int
}

// records are what is kept of one node.
type records struct {
	owner *memoryLog // who may append
	kept  []byte     // encoded changes
}

type failure struct {
	err    error
	stored bool
}

var _ ledger.Store = (*Memory)(nil)

// FailNext makes the next Append, or the next step of a Rewrite, fail with err. If stored
// is true it fails after it has stored its changes, otherwise before. Further calls of
// FailNext are for the steps after that one. An owner that is fenced gets ErrFenced instead,
// which does not count as a step.
func (m *Memory) FailNext(stored bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failures = append(m.failures, failure{err, stored})
}

// SetDelay makes each Append, and each step of a Rewrite, wait for d before it stores
// anything. If its ctx ends meanwhile, it returns the error of ctx.
func (m *Memory) SetDelay(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.delay = d
}

// Appends returns how many calls of Append have succeeded, and how many changes they stored.
func (m *Memory) Appends() (calls, changes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.appends, m.changes
}

// Changes returns the changes that are kept of a node, in order.
func (m *Memory) Changes(node string) []ledger.Change {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.nodes[node]; r != nil {
		return parse(r.kept)
	}
	return nil
}

// Take implements [ledger.Store].
func (m *Memory) Take(ctx context.Context, node, epoch string, load func(ledger.Change)) (ledger.Log, error) {
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

// Append implements [ledger.Log].
func (l *memoryLog) Append(ctx context.Context, changes []ledger.Change) error {
	var b []byte
	for _, c := range changes {
		if c.Size() > MaxChange {
			return fmt.Errorf("%w: a change of %d bytes", ErrTooLarge, c.Size())
		}
		b = c.Append(b)
	}
	if len(changes) > 1 && len(b) > ledger.MaxBatch {
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
func (l *memoryLog) Rewrite(ctx context.Context, changes iter.Seq[ledger.Change]) error {
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

// Close makes all later calls fail.
func (l *memoryLog) Close() error {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	l.closed = true
	return nil
}

// step changes what is kept, or fails as FailNext has said.
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
		return fmt.Errorf("%w: its epoch is %s", ledger.ErrFenced, r.owner.epoch)
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

// parse decodes the changes in b.
func parse(b []byte) (all []ledger.Change) {
	for len(b) > 0 {
		c, rest, err := ledger.ParseChange(b)
		if err != nil {
			panic(err) // b holds only what Append has encoded
		}
		all, b = append(all, c), rest
	}
	return all
}
