// Package journal writes a node's records to its ledger.Store, where they outlive the process.
package journal

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/internal/engine/account"
	"github.com/tandem-go/tandem/internal/engine/host"
	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/transport"
)

const (
	writeTimeout  = 5 * time.Second
	expireEvery   = time.Minute
	rewriteAfter  = 8 << 20 // the log is rewritten when at least this many bytes were written, and
	rewriteFactor = 4       // this many times the bytes that are still needed
	rewriteCount  = 1 << 10 // a start that has read more changes rewrites them, so that the next start is quick
)

// Journal writes what happens to a node's requests and jobs to its store. While its goroutine
// writes, further changes are queued, and one write stores all of them: this is a group commit.
// The content of the store is in memory too, so a look-up needs no I/O. Its methods may be
// called concurrently, except Jobs and Run.
type Journal struct {
	Config
	log   ledger.Log
	taken time.Time     // when this start of the node took the records over
	wake  chan struct{} // has a token when the queue has grown

	waiting *account.Share // the bytes that wait count in this share, no matter who caused them

	failing atomic.Pointer[error] // why the latest write failed, or check; nil: it did not. Written by the journal's goroutine only

	mu         sync.Mutex             // guards what follows
	ledger     *ledger.Ledger         // changed only by the journal's goroutine
	loaded     int                    // bytes of the log when it was taken over
	read       int                    // number of changes in the log when it was taken over
	unfinished map[ledger.ID]struct{} // requests with a key that an earlier start had begun and not finished
	queue      []posting
	queued     int  // bytes of the queue and of the current write, which count in waiting
	fenced     bool // another start of this node has taken the records over
	closed     bool
}

// Config describes a Journal. All fields are required.
type Config struct {
	Host     *host.Host
	Account  *account.Account
	Epoch    string
	Keep     time.Duration            // how long the records of ended sessions and keys are kept, and the sessions of earlier starts
	Live     func(name [16]byte) bool // reports whether a session or key of this start has the name
	OnFenced func(error)              // is called when another start of this node has taken its records over
}

// posting is a change that waits to be written.
type posting struct {
	change  ledger.Change
	written func(error) // nil: nobody waits, and the change is tried until it is written
}

// Open takes over the records that the store keeps for the node. Earlier starts of the node
// cannot write there any more.
func Open(ctx context.Context, cfg Config, store ledger.Store) (*Journal, error) {
	j := &Journal{Config: cfg, wake: make(chan struct{}, 1), ledger: ledger.New(), unfinished: map[ledger.ID]struct{}{}, waiting: cfg.Account.Own("store")}
	log, err := store.Take(ctx, cfg.Host.Name, cfg.Epoch, func(c ledger.Change) {
		j.loaded += c.Size()
		j.read++
		j.ledger.Apply(c)
	})
	if err != nil {
		return nil, err
	}
	j.log, j.taken = log, time.Now()
	for c := range j.ledger.All() {
		if c.ID.Seq == 0 && (c.Op == ledger.Begun || c.Op == ledger.Numbered) {
			j.unfinished[c.ID] = struct{}{}
		} else if c.ID.Seq == 0 && c.Op == ledger.Done {
			delete(j.unfinished, c.ID)
		}
	}
	return j, nil
}

// Bytes returns how many bytes of the store are still needed.
func (j *Journal) Bytes() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.ledger.Bytes()
}

// Taken returns when this start of the node took the records over.
func (j *Journal) Taken() time.Time { return j.taken }

// Post queues a change to be written. written, if it is not nil, is called from the journal's
// goroutine once the change is stored, or with an error if it is not known whether it is. If
// the change is not accepted at all, Post calls written itself.
func (j *Journal) Post(c ledger.Change, written func(error)) {
	c.Time = time.Now()
	var refused error
	j.mu.Lock()
	switch {
	case j.fenced || j.closed:
		refused = ledger.ErrFenced
	case (begins(c) || c.Op == ledger.Submitted) && j.fullLocked():
		refused = ErrFull
	default:
		j.queue = append(j.queue, posting{c, written})
		j.countLocked(c.Size())
	}
	j.mu.Unlock()
	if refused == nil {
		select {
		case j.wake <- struct{}{}:
		default:
		}
		return
	}
	if refused == ErrFull {
		j.logFull()
	}
	if written != nil {
		written(refused)
	}
}

// next removes from the queue as much as fits into one write, and returns it.
func (j *Journal) next() []posting {
	j.mu.Lock()
	defer j.mu.Unlock()
	size, n := 0, 0
	for n < len(j.queue) {
		if size += j.queue[n].change.Size(); size > ledger.MaxBatch && n > 0 {
			break
		}
		n++
	}
	batch := j.queue[:n:n]
	if j.queue = j.queue[n:]; len(j.queue) == 0 {
		j.queue = nil
	}
	return batch
}

