package server

import (
	"sync"

	"github.com/tandem-go/tandem/internal/engine/wire"
)

// inbounds keeps the memory of messages that have been handled, for later ones: there are
// many messages, and most are handled within a moment.
type inbounds struct {
	mu   sync.Mutex // guards what follows
	free []*Inbound // the latest one is used again first, because it is still in the processor's cache
}

const (
	maxInbounds = 2048 // how many are kept: about as many as a mailbox holds
	freeBatch   = 16   // how many a freeList takes and gives back at a time
)

// putTells frees one-way messages that nobody uses any more. It clears only
// what fill does not set.
func (i *inbounds) putTells(tells []*Inbound) {
	for _, in := range tells {
		in.session, in.link, in.Meta, in.body, in.row, in.behalf = nil, nil, nil, wire.FreeReceived(in.body), row{}, nil
	}
	i.put(tells)
}

// put keeps messages that have been cleared.
func (i *inbounds) put(ins []*Inbound) {
	i.mu.Lock()
	i.free = append(i.free, ins[:min(len(ins), maxInbounds-len(i.free))]...)
	i.mu.Unlock()
}

// freeList is a small part of the free messages, for one session or link that needs them
// often. Its caller does the locking.
type freeList []*Inbound

// get returns a message that is empty, except that its body may have capacity.
func (s *freeList) get(i *inbounds) *Inbound {
	if len(*s) == 0 {
		i.mu.Lock()
		rest := max(len(i.free)-freeBatch, 0)
		*s = append(*s, i.free[rest:]...)
		clear(i.free[rest:])
		i.free = i.free[:rest]
		i.mu.Unlock()
	}
	last := len(*s) - 1
	if last < 0 {
		return new(Inbound)
	}
	in := (*s)[last]
	(*s)[last], *s = nil, (*s)[:last]
	return in
}

// put frees a message that nobody uses any more.
func (s *freeList) put(i *inbounds, in *Inbound) {
	*in = Inbound{body: wire.FreeSent(in.body)}
	if *s = append(*s, in); len(*s) == 2*freeBatch {
		i.put((*s)[:freeBatch])
		*s = append((*s)[:0], (*s)[freeBatch:]...)
		clear((*s)[freeBatch : 2*freeBatch])
	}
}
