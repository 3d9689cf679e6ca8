package actor

import (
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/rpc"
)

// job is a request whose outcome is kept until somebody asks for it. It takes the place
// of a caller in its actor's mailbox.
type job struct {
	sys       *System
	id        string
	principal string
	origin    *rpc.Origin // nil: this node
	actor     string      // whose job it is
	typeID    uint64      // of its message
	codec     uint8
	remote    bool           // submitted from another node: its result is encoded at once
	of        *cell          // its actor; nil until it has one, and guarded by the table's lock
	typ       reflect.Type   // of the result; nil: that of whatever it is
	target    string         // of a durable job that an earlier start has left: its actor
	record    *rpc.JobRecord // of a durable job; nil otherwise
	stored    *storedJob     // of one that waits for its actor to be spawned
	print     uint64         // of what is stored of a durable job
	kept      int            // bytes of the result; guarded by the table's lock
	counted   bool           // it is over, and the table knows; guarded likewise
	bodySize  int            // bytes of the message, encoded
	memory    *rpc.Memory    // of the principal, for what follows; nil: it is not counted, or gone. Guarded likewise
	held      int            // bytes counted for the message, then for the result

	mu       sync.Mutex // guards what follows
	report   jobReport
	canceled bool
	ending   bool // its outcome is being recorded
	onCancel func()
	waiting  []awaiter
	item     item          // what it is in a mailbox, until it starts
	away     bool          // it waits for its turn again, and is in no mailbox
	pause    time.Duration // until then
}

// awaiter is somebody who waits for a job.
type awaiter struct {
	later  *Deferred[jobReport]
	remote bool
	brief  bool        // it does not want the result
	turn   *time.Timer // until when
}

// tell answers somebody who waits for j. An error is that its caller has given up.
func (w *awaiter) tell(j *job, r jobReport) {
	if w.turn != nil {
		w.turn.Stop()
	}
	if w.brief {
		r = r.without()
	}
	if refusal := w.later.d.ctx.mayUse(j.actor, j.typeID, access.Redeem); refusal != nil { // meanwhile
		_ = w.later.d.end(func(r request) error { r.Refuse(refusal); return nil })
		return
	}
	_ = w.later.Answer(j.ready(r, w.remote))
}

// Start, Lapsed, Refuse, Fail, Deadline and OnCancel are those of a request.
func (j *job) Start() bool {
	room := !j.remote || j.sys.jobs.starts(j, 0)
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.report.State != rpc.JobAccepted || j.canceled || j.ending || j.away:
		return false // or it is about to get its outcome, or its turn again
	case j.record != nil && !j.record.Begun: // it has come again, and is not prepared
		return false
	case j.record == nil && !room:
		j.putOffLocked()
		return false
	}
	j.report.State, j.item = rpc.JobRunning, item{}
	return true
}

func (j *job) Lapsed() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.canceled || j.ending || j.report.State.Over()
}

func (j *job) Refuse(err *rpc.Error) {
	if j.record != nil && j.sys.draining() {
		return // the next start runs it
	}
	j.fail(err)
}

func (j *job) Fail(err *rpc.Error) { j.fail(err) }

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
			Message: fmt.Sprintf("there was no room for the result of %d bytes (rpc.Config.MemoryBytes)", len(r.Body))})
		return nil
	}
	j.end(r)
	return nil
}

// encoded is a report with its result as it travels.
func (j *job) encoded(r jobReport) (jobReport, error) {
	if r.typ == nil {
		return r, nil
	}
	typeID, body, err := j.sys.encodeAs(j.codec, r.value, r.typ, nil)
	r.TypeID, r.Codec, r.Body, r.value, r.typ = typeID, j.codec, body, nil, nil
	return r, err
}

// ready is a report for somebody who waits for the result.
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
	j.end(jobReport{State: state, Code: err.Code, Verdict: err.Verdict, Message: rpc.Brief(err.Message), User: err.User})
}

// end gives the job its outcome, unless it has one: durably first, if it is durable.
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
		j.settle(r)
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
			r.Verdict = rpc.Unknown // another start has it on record as one to run
		}
		j.settle(r)
	})
}

// settle tells those who wait what the outcome is.
func (j *job) settle(r jobReport) {
	j.mu.Lock()
	j.report, j.onCancel = r, nil
	waiting := j.waiting
	j.waiting = nil
	j.mu.Unlock()
	j.sys.jobs.count(j)
	for _, w := range waiting {
		w.tell(j, r)
	}
}

// now is where the job is.
func (j *job) now() jobReport {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.report
}

// progress notes how far the handler is.
func (j *job) progress(done, total int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.report.State.Over() {
		j.report.Done, j.report.Total = done, total
	}
}

// wait has w answered when the job is over, or at the end of its turn.
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
	w.later.d.onOver(func() { // perhaps its caller gave up: nothing is kept for it
		timer.Stop()
		j.endTurn(w.later)
	})
}

// endTurns answers all that wait with where the job is.
func (j *job) endTurns() {
	j.mu.Lock()
	waiting, r := j.waiting, j.report
	j.waiting = nil
	j.mu.Unlock()
	for _, w := range waiting {
		w.tell(j, r)
	}
}

// endTurn takes somebody out of those who wait, and returns where the job is.
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

// cancel has the job end early. It reports whether that is still being recorded.
func (j *job) cancel() (recording bool) {
	j.mu.Lock()
	waits := j.report.State == rpc.JobAccepted
	running := j.report.State == rpc.JobRunning
	if waits || running {
		j.canceled = true
	}
	stop := j.onCancel
	j.mu.Unlock()
	switch {
	case waits: // and Start knows
		j.fail(rpc.Errorf(rpc.Canceled, rpc.NotRun, "the job was cancelled before its turn"))
	case running && stop != nil:
		stop()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.ending && !j.report.State.Over()
}
