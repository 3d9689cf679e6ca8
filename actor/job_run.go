package actor

import (
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/internal/engine/account"
	"github.com/tandem-go/tandem/internal/engine/journal"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/internal/trail"
	"github.com/tandem-go/tandem/rpc"
)

// job is a request whose outcome is kept until somebody asks for it. In its actor's mailbox it
// takes the place of a caller.
type job struct {
	sys       *System
	id        string
	principal string
	origin    *server.Origin // nil: this node
	actor     string         // the actor that does the job
	typeID    uint64         // of its message
	codec     uint8
	remote    bool               // it was submitted from another node: its result is encoded at once
	of        *cell              // its actor; nil until it has one; guarded by the table's lock
	typ       reflect.Type       // the declared type of the result; nil: the type of the value
	target    string             // the name of its actor, for a durable job that an earlier start has left
	record    *journal.JobRecord // of a durable job; nil otherwise
	stored    *storedJob         // set while the job waits for its actor to be spawned
	print     uint64             // fingerprint of a durable job, as it is stored
	kept      int                // bytes of the result; guarded by the table's lock
	counted   bool               // the table does not count it as pending any more; guarded by the table's lock
	bodySize  int                // bytes of the message, encoded
	memory    *account.Memory    // the principal's memory, in which held bytes are counted; nil: none are; guarded by the table's lock
	held      int                // bytes counted for the message, and later for the result
	asked     rpc.RequestID      // the request that has submitted it; zero: it came from this node, or is one that an earlier start has left

	mu       sync.Mutex // guards what follows
	report   jobReport
	canceled bool
	ending   bool // its outcome is being recorded
	onCancel func()
	waiting  []awaiter
	item     item          // the item in the mailbox, until the job starts
	away     bool          // it waits to be put into the mailbox again
	pause    time.Duration // how long it waits
	trail    trail.Ref     // of the notes on it
}

// awaiter is a request that waits for the end of a job.
type awaiter struct {
	later     *Deferred[jobReport]
	remote    bool
	stateOnly bool        // it does not want the result
	turn      *time.Timer // answers it when its turn ends
}

// tell answers an awaiter of j. It ignores an error, which says that the caller has cancelled.
func (w *awaiter) tell(j *job, r jobReport) {
	if w.turn != nil {
		w.turn.Stop()
	}
	if w.stateOnly {
		r = r.without()
	}
	if refusal := w.later.d.ctx.mayUse(j.actor, j.typeID, access.Redeem); refusal != nil { // the rules have changed meanwhile
		_ = w.later.d.end(func(r request) error { r.Fail(refusal); return nil })
		return
	}
	_ = w.later.Answer(j.ready(r, w.remote))
}

// Start, WillNotRun, Fail, PutBack, Deadline and OnCancel implement request.
func (j *job) Start() bool {
	room := !j.remote || j.sys.jobs.starts(j, 0)
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.report.State != rpc.JobAccepted || j.canceled || j.ending || j.away:
		return false // it has its outcome, is about to get it, or waits for its turn again
	case j.record != nil && !j.record.Begun: // it was put into the mailbox again, and is not prepared
		return false
	case j.record == nil && !room:
		j.putOffLocked()
		return false
	}
	j.report.State, j.item = rpc.JobRunning, item{}
	j.noteLocked(trail.Running, jobReport{})
	return true
}

func (j *job) WillNotRun() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.canceled || j.ending || j.report.State.Over()
}

func (j *job) Fail(err *rpc.Error) {
	if err.Verdict == rpc.NotRun && j.record != nil && j.sys.draining() {
		return // it runs at the next start of the node
	}
	j.fail(err)
}

// PutBack has the job wait for another turn, with the item that keeps has set.
func (j *job) PutBack() bool {
	j.mu.Lock()
	j.onCancel = nil
	again := j.report.State == rpc.JobRunning && !j.canceled && !j.ending
	if again {
		j.report.State = rpc.JobAccepted
	}
	j.mu.Unlock()
	if !again {
		j.Fail(errNotAgain)
	}
	return again
}

// keeps sets the item that is put into the mailbox again if the job cannot start.
func (j *job) keeps(it item) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.item = it
}

func (j *job) Deadline() (time.Time, bool) { return time.Time{}, false }

func (j *job) OnCancel(fn func()) {
	j.mu.Lock()
	canceled := j.canceled
	j.onCancel = fn
	j.mu.Unlock()
	if canceled && fn != nil {
		fn()
	}
}

// answer ends the job with its result.
func (j *job) answer(v any) error {
	r := jobReport{State: rpc.JobDone, value: v, typ: j.typ}
	if r.typ == nil {
		r.typ = reflect.TypeOf(v)
	}
	if r.typ == nil {
		return rpc.Errorf(rpc.Invalid, rpc.HasRun, "a reply of nil has no type")
	}
	if !j.remote && !j.sys.cfg.CopyLocal {
		j.end(r)
		return nil
	}
	r, err := j.encoded(r)
	if err != nil {
		return err
	}
	if j.remote && !j.sys.jobs.keep(j, len(r.Body)) {
		j.end(jobReport{State: rpc.JobFailed, Code: rpc.ReplyDropped, Verdict: rpc.HasRun,
			Message: fmt.Sprintf("there was no room for the result of %d bytes (rpc.Limits.MemoryBytes)", len(r.Body))})
		return nil
	}
	j.end(r)
	return nil
}

