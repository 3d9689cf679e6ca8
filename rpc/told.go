package rpc

import "sync"

// told keeps the memory of one-way messages that have been decoded, for those to come:
// they are many, and live for a moment.
type told struct {
	mu   sync.Mutex // guards what follows
	free []*Inbound // the latest is the first to be used again: it is warm
}

// maxTold is how many are kept: about as many as wait in a mailbox.
const maxTold = 1024

// get returns one that is empty, save for storage that its body may have.
func (t *told) get() *Inbound {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := len(t.free) - 1
	if last < 0 {
		return new(Inbound)
	}
	in := t.free[last]
	t.free = t.free[:last]
	return in
}

// put takes one back that nobody uses any more.
func (t *told) put(in *Inbound) {
	*in = Inbound{body: in.Storage()}
	t.mu.Lock()
	if len(t.free) < maxTold {
		t.free = append(t.free, in)
	}
	t.mu.Unlock()
}
