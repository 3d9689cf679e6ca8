package actor

import (
	"reflect"
	"sync"
	"time"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
)

// race is a request that several workers of a pool have got. The first reply is its outcome. An
// error is its outcome only when all have failed: then the one that says the most of what has run,
// so that the verdict is Ran if one ran.
type race struct {
	sys    *System
	req    request
	origin *server.Origin // nil: the request comes from this node

	begin func() bool // the request's Start, whose result is kept

	mu        sync.Mutex // guards what follows
	begins    bool       // begin was called
	left      int        // racers that have not lost, and one for the pool while it adds racers
	over      bool       // the request has its outcome, or is about to get it
	cancelled bool       // its caller has cancelled
	worst     *rpc.Error // what was said by those that have lost
	racers    []*racer
}

// racer is the request as one of the workers has it.
type racer struct {
	*race
	stage    raceStage
	onCancel func()
}

// raceStage is how far a racer has come, while the race is not over:
//
//	racing ◄──PutBack, Start──► resting
//	   └──Fail──► lost ◄──cancel───┘
type raceStage uint8

const (
	racing  raceStage = iota // it waits in the worker's mailbox, or its handler runs
	resting                  // the worker has put it aside
	lost                     // it has failed
)

// mayRace reports whether a message may go to several workers: it is a request, and no job, no
// stream, and none whose sender could ask again under a key.
func (c *cell) mayRace(it *item, in *server.Inbound) bool {
	switch it.req.(type) {
	case nil, *job:
		return false
	}
	if in != nil {
		h := c.kind.handlerOf(c.self.sys, in.TypeID)
		return !in.Keyed() && h != nil && !h.opens && !h.asked
	}
	h := c.kind.handlers[typeOf(it.msg)]
	return h == nil || !h.opens && !h.asked
}

// race passes a request on to the first n workers of the order that have room. It returns false if
// none has.
func (c *cell) race(w *worker, it *item, in *server.Inbound, n int) bool {
	p := c.pool()
	h := &p.head
	if in == nil {
		it.msg = plainValue(it.msg)
	}
	for len(h.values) < min(n, len(p.crew)) { // all before the first reply, which may be written where the request's body is
		msg, refusal := it.msg, (*rpc.Error)(nil)
		if in != nil {
			msg, refusal = c.decodeAlone(in)
		}
		if refusal != nil {
			it.req.Fail(refusal)
			return true
		}
		h.values = append(h.values, msg)
	}
	r := &race{sys: c.self.sys, req: it.req, origin: originOf(it), left: 1}
	r.begin = sync.OnceValue(it.req.Start)
	got := 0
	for _, i := range p.order {
		if got == len(h.values) {
			break
		}
		if one := r.enter(); !p.crew[i].takes(item{msg: h.values[got], req: one, meta: it.meta}) {
			r.withdraw()
		} else if got++; got == 1 {
			p.table.Took(p.view[i].Number)
		}
	}
	if got == 0 {
		return false
	}
	clear(h.values)
	r.settle()
	return true
}

// enter adds a racer.
func (r *race) enter() *racer {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := &racer{race: r}
	r.left++
	r.racers = append(r.racers, one)
	return one
}

// withdraw removes the latest racer, which no worker has got.
func (r *race) withdraw() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left--
	r.racers = r.racers[:len(r.racers)-1]
}

// settle is called when all racers were added.
func (r *race) settle() {
	r.mu.Lock()
	r.left--
	err := r.lostLocked()
	r.mu.Unlock()
	if err != nil {
		r.req.Fail(err)
	}
}

// lostLocked returns the outcome of the race if all racers have failed, else nil.
func (r *race) lostLocked() *rpc.Error {
	if r.over || r.left > 0 {
		return nil
	}
	r.over = true
	return r.worst
}

// Start begins the request with the first racer that starts.
func (r *racer) Start() bool {
	r.mu.Lock()
	ended := r.over || r.stage == lost
	r.begins = true
	if !ended {
		r.stage = racing
	}
	r.mu.Unlock()
	if ended {
		return false
	}
	if !r.begin() { // it has its outcome
		r.mu.Lock()
		r.over = true
		r.mu.Unlock()
		return false
	}
	r.req.OnCancel(r.cancel)
	return true
}

