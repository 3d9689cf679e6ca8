package actor

import (
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
)

var (
	// ErrNoStash is the error of Context.Stash in an actor whose kind has no Stash.
	ErrNoStash error = rpc.NewError("actor.no_stash", "the actor's kind has no stash")

	// ErrStashFull is the error of Context.Stash when the stash is full.
	ErrStashFull error = rpc.NewError("actor.stash_full", "the actor's stash is full")

	errNotAgain = rpc.Errorf(rpc.Canceled, rpc.NotRun, "the caller gave up before its turn")
)

// Stash gives actors of a kind a stash for up to n messages that they cannot handle yet, see
// Context.Stash. 0 stands for mailbox.DefaultCapacity. Each worker of a pool has its own.
// Messages of such a kind are not decoded into memory that is used again, and one-way messages have
// a Context each.
//
// Stash panics if n is negative.
func Stash(n int) KindOption {
	if n < 0 {
		panic("actor.Stash: a negative number of messages")
	}
	if n == 0 {
		n = mailbox.DefaultCapacity
	}
	return func(k *Kind) { k.stash = n }
}

// Stash puts the message that is being handled aside, when its handler returns. It is handled anew
// after Unstash, with a Context of its own, as if its turn had not come before; what the handler
// returns is ignored. If the handler panics, the message is not put aside.
//
// A request stays unanswered meanwhile, and its deadline goes on. By Stash its handler promises that it
// has had no effect: a caller who cancels, or whose deadline passes, learns that the request
// has not run, as while it waits in the mailbox. A request under a key (rpc.Key) keeps it: other attempts
// wait for its outcome. A request that several workers of a pool have (route.FirstOf) counts as under way
// from its first handler on, and so a caller who gives up does not know whether it has run.
//
// If the actor is restarted, all that is put aside comes back in front of the mailbox, in order.
// If it ends, requests fail as not run (rpc.Unavailable), and one-way messages are dead letters. An actor
// that has put something aside does not end because it is idle; see Idle.
//
// If Stash returns an error, the message is still in hand, and the handler may answer it:
//   - ErrStashFull: the stash is full, also without the requests that will never run
//   - ErrNoStash: the kind has no Stash
//   - rpc.Invalid: the message cannot be put aside: it has been answered, or its answer was put
//     off by Defer; it was put aside already; it opens a stream; it is a request, or a job, to a Durable or
//     Transactional kind, where its beginning is on record; or it is from a timer, a watch or Idle,
//     and so for this incarnation only
//
// Interceptors see each time that a message is handled. Only the handler itself may call Stash, until it
// returns; afterwards the error is rpc.Invalid.
func (c *Context) Stash() error {
	k := c.cell.kind
	switch {
	case k.stash == 0:
		return ErrNoStash
	case c.msg == nil || !c.life.running() || !c.life.unanswered() || c.deferred() != nil:
		return rpc.Errorf(rpc.Invalid, rpc.HasRun, "there is no message in hand that can be put aside")
	case c.asks && k.recorded():
		return rpc.Errorf(rpc.Invalid, rpc.HasRun, "kind %s keeps records, and so a request to it cannot be put aside", k.name)
	case !c.cell.hasRoomAside():
		return ErrStashFull
	}
	c.life.stash()
	return nil
}