// encoded returns a report with its result encoded.
func (j *job) encoded(r jobReport) (jobReport, error) {
	if r.typ == nil {
		return r, nil
	}
	typeID, body, err := j.sys.encodeAs(j.codec, r.value, r.typ, nil)
	r.TypeID, r.Codec, r.Body, r.value, r.typ = typeID, j.codec, body, nil, nil
	return r, err
}

// ready is the report for an awaiter, with the result encoded if the awaiter is remote.
func (j *job) ready(r jobReport, remote bool) jobReport {
	if !remote || r.typ == nil {
		return r
	}
	r, err := j.encoded(r)
	if err != nil {
		return jobReport{State: rpc.JobFailed, Code: rpc.Undecodable, Verdict: rpc.HasRun, Message: err.Error()}
	}
	return r
}

func (j *job) fail(err *rpc.Error) {
	j.mu.Lock()
	state := rpc.JobFailed
	if j.canceled {
		state = rpc.JobCancelled
	}
	j.mu.Unlock()
	j.end(jobReport{State: state, Code: err.Code, Verdict: err.Verdict, Message: wire.Truncate(err.Message), User: err.User})
}

// end gives the job its outcome, unless it has one. The outcome of a durable job is recorded
// first.
func (j *job) end(r jobReport) {
	j.mu.Lock()
	if j.ending || j.report.State.Over() {
		j.mu.Unlock()
		return
	}
	j.ending = true
	r.Done, r.Total = j.report.Done, j.report.Total
	j.mu.Unlock()
	if j.record == nil {
		j.apply(r)
		return
	}
	kept, err := j.encoded(r)
	var outcome []byte
	if err == nil {
		outcome, err = records.Append(nil, kept)
	}
	if err == nil && len(outcome) > maxJobBytes {
		err = rpc.Errorf(rpc.ReplyDropped, rpc.HasRun, "the result of %d bytes is too large to be recorded, the limit is %d", len(outcome), maxJobBytes)
	}
	if err != nil {
		e := failure(err)
		r = jobReport{State: rpc.JobFailed, Code: rpc.ReplyDropped, Verdict: rpc.HasRun, Message: e.Message}
		outcome, _ = records.Append(nil, r)
	}
	j.record.End(outcome, func(err error) {
		if err != nil && r.State != rpc.JobDone && r.Verdict == rpc.NotRun {
			r.Verdict = rpc.Unknown // it is still recorded as a job to run, and another start may run it
		}
		j.apply(r)
	})
}

// apply sets the outcome, and answers those who wait for it.
func (j *job) apply(r jobReport) {
	j.mu.Lock()
	j.report, j.onCancel = r, nil
	waiting := j.waiting
	j.waiting = nil
	j.mu.Unlock()
	j.noteJob(trail.Over, r)
	j.sys.jobs.count(j)
	for _, w := range waiting {
		w.tell(j, r)
	}
}

// now is the job's current report.
func (j *job) now() jobReport {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.report
}

// progress sets how far the handler is.
func (j *job) progress(done, total int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.report.State.Over() {
		j.report.Done, j.report.Total = done, total
	}
}

// wait has w answered when the job has ended, or else at the end of turn.
func (j *job) wait(w awaiter, turn time.Duration) {
	j.mu.Lock()
	if r := j.report; r.State.Over() {
		j.mu.Unlock()
		w.tell(j, r)
		return
	}
	w.turn = time.AfterFunc(turn, func() { w.tell(j, j.endTurn(w.later)) })
	timer := w.turn
	j.waiting = append(j.waiting, w)
	j.mu.Unlock()
	w.later.d.onEnd(func() { // if its caller has cancelled, nothing is kept for it
		timer.Stop()
		j.endTurn(w.later)
	})
}

// endTurns answers all awaiters with the job's current report.
func (j *job) endTurns() {
	j.mu.Lock()
	waiting, r := j.waiting, j.report
	j.waiting = nil
	j.mu.Unlock()
	for _, w := range waiting {
		w.tell(j, r)
	}
}

// endTurn removes an awaiter, and returns the job's current report.
func (j *job) endTurn(later *Deferred[jobReport]) jobReport {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, w := range j.waiting {
		if w.later == later {
			j.waiting = append(j.waiting[:i], j.waiting[i+1:]...)
			break
		}
	}
	return j.report
}

// cancel ends the job early. It reports whether the end is still being recorded.
func (j *job) cancel() (recording bool) {
	j.mu.Lock()
	waits := j.report.State == rpc.JobAccepted
	running := j.report.State == rpc.JobRunning
	if waits || running {
		j.noteLocked(trail.Stopped, jobReport{})
		j.canceled = true
	}
	stop := j.onCancel
	j.mu.Unlock()
	switch {
	case waits: // Start returns false from now on
		j.fail(rpc.Errorf(rpc.Canceled, rpc.NotRun, "the job was cancelled before its turn"))
	case running && stop != nil:
		stop()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.ending && !j.report.State.Over()
}
