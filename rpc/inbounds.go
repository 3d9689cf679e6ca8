package rpc

import "sync"

// inbounds keeps the memory of messages that have been handled, for those to come: they
// are many, and most live for a moment.
type inbounds struct {
	mu   sync.Mutex // guards what follows
	free []*Inbound // the latest is the first to be used again: it is warm
}

// maxInbounds is how many are kept: about as many as wait in a mailbox.
const maxInbounds = 1024

// get returns one that is empty, save for storage that its body may have.
func (i *inbounds) get() *Inbound {
	i.mu.Lock()
	defer i.mu.Unlock()
	last := len(i.free) - 1
	if last < 0 {
		return new(Inbound)
	}
	in := i.free[last]
	i.free = i.free[:last]
	return in
}

// put takes one back that nobody uses any more.
func (i *inbounds) put(in *Inbound) {
	*in = Inbound{body: in.Storage()}
	i.mu.Lock()
	if len(i.free) < maxInbounds {
		i.free = append(i.free, in)
	}
	i.mu.Unlock()
}