// Run writes what is posted until ctx ends, then writes what is left and closes the log. It is
// the journal's goroutine.
func (j *Journal) Run(ctx context.Context) {
	expire := time.NewTicker(expireEvery)
	defer expire.Stop()
	look, stop := j.checkTicks()
	defer stop()
	written, failed := j.loaded, 0
	if alive := j.ledger.Bytes(); j.read > rewriteCount && (alive < rewriteAfter || j.loaded > 2*alive) {
		written = j.rewrite(ctx, max(written, rewriteAfter, rewriteFactor*alive))
	}
	for {
		if ctx.Err() != nil {
			j.close()
			return
		}
		select {
		case <-expire.C: // this is checked here too, because the queue may never be empty
			j.expire()
		default:
		}
		batch := j.next()
		if len(batch) == 0 {
			select {
			case <-j.wake:
			case <-look:
				j.check(ctx)
			case <-expire.C:
				j.expire()
			case <-ctx.Done():
			}
			continue
		}
		n, err := j.write(ctx, batch)
		j.reportHealth(err)
		if written += n; err == nil {
			failed = 0
			written = j.rewrite(ctx, written)
			continue
		}
		j.restoreLost(ctx, err)
		failed++
		select {
		case <-time.After(j.Host.Jitter(failed)):
		case <-ctx.Done():
		}
	}
}

// write writes a batch and calls written of each change. It returns how many bytes it wrote.
func (j *Journal) write(ctx context.Context, batch []posting) (int, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	changes, size := make([]ledger.Change, len(batch)), 0
	for i, p := range batch {
		changes[i] = p.change
		size += p.change.Size()
	}
	err := j.log.Append(ctx, changes)
	var refused []posting
	j.mu.Lock()
	wasFenced := j.fenced
	if err == nil {
		for _, c := range changes {
			j.ledger.Apply(c)
			if c.Op == ledger.Freed || c.Op == ledger.Numbered {
				delete(j.unfinished, c.ID)
			}
		}
	} else {
		size = 0
		j.queue = slices.DeleteFunc(j.queue, func(p posting) bool { // requests and jobs that wait to begin are refused as well, since none of this was stored
			if begins(p.change) {
				refused = append(refused, p)
			}
			return begins(p.change)
		})
		var again []posting
		for _, p := range batch {
			switch {
			case p.written == nil || p.change.Op == ledger.Done:
				again = append(again, posting{change: p.change}) // the caller does not wait for the next attempt
			case p.change.Op == ledger.Begun && j.isJob(p.change.ID): // the job is refused, and that is its outcome
			default:
				free := ledger.Change{Op: ledger.Freed, ID: p.change.ID, Time: p.change.Time}
				if p.change.Op == ledger.Numbered {
					free.Fingerprint = p.change.Fingerprint
				}
				again = append(again, posting{change: free})
			}
		}
		if j.fenced = j.fenced || errors.Is(err, ledger.ErrFenced); !j.fenced && !j.closed {
			j.queue = append(again, j.queue...)
		}
	}
	if j.fenced {
		refused, j.queue = append(refused, j.queue...), nil
	}
	fenced := j.fenced && !wasFenced
	j.recountLocked()
	j.mu.Unlock()
	if fenced {
		j.OnFenced(err)
	}
	for _, p := range append(batch, refused...) {
		if p.written != nil {
			p.written(err)
		}
	}
	return size, err
}

// begins reports whether a change says that a handler is about to be called.
func begins(c ledger.Change) bool { return c.Op == ledger.Begun || c.Op == ledger.Numbered }

// isJob reports whether an ID is that of a job. j.mu is held.
func (j *Journal) isJob(id ledger.ID) bool {
	page, found := j.ledger.Lookup(id)
	return found && page.Job != nil
}

// rewrite replaces the log by a shorter one when most of it is not needed any more. written is
// how many bytes were written since the last rewrite; it returns what that is now.
func (j *Journal) rewrite(ctx context.Context, written int) int {
	if written < rewriteAfter || written < rewriteFactor*j.ledger.Bytes() {
		return written
	}
	ctx, cancel := context.WithTimeout(ctx, 10*writeTimeout)
	defer cancel()
	if err := j.log.Rewrite(ctx, j.ledger.All()); err != nil {
		j.mu.Lock()
		fenced := errors.Is(err, ledger.ErrFenced) && !j.fenced
		j.fenced = j.fenced || fenced
		j.mu.Unlock()
		if fenced {
			j.OnFenced(err)
		}
		j.Host.Logger.Warn("the log of durable requests was not shortened", "err", err)
		return written / 2 // so that it is tried again, but not at once
	}
	return 0
}

