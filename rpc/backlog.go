package rpc

import (
	"errors"
	"time"
)

// While the store is away, what is to be written waits in the journal's queue. Its bytes count
// in the node's account. When they fill a sixteenth of it, nothing is taken on that would add
// to them: no session is opened, no durable request begins, and no job is submitted. What goes
// on is bounded by what there is then: outcomes, and ends of sessions and records.
const (
	backlogShares = 16 // of Config.MemoryBytes
	minBacklog    = 64 << 10
)

// errBacklog is why nothing is taken on; nothing of it was tried.
var errBacklog = Errorf(Overloaded, NotRun, "what waits to be written to the store of records fills its part of the memory (rpc.Config.MemoryBytes)")

// unwritten is the code of a request whose record was not written.
func unwritten(err error) Code {
	if errors.Is(err, errBacklog) {
		return Overloaded
	}
	return Unavailable
}

// full reports whether so much waits that nothing is to be taken on. A nil journal has room.
func (j *journal) full() bool {
	if j == nil {
		return false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.fullLocked()
}

func (j *journal) fullLocked() bool {
	return j.queued >= max(minBacklog, int(j.node.account.limit/backlogShares))
}

// countLocked counts n bytes more that wait, or less. j.mu is held.
func (j *journal) countLocked(n int) {
	j.queued += n
	j.waiting.force(n)
}

// recountLocked counts what waits now that nothing is being written. j.mu is held.
func (j *journal) recountLocked() {
	n := 0
	for _, p := range j.queue {
		n += p.change.Size()
	}
	j.countLocked(n - j.queued)
}

// sayFull says now and then in the log that nothing is taken on, and by an event.
func (j *journal) sayFull() {
	n := j.node
	now, said := n.now()+1, j.waiting.said.Load()
	if said != 0 && now-time.Duration(said) < saidEvery || !j.waiting.said.CompareAndSwap(said, int64(now)) {
		return
	}
	n.cfg.Logger.Warn("what waits to be written to the store of records fills its part of the memory; nothing is taken on that needs a record",
		"bytes", j.waiting.used.Load(), "limit", n.cfg.MemoryBytes/backlogShares)
	n.event(Event{Type: MemoryFull, Err: errBacklog})
}
