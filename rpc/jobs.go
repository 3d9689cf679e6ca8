package rpc

import (
	"slices"
	"sync"
	"time"

	"github.com/tandem-go/tandem/dedup"
)

// JobRecord is what the store keeps of a job: a request whose sender does not wait, and
// that is run by a later start of the node if it had not begun. The exported fields are
// what was kept when this start began, and belong to whoever has the record.
type JobRecord struct {
	node *Node
	id   dedup.ID
	at   time.Time // of the latest change

	Job     []byte
	Begun   bool      // its handler may have been called
	BegunAt time.Time // of one that an earlier start has begun
	Done    bool
	Outcome []byte // once Done
}

// ID is the job's name, as it was given to RecordJob.
func (r *JobRecord) ID() [16]byte { return r.id.Grant }

// Restorer is a Handler that has jobs.
type Restorer interface {
	// Restore gets the jobs that earlier starts have left, in the order of their
	// submission, before any link is open.
	Restore([]*JobRecord)
}

// restore hands the jobs of the store to the handler.
func (n *Node) restore() {
	h, ok := n.cfg.Handler.(Restorer)
	if !ok || n.journal == nil {
		return
	}
	jobs := map[dedup.ID]*JobRecord{}
	var inOrder []*JobRecord
	for c := range n.journal.ledger.All() {
		switch r := jobs[c.ID]; {
		case c.Op == dedup.Submitted:
			r = &JobRecord{node: n, id: c.ID, at: c.Time, Job: c.Outcome}
			jobs[c.ID], inOrder = r, append(inOrder, r)
		case r != nil && c.Op == dedup.Begun:
			r.Begun, r.BegunAt = true, c.Time
		case r != nil && c.Op == dedup.Done:
			r.Done, r.Outcome = true, c.Outcome
		}
	}
	slices.SortFunc(inOrder, func(a, b *JobRecord) int { return a.at.Compare(b.at) })
	h.Restore(inOrder)
}

// RecordJob stores a job. written is called once it is stored, or with an error when
// nobody knows whether it is.
func (n *Node) RecordJob(id [16]byte, job []byte, written func(*JobRecord, error)) {
	r := &JobRecord{node: n, id: dedup.ID{Grant: id}, Job: job}
	n.journal.post(dedup.Change{Op: dedup.Submitted, ID: r.id, Outcome: job}, func(err error) { written(r, err) })
}

// End stores the job's outcome and calls written, whether that succeeded or not: if not,
// a later start does not know what became of it, and runs it if it had not begun.
func (r *JobRecord) End(outcome []byte, written func(error)) {
	r.node.journal.post(dedup.Change{Op: dedup.Done, ID: r.id, Outcome: outcome}, written)
}

// Free has the store forget the job.
func (r *JobRecord) Free() { r.node.journal.freed(r.id) }

// begin has the store note that the job's handler is about to be called. Begun says
// whether it did.
func (r *JobRecord) begin(written *sync.WaitGroup) {
	if r.Begun {
		return
	}
	written.Add(1)
	r.node.journal.post(dedup.Change{Op: dedup.Begun, ID: r.id}, func(err error) {
		r.Begun = err == nil
		written.Done()
	})
}