// expire queues the removal of records for which nobody can ask any more. Sessions of earlier
// starts are kept for the time Keep after this start took them over.
func (j *Journal) expire() {
	now := time.Now()
	if now.Sub(j.taken) < j.Keep { // the clock of an earlier start may have been wrong
		return
	}
	var gone []posting
	for c := range j.ledger.Expired(now.Add(-j.Keep), j.Live) { // without the lock, because only this goroutine changes the ledger
		gone = append(gone, posting{change: c})
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	pending := map[ledger.ID]bool{} // records with queued changes have not expired
	for _, p := range j.queue {
		pending[p.change.ID] = true
	}
	for _, p := range gone {
		if !pending[p.change.ID] {
			j.queue = append(j.queue, p)
			j.countLocked(p.change.Size())
		}
	}
}

// close tries once to write what is left, and closes the log.
func (j *Journal) close() {
	for batch := j.next(); len(batch) > 0; batch = j.next() {
		if _, err := j.write(context.Background(), batch); err != nil {
			break
		}
	}
	j.mu.Lock()
	j.closed = true
	left := j.queue
	j.queue = nil
	j.recountLocked()
	j.mu.Unlock()
	for _, p := range left {
		if p.written != nil {
			p.written(errors.New("rpc: this system is closed"))
		}
	}
	if err := j.log.Close(); err != nil {
		j.Host.Logger.Warn("closing the log of durable requests", "err", err)
	}
}

// Earlier returns the record of an earlier attempt under a key, and reports whether it decides
// the key's outcome: the attempt is done, or an earlier start of the node had begun it. If this
// start has begun it, it was refused or is in the table of keys.
func (j *Journal) Earlier(id ledger.ID) (ledger.Page, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	page, found := j.ledger.Lookup(id)
	_, unfinished := j.unfinished[id]
	return page, found && (page.Done || unfinished)
}

// Outbox returns how far the record of an outbox goes: the messages up to number last are over. doubt
// is the number of one that an earlier start had begun and not finished; 0: there is none. A nil
// Journal has no records.
func (j *Journal) Outbox(id ledger.ID) (last, doubt uint64) {
	if j == nil {
		return 0, 0
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	page, _ := j.ledger.Lookup(id)
	if _, unfinished := j.unfinished[id]; unfinished {
		doubt = page.Number
	}
	return page.Number, doubt
}

// Unnumbered makes the store forget that a message of an outbox began, because it did not.
func (j *Journal) Unnumbered(id ledger.ID, number uint64) {
	j.Post(ledger.Change{Op: ledger.Freed, ID: id, Fingerprint: number}, nil)
}

// Has reports whether the outcome of a request is in the store. A nil Journal has none.
func (j *Journal) Has(id ledger.ID) bool {
	if j == nil {
		return false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	page, found := j.ledger.Lookup(id)
	return found && page.Done
}

// Recall returns the owner of a session of an earlier start, whether that is known, the record
// of a request in it, and whether there is one. It looks both up under one lock: otherwise, if
// the session expired in between, it would look as if the request had never begun.
func (j *Journal) Recall(g transport.Grant, id ledger.ID) (owner string, known bool, page ledger.Page, found bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	owner, known = j.ledger.Owner(g)
	page, found = j.ledger.Lookup(id)
	return owner, known, page, found
}

// Session returns the grant of a session of this start, or of an earlier one, that match accepts. A nil Journal has none.
func (j *Journal) Session(match func(grant [16]byte) bool) (grant [16]byte, found bool) {
	if j == nil {
		return grant, false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.ledger.Session(match)
}

// SessionOpened records that a session was opened. Only its owner may ask later what became of
// requests in it. A nil Journal, of a node without a store, does nothing.
func (j *Journal) SessionOpened(g transport.Grant, owner string) {
	if j != nil {
		j.Post(ledger.Change{Op: ledger.Opened, ID: ledger.ID{Grant: g}, Owner: owner}, nil)
	}
}

// SessionEnded records that a session has ended. A nil Journal does nothing.
func (j *Journal) SessionEnded(g transport.Grant) {
	if j != nil {
		j.Post(ledger.Change{Op: ledger.Closed, ID: ledger.ID{Grant: g}}, nil)
	}
}

// Freed makes the store forget a request or a job.
func (j *Journal) Freed(id ledger.ID) { j.Post(ledger.Change{Op: ledger.Freed, ID: id}, nil) }
