package actor

import (
	"slices"

	"github.com/tandem-go/tandem/rpc"
)

// The decisions of a stream's two directions: which requests get which answers. They
// have no lock, clock or I/O; they return the answers that are to be given.

// ask handles a request for batch n.
func (o *outflow) ask(n uint64, req request) ([]answer, *rpc.Error) {
	switch {
	case n == 0 || n+streamDepth <= o.next || n > o.next+streamDepth:
		return nil, rpc.Errorf(rpc.Invalid, rpc.NotRun, "batch %d of a stream was asked for, %d were given", n, o.next)
	case n <= o.next: // a retry, because the answer was lost
		return []answer{{req: req, batch: &o.kept[n%streamDepth]}}, nil
	}
	with, old := insert(o.asked, waiting[streamBatch]{n: n, req: req})
	o.asked = with
	var answers []answer
	if old != nil { // its client has cancelled it
		answers = append(answers, answer{req: old, err: errReplaced})
	}
	return o.give(answers), nil
}

// give answers the requests for which there are items, and appends to answers.
func (o *outflow) give(answers []answer) []answer {
	for len(o.asked) > 0 && o.asked[0].n == o.next+1 && (o.buf.n > 0 || o.done) {
		a := o.asked[0]
		o.asked = slices.Delete(o.asked, 0, 1)
		b := streamBatch{Items: o.buf.bytes, vals: o.buf.vals, held: o.buf.held}
		o.buf = chunk{}
		if o.done {
			b.end(o.err)
		}
		o.next++
		o.gone += o.kept[o.next%streamDepth].held
		o.kept[o.next%streamDepth] = b
		answers = append(answers, answer{req: a.req, batch: &b})
	}
	return answers
}

// end answers all waiting requests, because the stream has ended.
func (o *outflow) end(why *rpc.Error) (answers []answer) {
	for _, a := range o.asked {
		var b streamBatch
		b.end(why)
		answers = append(answers, answer{req: a.req, batch: &b})
	}
	o.gone += o.buf.held
	o.asked, o.buf = nil, chunk{}
	return answers
}

// push handles a request that brings batch m.N.
func (i *inflow) push(m streamPush, req request) ([]answer, *rpc.Error) {
	switch {
	case m.N == 0 || m.N > i.next+streamDepth:
		i.gone += m.held
		return nil, rpc.Errorf(rpc.Invalid, rpc.NotRun, "batch %d of a stream came, %d were taken", m.N, i.next)
	case m.N <= i.next: // a retry, because the answer was lost
		i.gone += m.held
		return []answer{{req: req, taken: streamTaken{Over: i.unused}}}, nil
	}
	i.gone += heldFor(i.pushed, m.N)
	with, old := insert(i.pushed, waiting[streamTaken]{n: m.N, req: req, items: chunk{bytes: m.Items, vals: m.vals, held: m.held}, last: m.Last})
	i.pushed = with
	var answers []answer
	if old != nil {
		answers = append(answers, answer{req: old, err: errReplaced})
	}
	return i.admit(answers), nil
}

// admit accepts the batches for which there is room, and appends to answers.
func (i *inflow) admit(answers []answer) []answer {
	for len(i.pushed) > 0 && i.pushed[0].n == i.next+1 && (i.buf.empty() || i.unused) {
		p := i.pushed[0]
		i.pushed = slices.Delete(i.pushed, 0, 1)
		i.next++
		if i.unused {
			i.gone += p.items.held
		} else {
			i.gone += i.buf.held // of an empty batch
			i.buf = p.items
		}
		i.last = i.last || p.last
		answers = append(answers, answer{req: p.req, taken: streamTaken{Over: i.unused && !p.last}})
	}
	if i.unused {
		i.gone += i.buf.held
		i.buf = chunk{}
	}
	return answers
}

// end answers all waiting requests, because the stream has ended.
func (i *inflow) end(answers []answer) []answer {
	for _, p := range i.pushed {
		i.gone += p.items.held
		answers = append(answers, answer{req: p.req, taken: streamTaken{Over: true}})
	}
	i.last = i.last && i.buf.empty() // otherwise items are discarded, so the stream has not reached its end
	i.gone += i.buf.held
	i.pushed, i.buf = nil, chunk{}
	return answers
}

// drop removes a request that its client has cancelled.
func (i *inflow) drop(req request) {
	for _, p := range i.pushed {
		if p.req == req {
			i.gone += p.items.held
		}
	}
	i.pushed = without(i.pushed, req)
}

// heldFor is how many bytes are counted for the waiting request with number n; 0 if there is none.
func heldFor[R any](list []waiting[R], n uint64) (held int) {
	for _, a := range list {
		if a.n == n {
			held += a.items.held
		}
	}
	return held
}

var errGivenUp = rpc.Errorf(rpc.Canceled, rpc.NotRun, "the request for a batch of a stream was cancelled")

var errReplaced = rpc.Errorf(rpc.Canceled, rpc.NotRun, "a later request for the same batch of a stream has come")

// insert inserts a request by its number. If there is one with that number already, the new one
// replaces it, and the old one is returned.
func insert[R any](list []waiting[R], a waiting[R]) (with []waiting[R], old request) {
	at, found := slices.BinarySearchFunc(list, a.n, func(b waiting[R], n uint64) int { return int(b.n) - int(n) })
	if found {
		old, list[at] = list[at].req, a
		return list, old
	}
	return slices.Insert(list, at, a), nil
}

func without[R any](list []waiting[R], req request) []waiting[R] {
	return slices.DeleteFunc(list, func(a waiting[R]) bool { return a.req == req })
}
