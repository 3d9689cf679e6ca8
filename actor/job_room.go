package actor

import (
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// A job that has run must not lose its result, so there has to be room for the result before
// the job runs. A principal's results may take a quarter of Config.ResultBytes. Because the
// size of a result is not known beforehand,
//
//   - a submission is refused if the kept results, plus the expected results of the jobs that
//     have not ended, would exceed that quarter; a result is expected to have the usual size;
//   - a job does not start while the kept results fill the quarter: it waits for another turn;
//   - a job that has started keeps its result beyond the quarter, as long as there is room in
//     its principal's share of the node's memory (rpc.Limits.MemoryBytes); otherwise its
//     outcome is ReplyDropped.
//
// So the results can exceed the limit only by those of the jobs that were running when it was
// reached.

// room returns why a job may not be submitted now, or nil if it may. t.mu is held.
func (t *jobTable) room(j *job) *rpc.Error {
	p, limit := j.principal, t.sys.cfg.ResultBytes/4
	expected := t.bytes[p] + (t.pending[p]+1)*t.usual[p]
	if !j.remote || expected <= limit || t.mine[p] == 0 {
		return nil
	}
	return rpc.Errorf(rpc.Overloaded, rpc.NotRun, "the results of jobs that are kept for %s, and those that are expected, take %d bytes, the limit is %d (a quarter of Config.ResultBytes); each is kept for %v",
		p, expected, limit, t.sys.cfg.TokenLife)
}

// starts reports whether there is room for the result of a job that is about to start, together
// with so many others.
func (t *jobTable) starts(j *job, others int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, limit := j.principal, t.sys.cfg.ResultBytes
	expected := others * t.usual[p]
	return t.bytes[p]+expected == 0 || t.bytes[p]+expected < limit/4 && t.total+expected < limit
}

// jobSize is about how many bytes a job takes in addition to its message or its result.
const jobSize = 1 << 10

// keep counts n bytes for j's result, in place of those counted before. It returns false if
// there is no room for them. For a job that is not in the table any more it counts nothing.
func (t *jobTable) keep(j *job, n int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all[j.id] != j {
		return true
	}
	if more := n + jobSize - j.held; j.memory != nil && more > 0 {
		if j.memory.Hold(more) != nil {
			return false
		}
		j.held += more
	}
	t.keepLocked(j, n)
	return true
}

// shrink is called when a job has ended: from then on only its result counts. The table's lock
// is held.
func (j *job) shrink() {
	if less := j.held - jobSize - j.kept; j.memory != nil && less > 0 {
		j.memory.Free(less)
		j.held -= less
	}
}

func (t *jobTable) keepLocked(j *job, n int) {
	if t.all[j.id] != j {
		return
	}
	more := n - j.kept
	t.total += more
	t.bytes[j.principal] += more
	j.kept = n
	if usual, known := t.usual[j.principal]; known {
		n = (3*usual + n) / 4
	}
	t.usual[j.principal] = n
}

// noteOver notes that a job has ended, or is removed. t.mu is held.
func (t *jobTable) noteOver(j *job) {
	if j.counted {
		return
	}
	j.counted = true
	if t.pending[j.principal]--; t.pending[j.principal] <= 0 {
		delete(t.pending, j.principal)
	}
}

// How long a job waits for another turn.
const (
	firstTurn = 100 * time.Millisecond // at first; it doubles each time
	lastTurn  = 2 * time.Second        // at most
)

// putOff makes a job that cannot start now wait for another turn, at the end of the mailbox.
func (j *job) putOff() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.putOffLocked()
}

func (j *job) putOffLocked() {
	j.away = true
	j.pause = min(max(2*j.pause, firstTurn), lastTurn)
	time.AfterFunc(j.pause, j.turnAgain)
}

// turnAgain puts a job into its actor's mailbox again.
func (j *job) turnAgain() {
	j.mu.Lock()
	j.away = false
	waits, it := j.report.State == rpc.JobAccepted && !j.canceled && !j.ending, j.item
	j.mu.Unlock()
	if !waits {
		return
	}
	j.sys.jobs.mu.Lock()
	c := j.of
	j.sys.jobs.mu.Unlock()
	err := c.takeJob(it)
	switch {
	case err == nil:
	case err.Code == rpc.Overloaded && !j.sys.draining(): // its mailbox is full
		j.putOff()
	default:
		j.Fail(err)
		j.endTurns() // a durable job is kept for the next start of the node
	}
}