// WillNotRun reports whether Start will return false. Once a racer has begun, the request itself
// does not say that any more.
func (r *racer) WillNotRun() bool {
	if ended, begins := r.far(); ended || begins {
		return ended
	}
	gone := r.req.WillNotRun()
	ended, begins := r.far() // another racer may have begun meanwhile
	return ended || gone && !begins
}

// far reports whether this racer has ended, and whether any has begun.
func (r *racer) far() (ended, begins bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.over || r.stage == lost, r.begins
}

// Fail notes that this racer has failed.
func (r *racer) Fail(err *rpc.Error) {
	r.mu.Lock()
	r.loseLocked(err)
	outcome := r.lostLocked()
	r.mu.Unlock()
	if outcome != nil {
		r.req.Fail(outcome)
	}
}

// loseLocked notes that this racer has failed, unless that is known or the race is over.
func (r *racer) loseLocked(err *rpc.Error) {
	if r.stage == lost || r.over {
		return
	}
	r.stage = lost
	r.left--
	if r.worst == nil || saysMore(err.Verdict, r.worst.Verdict) {
		r.worst = err
	}
}

// PutBack has this racer wait for another turn, unless the caller has cancelled.
func (r *racer) PutBack() bool {
	r.mu.Lock()
	r.onCancel = nil
	ended, cancelled := r.over || r.stage == lost, r.cancelled
	if !ended && !cancelled {
		r.stage = resting
	}
	r.mu.Unlock()
	if cancelled {
		r.Fail(errNotAgain)
	}
	return !ended && !cancelled
}

// saysMore reports whether verdict a leaves less hope than b that nothing has run.
func saysMore(a, b rpc.Verdict) bool {
	return b == rpc.NotRun && a != rpc.NotRun || b == rpc.Unknown && a == rpc.HasRun
}

// Deadline is that of the request.
func (r *racer) Deadline() (time.Time, bool) { return r.req.Deadline() }

// OnCancel has fn called when another racer was faster, or the caller cancels.
func (r *racer) OnCancel(fn func()) {
	r.mu.Lock()
	r.onCancel = fn
	now := r.over || r.cancelled
	r.mu.Unlock()
	if now && fn != nil {
		fn()
	}
}

// cancel is called when the caller cancels. Racers that rest have lost then, since nobody calls them.
func (r *race) cancel() {
	r.mu.Lock()
	r.cancelled = true
	calls := r.othersLocked(nil)
	var outcome *rpc.Error
	for _, one := range r.racers {
		if one.stage == resting {
			one.loseLocked(errNotAgain)
			outcome = r.lostLocked()
		}
	}
	r.mu.Unlock()
	for _, call := range calls {
		call()
	}
	if outcome != nil {
		r.req.Fail(outcome)
	}
}

// othersLocked returns what cancels all racers but one.
func (r *race) othersLocked(but *racer) (calls []func()) {
	for _, one := range r.racers {
		if one != but && one.onCancel != nil {
			calls = append(calls, one.onCancel)
		}
	}
	return calls
}

// reply ends the request with v, which is sent as a value of type typ, unless another racer was
// faster.
func (r *racer) reply(v any, typ reflect.Type) error {
	r.mu.Lock()
	if r.over || r.stage == lost {
		r.mu.Unlock()
		return rpc.Errorf(rpc.Invalid, rpc.HasRun, "another worker of the pool was faster")
	}
	r.over = true
	calls := r.othersLocked(r)
	r.mu.Unlock()
	var err error
	switch req := r.req.(type) {
	case *server.Inbound:
		err = r.sys.reply(req, v, typ)
	case encodes:
		err = req.reply(v, typ)
	case interface{ answer(any) error }:
		err = req.answer(v)
	}
	if err != nil {
		r.req.Fail(failure(err))
	}
	for _, call := range calls {
		call()
	}
	return err
}
