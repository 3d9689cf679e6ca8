package journal

import (
	"slices"
	"sync"
	"time"

	"github.com/tandem-go/tandem/ledger"
)

// JobRecord is what the store keeps of a job: a request whose sender does not wait, and which a
// later start of the node runs if it has not begun. The exported fields are what the store had
// when this start began. The goroutine that uses the record owns them.
type JobRecord struct {
	journal *Journal
	id      ledger.ID
	at      time.Time // when the job was submitted

	Job     []byte    // as it was given to RecordJob
	Begun   bool      // its handler may have been called
	BegunAt time.Time // when an earlier start began it
	Done    bool
	Outcome []byte // once Done is set
}

// ID returns the job's name, as it was given to RecordJob.
func (r *JobRecord) ID() [16]byte { return r.id.Grant }

// Jobs returns the jobs that earlier starts have left, in the order of their submission. It has
// to be called before Run.
func (j *Journal) Jobs() []*JobRecord {
	jobs := map[ledger.ID]*JobRecord{}
	var inOrder []*JobRecord
	for c := range j.ledger.All() {
		switch r := jobs[c.ID]; {
		case c.Op == ledger.Submitted:
			r = &JobRecord{journal: j, id: c.ID, at: c.Time, Job: c.Outcome}
			jobs[c.ID], inOrder = r, append(inOrder, r)
		case r != nil && c.Op == ledger.Begun:
			r.Begun, r.BegunAt = true, c.Time
		case r != nil && c.Op == ledger.Done:
			r.Done, r.Outcome = true, c.Outcome
		}
	}
	slices.SortFunc(inOrder, func(a, b *JobRecord) int { return a.at.Compare(b.at) })
	return inOrder
}

// RecordJob stores a job. written is called once it is stored, or with an error if it is
// not known whether it is.
func (j *Journal) RecordJob(id [16]byte, job []byte, written func(*JobRecord, error)) {
	r := &JobRecord{journal: j, id: ledger.ID{Grant: id}, Job: job}
	j.Post(ledger.Change{Op: ledger.Submitted, ID: r.id, Outcome: job}, func(err error) { written(r, err) })
}

// End stores the job's outcome, and calls written with nil or an error. If the outcome was not
// stored, a later start does not know it, and runs the job if it had not begun.
func (r *JobRecord) End(outcome []byte, written func(error)) {
	r.journal.Post(ledger.Change{Op: ledger.Done, ID: r.id, Outcome: outcome}, written)
}

// Free makes the store forget the job.
func (r *JobRecord) Free() { r.journal.Freed(r.id) }

// Begin records that the job's handler is about to be called. When written is done, Begun says
// whether that was stored.
func (r *JobRecord) Begin(written *sync.WaitGroup) {
	if r.Begun {
		return
	}
	written.Add(1)
	r.journal.Post(ledger.Change{Op: ledger.Begun, ID: r.id}, func(err error) {
		r.Begun = err == nil
		written.Done()
	})
}