// Unstash brings all messages back that were put aside, in order, in front of what waits in the
// mailbox, and returns how many there are. They are handled after the message in hand. A
// handler may still put that one aside. They come before messages of higher classes, too (see PriorityOf),
// since their turn has come before, and before those of all senders (mailbox.Config.Fair). Unstash may be
// called when Stash may, and by hooks.
func (c *Context) Unstash() int {
	a := c.cell.more.Load()
	if a == nil || !c.life.running() {
		return 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	n := int(a.stashed.Load())
	a.unstash(c.cell)
	return n
}

// unstash is Unstash. a.mu is held.
func (a *annex) unstash(c *cell) {
	k := a.conduct
	if k == nil || len(k.aside) == 0 {
		return
	}
	k.back, k.aside = append(k.aside, k.back...), nil // what comes back already is younger than what is aside
	a.stashed.Store(0)
	c.life.word.Or(turned)
}

// hasRoomAside reports whether one more message can be put aside. If there is no room, it
// ends the requests there that will not run.
func (c *cell) hasRoomAside() bool {
	a := c.annexed()
	a.mu.Lock()
	var dead []item
	k := a.conducts()
	if len(k.aside) >= c.kind.stash {
		kept := k.aside[:0]
		for _, it := range k.aside {
			if willNotRun(&it) {
				dead = append(dead, it)
			} else {
				kept = append(kept, it)
			}
		}
		clear(k.aside[len(kept):])
		k.aside = kept
		a.stashed.Store(int32(len(kept)))
	}
	room := len(k.aside) < c.kind.stash
	a.mu.Unlock()
	for _, it := range dead {
		it.req.Start() // returns false, and ends the request just as its turn would have
	}
	return room
}

// stashing returns h, or a handler whose messages can be put aside: each has a Context of its own
// that has the message.
func (h *handler) stashing() *handler {
	if h.run == nil { // see cell.handle
		return h
	}
	with := *h
	with.run = func(state any, c *Context, msg any, spare *reusableValues) {
		msg = plainValue(msg)
		if c.asks {
			c.msg = msg
		} else {
			lane := c.life.handler
			c = &Context{cell: c.cell, msg: msg, meta: c.meta, origin: c.origin}
			c.life.handler = lane
			defer c.handlerReturned()
		}
		h.run(state, c, msg, spare)
		c.putAside()
	}
	return &with
}

// takeOver has c do what the handler has said in h, the context that interceptors have made of c.
func (c *Context) takeOver(h *Context) {
	if h != c && h.life.stashed() {
		c.life.stash()
	}
}

// putAside is called when a handler has returned. It puts the message aside, if the handler has said so.
func (c *Context) putAside() {
	if !c.life.stashed() {
		return
	}
	it := item{msg: c.msg, req: c.req, meta: c.meta}
	if c.origin != nil { // so that originOf finds it
		m := new(meta)
		if c.meta != nil {
			*m = *c.meta
		}
		m.arrival = &server.Arrival{Origin: c.origin}
		it.meta = m
	}
	if c.asks {
		c.end() // nobody refers to the request through c from now on
		if j, ok := it.req.(*job); ok {
			j.keeps(it)
		}
		if !it.req.PutBack() {
			return
		}
	}
	a := c.cell.annexed()
	a.mu.Lock()
	defer a.mu.Unlock()
	k := a.conducts()
	k.aside = append(k.aside, it)
	a.stashed.Store(int32(len(k.aside)))
}

// turn does what is due before the next message, because a handler has called Become, Unbecome or
// Unstash: it puts the messages that come back in front of the batch in hand.
func (c *cell) turn(w *worker) {
	if c.life.word.Load()&turned == 0 {
		return
	}
	c.life.word.And(^turned)
	a := c.annexed()
	a.mu.Lock()
	k := a.conducts()
	back := k.back
	k.back = nil
	a.mu.Unlock()
	if len(back) == 0 {
		return
	}
	if w.taken == nil {
		w.taken = new(mailbox.Batch[item]) // the run loop has a batch in hand now
	}
	rest := w.batch[w.done:]
	w.begun = len(back) + max(w.begun-w.done, 0) // what comes back needs no record
	w.more += w.done - len(back)                 // which was counted when it was put aside
	w.batch, w.done = append(back, rest...), 0
	clear(rest)
}

// startOver forgets the behaviours, and brings back what is aside, because fresh state begins.
func (c *cell) startOver() {
	a := c.annexed()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unstash(c)
	if k := a.conduct; k != nil {
		k.stack = nil
		c.actAs(a)
	}
}

// handBackStash hands back what was put aside, because the actor ends.
func (c *cell) handBackStash() {
	a := c.more.Load()
	if a == nil {
		return
	}
	a.mu.Lock()
	k := a.conduct
	a.conduct = nil
	a.stashed.Store(0)
	a.mu.Unlock()
	if k == nil {
		return
	}
	for _, it := range append(k.aside, k.back...) {
		c.self.sys.handBack(c.self.addr, it, errStopped)
	}
}
