package actor

import (
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// This file sees to it that there is room for the results of jobs before they run: what
// ran must not lose its result. A principal's results may take a quarter of
// Config.ResultBytes. Nobody knows how large a result will be, so
//
//   - a submission is refused while the results that are kept, and those of the jobs that
//     are not over, if they are as large as its results usually are, fill that quarter;
//   - a job does not start while the results that are kept fill it: it waits for its turn
//     again;
//   - a job that has started keeps its result beyond that, as long as its principal's share of
//     the node's memory (rpc.Config.MemoryBytes) has room; else its outcome is ReplyDropped.
//
// So results go beyond the limit by what the jobs bring that ran when it was reached.

// room returns why a job may not be submitted now, or nil. t.mu is held.
func (t *jobTable) room(j *job) *rpc.Error {
	p, limit := j.principal, t.sys.cfg.ResultBytes/4
	expected := t.bytes[p] + (t.pending[p]+1)*t.usual[p]
	if !j.remote || expected <= limit || t.mine[p] == 0 {
		return nil
	}
	return rpc.Errorf(rpc.Overloaded, rpc.NotRun, "the results of jobs that are kept for %s, and those that are expected, take %d bytes, the limit is %d (a quarter of Config.ResultBytes); each is kept for %v",
		p, expected, limit, t.sys.cfg.TokenLife)
}

// starts reports whether there is room for the result of a job whose turn it is, when so
// many others are about to start.
func (t *jobTable) starts(j *job, others int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, limit := j.principal, t.sys.cfg.ResultBytes
	expected := others * t.usual[p]
	return t.bytes[p]+expected == 0 || t.bytes[p]+expected < limit/4 && t.total+expected < limit
}

// jobSize is how many bytes a job takes beside its message or its result, about.
const jobSize = 1 << 10

// keep notes that n bytes are kept for j's result, instead of those that were, or reports that
// there is no room for them. A job that is gone keeps nothing.
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

// shrink counts the result alone of a job that is over. The table's lock is held.
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

// settled notes that a job is over, or gone. t.mu is held.
func (t *jobTable) settled(j *job) {
	if j.counted {
		return
	}
	j.counted = true
	if t.pending[j.principal]--; t.pending[j.principal] <= 0 {
		delete(t.pending, j.principal)
	}
}

// How long a job waits for its turn again.
const (
	firstTurn = 100 * time.Millisecond // at first, then twice as long each time, up to
	lastTurn  = 2 * time.Second
)

// putOff has a job that cannot start now wait for its turn again, behind what waits then.
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

// turnAgain puts a job into its actor's mailbox once more.
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
		j.Refuse(err)
		j.endTurns() // a durable one is kept for the next start
	}
}
