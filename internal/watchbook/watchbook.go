// Package watchbook has the decisions of a node that watches actors of one other node: which
// watches that node still has to be told of, which it keeps, and which have ended because the
// start of the node that kept them is over. It has no lock, clock, goroutine or I/O.
package watchbook

import "slices"

// Book is the watches of one node. Its zero value has none.
//
//	waiting ──Next──► asked ──Done──► held      Failed, or another keeper: back to waiting
//	   any of the three ──Drop, End, or the end of the node's start──► gone
//
// A watch is told of at most once, because what has told of it is what removed it.
type Book struct {
	epoch  string // the start of the node that keeps those that are held; empty: unknown
	keeper string // its memory of this node's watches; a new one knows nothing of earlier watches
	past   []string
	all    map[uint64]*entry
	queue  []uint64 // to be registered; it may have ids that are gone
	drops  []uint64 // to be forgotten there
	check  bool     // ask the node in any case
}

type entry struct {
	name  string
	asked bool // the node may know of it
	held  bool
}

// maxPast is how many earlier starts of the node are remembered, because a registry may be late.
const maxPast = 8

// Batch is what the node is told at once.
type Batch struct {
	IDs   []uint64
	Names []string // of the actors, one for each id
	Drop  []uint64
}

// Add begins a watch of the actor of that name.
func (b *Book) Add(id uint64, name string) {
	if b.all == nil {
		b.all = map[uint64]*entry{}
	}
	b.all[id] = &entry{name: name}
	b.queue = append(b.queue, id)
}

// Drop ends a watch that nobody wants any more.
func (b *Book) Drop(id uint64) {
	if e := b.all[id]; e != nil {
		if delete(b.all, id); e.asked {
			b.drops = append(b.drops, id)
		}
	}
}

// End ends a watch of an actor that has ended. It returns false if there is no such watch.
func (b *Book) End(id uint64) bool {
	_, ok := b.all[id]
	delete(b.all, id)
	return ok
}

// Check has the next Batch sent even if it is empty, to find out whether the node still keeps the
// watches that are held.
func (b *Book) Check() { b.check = b.check || len(b.all) > 0 }

// Len returns how many watches there are.
func (b *Book) Len() int { return len(b.all) }

// Next returns what to tell the node now, at most n watches and n that are dropped; false if
// there is nothing. Done or Failed follows.
func (b *Book) Next(n int) (t Batch, ok bool) {
	for len(b.queue) > 0 && len(t.IDs) < n {
		id := b.queue[0]
		b.queue = b.queue[1:]
		if e := b.all[id]; e != nil && !e.held {
			e.asked = true
			t.IDs, t.Names = append(t.IDs, id), append(t.Names, e.name)
		}
	}
	n = min(n, len(b.drops))
	t.Drop, b.drops = slices.Clone(b.drops[:n]), b.drops[n:]
	ok = b.check || len(t.IDs)+len(t.Drop) > 0
	if b.check = false; len(b.queue) == 0 {
		b.queue = nil
	}
	return t, ok
}

// Failed takes back a batch of which nobody knows whether the node has it.
func (b *Book) Failed(t Batch) {
	b.queue, b.drops = append(t.IDs, b.queue...), append(t.Drop, b.drops...)
	b.check = len(b.all) > 0
}

// Done notes that a start of the node has taken the batch, with its memory of this node's watches.
// It returns the watches that were held by an earlier start, and have ended with it.
func (b *Book) Done(t Batch, epoch, keeper string) (ended []uint64) {
	ended = b.Now(epoch)
	if b.keeper != keeper {
		for id, e := range b.all {
			if e.held {
				e.held = false
				b.queue = append(b.queue, id)
			}
		}
	}
	b.epoch, b.keeper = epoch, keeper
	for _, id := range t.IDs {
		if e := b.all[id]; e != nil {
			e.held = true
		}
	}
	return ended
}

// Now notes which start of the node runs, or is claimed to. It returns the watches that were held
// by an earlier start, and have ended with it.
func (b *Book) Now(epoch string) (ended []uint64) {
	if !b.Differs(epoch) {
		return nil
	}
	if b.past = append(b.past, b.epoch); len(b.past) > maxPast {
		b.past = b.past[1:]
	}
	b.epoch, b.keeper, b.drops = "", "", nil
	for id, e := range b.all {
		if e.held {
			ended = append(ended, id)
			delete(b.all, id)
		}
	}
	return ended
}

// Differs reports whether Now would take epoch for another start.
func (b *Book) Differs(epoch string) bool {
	return b.epoch != epoch && b.epoch != "" && epoch != "" && !slices.Contains(b.past, epoch)
}

// Gone ends all watches, because the node is gone, and returns them.
func (b *Book) Gone() (ended []uint64) {
	for id := range b.all {
		ended = append(ended, id)
	}
	past := b.past
	if b.epoch != "" {
		past = append(past, b.epoch)
	}
	*b = Book{past: past[max(0, len(past)-maxPast):]}
	return ended
}
