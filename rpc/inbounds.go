package rpc

import "sync"

// inbounds keeps the memory of messages that have been handled, for those to come: they
// are many, and most live for a moment.
type inbounds struct {
	mu   sync.Mutex // guards what follows
	free []*Inbound // the latest is the first to be used again: it is warm
}

const (
	maxInbounds = 2048 // how many are kept: about as many as wait in a mailbox
	handful     = 16   // how many a stock takes and gives back at a time
)

// putTold takes back one-way messages that nobody uses any more, which leave most of their
// memory empty.
func (i *inbounds) putTold(told []*Inbound) {
	for _, in := range told {
		in.session, in.road, in.Meta, in.body = nil, nil, nil, in.Storage() // the rest is written anew for each message
	}
	i.keep(told)
}

// keep takes back those that are empty.
func (i *inbounds) keep(ins []*Inbound) {
	i.mu.Lock()
	i.free = append(i.free, ins[:min(len(ins), maxInbounds-len(i.free))]...)
	i.mu.Unlock()
}

// stock is a few of them in the hands of one that needs them often. It does no locking.
type stock []*Inbound

// get returns one that is empty, save for storage that its body may have.
func (s *stock) get(i *inbounds) *Inbound {
	if len(*s) == 0 {
		i.mu.Lock()
		rest := max(len(i.free)-handful, 0)
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

// put takes one back that nobody uses any more.
func (s *stock) put(i *inbounds, in *Inbound) {
	*in = Inbound{body: in.Storage()}
	if *s = append(*s, in); len(*s) == 2*handful {
		i.keep((*s)[:handful])
		*s = append((*s)[:0], (*s)[handful:]...)
		clear((*s)[handful : 2*handful])
	}
}
