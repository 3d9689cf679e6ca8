package rpc

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/tandem-go/tandem/dedup"
	"github.com/tandem-go/tandem/transport"
)

const (
	writeTimeout  = 5 * time.Second
	expireEvery   = time.Minute
	rewriteAfter  = 8 << 20 // bytes written, at least, and
	rewriteFactor = 4       // as many times what is alive, before the log is rewritten
	rewriteCount  = 1 << 10 // changes that a start has read: it rewrites them, so that the next one is quick
)

// journal is the node's side of its dedup.Store. Its goroutine writes all that has
// gathered while it wrote before, so one write serves everybody who waits: a group
// commit. What the store holds is in memory as well, so looking up costs no I/O.
type journal struct {
	node  *Node
	log   dedup.Log
	taken time.Time     // when this start of the node took the records over
	wake  chan struct{} // a token when the queue has grown

	waiting *share // what waits counts here, whoever caused it

	failing bool // the latest write failed; the journal's goroutine's own

	mu     sync.Mutex            // guards what follows
	ledger *dedup.Ledger         // changed by the journal's goroutine alone
	loaded int                   // bytes that the log had when it was taken over
	read   int                   // changes, likewise
	lost   map[dedup.ID]struct{} // keyed requests that an earlier start had begun and not done
	queue  []posting
	queued int  // bytes of the queue and of what is being written, which count in waiting
	fenced bool // another start of this node has taken the records over
	closed bool
}

// posting is a change that waits to be written.
type posting struct {
	change  dedup.Change
	written func(error) // nil: nobody waits, and it is tried again until it is written
}

// openJournal takes over what the store keeps for this node.
func openJournal(ctx context.Context, n *Node, store dedup.Store) (*journal, error) {
	j := &journal{node: n, wake: make(chan struct{}, 1), ledger: dedup.NewLedger(), lost: map[dedup.ID]struct{}{}, waiting: &share{of: &n.account, principal: "store"}}
	log, err := store.Take(ctx, n.cfg.Name, n.cfg.Epoch, func(c dedup.Change) {
		j.loaded += c.Size()
		j.read++
		j.ledger.Apply(c)
	})
	if err != nil {
		return nil, err
	}
	j.log, j.taken = log, time.Now()
	for c := range j.ledger.All() {
		if c.ID.Seq == 0 && c.Op == dedup.Begun {
			j.lost[c.ID] = struct{}{}
		} else if c.ID.Seq == 0 && c.Op == dedup.Done {
			delete(j.lost, c.ID)
		}
	}
	return j, nil
}

