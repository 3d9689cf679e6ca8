package journal

import (
	"errors"

	"github.com/tandem-go/tandem/rpc"
)

// While the store cannot be reached, changes wait in the journal's queue, and their bytes count
// in the node's account. When they fill a sixteenth of it, nothing is accepted that would add
// many more: no session is opened, no durable request begins, and no job is submitted. Only
// outcomes and the ends of sessions and records are still added, and there are at most as many
// of them as there are requests and sessions at that time.
const (
	backlogShares = 16 // the backlog may have this part of Limits.MemoryBytes
	minBacklog    = 64 << 10
)

// ErrFull is the error for what is not accepted because the backlog is full. Nothing of it was tried.
var ErrFull = rpc.Errorf(rpc.Overloaded, rpc.NotRun, "what waits to be written to the store of records fills its part of the memory (rpc.Limits.MemoryBytes)")

// CodeOf returns the code of the error for a request whose record was not written because of
// err.
func CodeOf(err error) rpc.Code {
	if errors.Is(err, ErrFull) {
		return rpc.Overloaded
	}
	return rpc.Unavailable
}

// Full reports whether the backlog is full, so that nothing is to be accepted that needs a
// record. A nil Journal is never full.
func (j *Journal) Full() bool {
	if j == nil {
		return false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.fullLocked()
}

func (j *Journal) fullLocked() bool {
	return j.queued >= max(minBacklog, int(j.Account.Limit/backlogShares))
}

// countLocked counts n more bytes that wait, or fewer if n is negative. j.mu is held.
func (j *Journal) countLocked(n int) {
	j.queued += n
	j.waiting.Force(n)
}

// recountLocked sets the number of bytes that wait, when nothing is being written. j.mu is held.
func (j *Journal) recountLocked() {
	n := 0
	for _, p := range j.queue {
		n += p.change.Size()
	}
	j.countLocked(n - j.queued)
}

// logFull logs now and then that the backlog is full, and sends an event.
func (j *Journal) logFull() {
	if !j.waiting.LogDue() {
		return
	}
	j.Host.Logger.Warn("what waits to be written to the store of records fills its part of the memory; nothing is taken on that needs a record",
		"bytes", j.waiting.Used(), "limit", j.Account.Limit/backlogShares)
	j.Host.Event(rpc.Event{Type: rpc.MemoryFull, Err: ErrFull})
}
