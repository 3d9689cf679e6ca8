package engine

import (
	"github.com/tandem-go/tandem/internal/engine/account"
	"github.com/tandem-go/tandem/internal/engine/journal"
)

// Restorer is implemented by a Handler that has jobs.
type Restorer interface {
	// Restore gets the jobs that earlier starts have left, in the order of their
	// submission, before any link is open.
	Restore([]*journal.JobRecord)
}

// restore passes the jobs in the store to the handler.
func (n *Node) restore() {
	h, ok := n.cfg.Handler.(Restorer)
	if !ok || n.journal == nil {
		return
	}
	h.Restore(n.journal.Jobs())
}

// RecordJob stores a job. written is called once it is stored, or with an error if it is not
// known whether it is. It may be called only if the node has a store.
func (n *Node) RecordJob(id [16]byte, job []byte, written func(*journal.JobRecord, error)) {
	n.journal.RecordJob(id, job, written)
}

// Fenced reports whether another start of this node has taken its records over, so that this
// one begins no durable request and no job any more.
func (n *Node) Fenced() bool { return n.journal.Fenced() }

// Memory returns a principal's share of the node's memory, for what this node holds because of
// the principal's messages beyond their outcomes.
func (n *Node) Memory(principal string) account.Memory { return n.account.Memory(principal) }