// post has a change written. written, if it is not nil, is called from the journal's
// goroutine once it is, or with an error when nobody knows whether it was.
func (j *journal) post(c dedup.Change, written func(error)) {
	c.Time = time.Now()
	var refused error
	j.mu.Lock()
	switch {
	case j.fenced || j.closed:
		refused = dedup.ErrFenced
	case (c.Op == dedup.Begun || c.Op == dedup.Submitted) && j.fullLocked():
		refused = errBacklog
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
	if refused == errBacklog {
		j.sayFull()
	}
	if written != nil {
		written(refused)
	}
}

// next takes as much from the queue as one write can hold.
func (j *journal) next() []posting {
	j.mu.Lock()
	defer j.mu.Unlock()
	size, n := 0, 0
	for n < len(j.queue) {
		if size += j.queue[n].change.Size(); size > dedup.MaxBatch && n > 0 {
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

// run is the journal's goroutine.
func (j *journal) run(ctx context.Context) {
	expire := time.NewTicker(expireEvery)
	defer expire.Stop()
	look, stop := j.looks()
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
		case <-expire.C: // also while there is always something to write
			j.expire()
		default:
		}
		batch := j.next()
		if len(batch) == 0 {
			select {
			case <-j.wake:
			case <-look:
				j.look(ctx)
			case <-expire.C:
				j.expire()
			case <-ctx.Done():
			}
			continue
		}
		n, err := j.write(ctx, batch)
		j.changed(err)
		if written += n; err == nil {
			failed = 0
			written = j.rewrite(ctx, written)
			continue
		}
		j.rescue(ctx, err)
		failed++
		select {
		case <-time.After(j.node.jitter(failed)):
		case <-ctx.Done():
		}
	}
}

// write writes a batch and tells those who wait for it. It returns the bytes written.
func (j *journal) write(ctx context.Context, batch []posting) (int, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	changes, size := make([]dedup.Change, len(batch)), 0
	for i, p := range batch {
		changes[i] = p.change
		size += p.change.Size()
	}
	err := j.log.Append(ctx, changes)
	var hopeless []posting
	j.mu.Lock()
	wasFenced := j.fenced
	if err == nil {
		for _, c := range changes {
			j.ledger.Apply(c)
			if c.Op == dedup.Freed {
				delete(j.lost, c.ID)
			}
		}
	} else {
		size = 0
		j.queue = slices.DeleteFunc(j.queue, func(p posting) bool { // refused as well: nothing of them was stored
			if p.change.Op == dedup.Begun {
				hopeless = append(hopeless, p)
			}
			return p.change.Op == dedup.Begun
		})
		var again []posting
		for _, p := range batch {
			switch {
			case p.written == nil || p.change.Op == dedup.Done:
				again = append(again, posting{change: p.change}) // the caller is not kept waiting
			case p.change.Op == dedup.Begun && j.isJob(p.change.ID): // refused as well, which is its outcome
			default:
				again = append(again, posting{change: dedup.Change{Op: dedup.Freed, ID: p.change.ID, Time: p.change.Time}})
			}
		}
		if j.fenced = j.fenced || errors.Is(err, dedup.ErrFenced); !j.fenced && !j.closed {
			j.queue = append(again, j.queue...)
		}
	}
	if j.fenced {
		hopeless, j.queue = append(hopeless, j.queue...), nil
	}
	fenced := j.fenced && !wasFenced
	j.recountLocked()
	j.mu.Unlock()
	if fenced {
		j.node.cfg.OnFenced(err)
	}
	for _, p := range append(batch, hopeless...) {
		if p.written != nil {
			p.written(err)
		}
	}
	return size, err
}

// isJob reports whether an ID is a job's. j.mu is held.
func (j *journal) isJob(id dedup.ID) bool {
	page, found := j.ledger.Lookup(id)
	return found && page.Job != nil
}

// rewrite shortens the log when most of it is about what is gone. It returns how many
// bytes have been written since it was last short.
func (j *journal) rewrite(ctx context.Context, written int) int {
	if written < rewriteAfter || written < rewriteFactor*j.ledger.Bytes() {
		return written
	}
	ctx, cancel := context.WithTimeout(ctx, 10*writeTimeout)
	defer cancel()
	if err := j.log.Rewrite(ctx, j.ledger.All()); err != nil {
		j.mu.Lock()
		fenced := errors.Is(err, dedup.ErrFenced) && !j.fenced
		j.fenced = j.fenced || fenced
		j.mu.Unlock()
		if fenced {
			j.node.cfg.OnFenced(err)
		}
		j.node.cfg.Logger.Warn("the log of durable requests was not shortened", "err", err)
		return written / 2 // later again
	}
	return 0
}

// expire forgets what nobody can ask for any more. Sessions of earlier starts are kept
// for a while after this one began.
func (j *journal) expire() {
	now, keep := time.Now(), j.node.cfg.KeyLife
	if now.Sub(j.taken) < keep { // whatever an earlier start's clock said
		return
	}
	live := func(name [16]byte) bool { return j.node.session(name) != nil || j.node.keys.runs(name) }
	var gone []posting
	for c := range j.ledger.Expired(now.Add(-keep), live) { // nobody else changes the ledger
		gone = append(gone, posting{change: c})
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	young := map[dedup.ID]bool{} // what is about to change has not expired
	for _, p := range j.queue {
		young[p.change.ID] = true
	}
	for _, p := range gone {
		if !young[p.change.ID] {
			j.queue = append(j.queue, p)
			j.countLocked(p.change.Size())
		}
	}
}

// close writes what is left, once, and closes the log.
func (j *journal) close() {
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
		j.node.cfg.Logger.Warn("closing the log of durable requests", "err", err)
	}
}

// settled returns what an earlier attempt under a key has left behind, if it is the
// key's outcome: a record of this start that is not done is one that was refused, or
// that is in the table of keys.
func (j *journal) settled(id dedup.ID) (dedup.Page, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	page, found := j.ledger.Lookup(id)
	_, lost := j.lost[id]
	return page, found && (page.Done || lost)
}

// has reports whether a request's outcome is in the store. A nil journal has nothing.
func (j *journal) has(id dedup.ID) bool {
	if j == nil {
		return false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	page, found := j.ledger.Lookup(id)
	return found && page.Done
}

// recall returns whom a session of an earlier start belonged to, if it is known, and what
// is kept of a request of it: both at one moment, or a session that is just forgotten
// would look as if the request had never begun.
func (j *journal) recall(g transport.Grant, id dedup.ID) (owner string, known bool, page dedup.Page, found bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	owner, known = j.ledger.Owner(g)
	page, found = j.ledger.Lookup(id)
	return owner, known, page, found
}

// sessionOpened, sessionEnded and freed have the store follow what happens to sessions
// and records. A nil journal, of a node without a store, does nothing.
func (j *journal) sessionOpened(s *session) {
	if j != nil {
		j.post(dedup.Change{Op: dedup.Opened, ID: dedup.ID{Grant: s.grant}, Owner: ownerName(s.id, s.principal)}, nil)
	}
}

func (j *journal) sessionEnded(s *session) {
	if j != nil {
		j.post(dedup.Change{Op: dedup.Closed, ID: dedup.ID{Grant: s.grant}}, nil)
	}
}

func (j *journal) freed(id dedup.ID) { j.post(dedup.Change{Op: dedup.Freed, ID: id}, nil) }

// ownerName is who may ask for a session's records. No two are the same, whatever
// bytes a principal has: node and epoch have no NUL.
func ownerName(id transport.Peer, principal string) string {
	return id.Node + "\x00" + id.Epoch + "\x00" + principal
}

// Begin records that the handlers of durable requests and jobs are about to be called,
// all in one write, and returns when that is safe. A request that could not be recorded
// has been refused, and its Start reports false; such a job is not Begun.
func (n *Node) Begin(ins []*Inbound, jobs ...*JobRecord) {
	if n.journal == nil {
		return
	}
	var written sync.WaitGroup
	for _, in := range ins {
		if !in.begin() {
			continue
		}
		written.Add(1)
		n.journal.post(dedup.Change{Op: dedup.Begun, ID: in.name.id, Fingerprint: in.name.print}, func(err error) {
			if err != nil {
				in.notBegun()
				in.Refuse(Errorf(unwritten(err), NotRun, "its record could not be written: %w", err))
			}
			written.Done()
		})
	}
	for _, r := range jobs {
		r.begin(&written)
	}
	written.Wait()
}

// begin notes that a queued request gets a record in the store.
func (in *Inbound) begin() bool {
	s := in.session
	as := in.name
	if !in.isKeyed() {
		as = &name{dedup.ID{Grant: s.grant, Seq: in.Seq}, printOf(s.grant, in.Target, in.TypeID, in.Codec, in.body)}
	}
	s.mu.Lock()
	state, _ := s.table.Lookup(in.Seq)
	queued := state == dedup.Queued && !in.begun
	expired := queued && in.deadline > 0 && s.node.now() >= in.deadline
	if queued && !expired {
		in.begun, in.name = true, as
	}
	s.mu.Unlock()
	if expired { // now: a late copy could give it more time, and it would run without a record
		in.Refuse(errExpired)
	}
	return queued && !expired
}

func (in *Inbound) notBegun() {
	in.session.mu.Lock()
	in.begun = false
	in.session.mu.Unlock()
}

// printOf is the fingerprint of a request that is good on every start of every node,
// bound to what names the request.
func printOf(name [16]byte, target string, typeID uint64, codec uint8, body []byte) uint64 {
	h := sha256.New()
	h.Write(name[:])
	h.Write(binary.BigEndian.AppendUint64([]byte{codec, uint8(len(target))}, typeID))
	h.Write([]byte(target))
	h.Write(body)
	return binary.BigEndian.Uint64(h.Sum(nil))
}
