package actor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"time"

	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
)

// QueueKind describes an actor that is a queue of Ts: Push fills it, Pull takes from it,
// on any node. Its items live in memory; package queue/jetstream has a kind that keeps
// them in NATS. It panics, at the program's start, if cfg is not valid.
//
//	var JobsKind = actor.QueueKind[Job]("jobs", queue.Config{Lease: time.Minute})
func QueueKind[T any](name string, cfg queue.Config) *Kind {
	if err := cfg.Validate(); err != nil {
		panic(fmt.Sprintf("actor.QueueKind(%q): %v", name, err))
	}
	self := func(o *Offer[T]) *Offer[T] { return o }
	return Define(name, func() *Offer[T] { return NewOffer[T](cfg) }, Offers(self), TakesIn(self))
}

// Offer is a queue inside an actor, which offers items to consumers on any node:
//
//	type Crawler struct{ pages *actor.Offer[Page] }
//
//	func (c *Crawler) Found(ctx *actor.Context, m Found) error {
//		return c.pages.Push(ctx, Page{m.URL}, actor.PushID(m.URL))
//	}
//
//	var CrawlerKind = actor.Define("crawler",
//		func() *Crawler { return &Crawler{actor.NewOffer[Page](queue.Config{})} },
//		actor.Handle((*Crawler).Found),
//		actor.Offers(func(c *Crawler) *actor.Offer[Page] { return c.pages }))
//
// It is part of the actor's state: made by the function that makes that, used in the
// actor's own turn only, and empty again after a panic, when deliveries of before are
// foreign to it.
type Offer[T any] struct {
	// Back, if set, gets what is nacked and what has lapsed; it is in the queue no more
	// then. It is for queues whose items are kept elsewhere.
	Back func(ctx *Context, t queue.Token, delay time.Duration, why queue.Reason)

	q     *queue.Queue[T]
	pulls map[uint64]*pull[T] // those in line
	last  uint64              // the last pull's number
	lined bool                // the system knows that some are in line
	timer *time.Timer         // nudges the actor at armed
	armed time.Time           // zero: not at all
	seal  seal
	kept  map[*itemMemory]struct{} // of items that others have pushed
}

// pull is a Pull in line.
type pull[T any] struct {
	later  *Deferred[Dequeued[T]]
	unhook func() bool // takes back what watches the caller
}

// NewOffer makes an empty queue. It panics if cfg is not valid.
func NewOffer[T any](cfg queue.Config) *Offer[T] {
	q, err := queue.New[T](cfg, rand.Uint64())
	if err != nil {
		panic(fmt.Sprintf("actor.NewOffer: %v", err))
	}
	return &Offer[T]{q: q, pulls: map[uint64]*pull[T]{}, seal: newSeal()}
}

// Offers registers with a kind what consumers of a queue in its state send: Pull, and
// what is done to deliveries and dead letters. A kind may have a queue for each of
// several item types.
func Offers[S, T any](of func(S) *Offer[T]) Handler[S] {
	h := Answer(func(s S, ctx *Context, m Dequeue[T]) (Dequeued[T], error) { return of(s).Answer(ctx, m) })
	h.h.also = Answer(func(s S, ctx *Context, m Oversee[T]) (Dequeued[T], error) { return of(s).Oversee(ctx, m) }).h
	return h
}

// TakesIn registers with a kind that others may Push to the queue in its state.
func TakesIn[S, T any](of func(S) *Offer[T]) Handler[S] {
	return Answer(func(s S, ctx *Context, m Enqueue[T]) (Enqueued, error) {
		return of(s).takeIn(ctx, m)
	})
}

// Push adds an item, and hands it to a consumer if one waits. An item whose id is known
// is not added a second time. The error is queue.ErrFull. ctx is the handler's own.
func (o *Offer[T]) Push(ctx *Context, item T, opts ...PushOption) error {
	p := pushing(opts)
	dup, err := o.push(ctx, queue.Item[T]{Value: item, ID: p.id, Priority: p.priority, Delay: p.delay})
	p.report(dup)
	return err
}

func (o *Offer[T]) push(ctx *Context, it queue.Item[T]) (duplicate bool, err error) {
	p, err := o.q.Push(time.Now(), it)
	if err != nil {
		return false, err
	}
	if p.HasDropped {
		ctx.System().handBack(ctx.cell.self.addr, item{msg: p.Dropped}, errPushedOut)
	}
	o.serve(ctx, 0)
	return p.Duplicate, nil
}

var errPushedOut = rpc.Errorf(rpc.Overloaded, rpc.NotRun, "dropped at a full queue")

// Restore adds an item that is kept elsewhere too, see queue.Queue.Restore. Serve hands
// it out.
func (o *Offer[T]) Restore(number uint64, attempts int, it queue.Item[T]) bool {
	return o.q.Restore(time.Now(), number, attempts, it)
}

// Serve hands what was restored to those in line.
func (o *Offer[T]) Serve(ctx *Context) { o.serve(ctx, 0) }

// Withdraw takes out all that nobody was given, see queue.Queue.Withdraw.
func (o *Offer[T]) Withdraw() (numbers []uint64) { return o.q.Withdraw() }

// Cancel, Pause and Resume are those of queue.Queue, for a handler of the actor's own. A
// consumer that is in line when a pause ends is served by the actor's next message about
// the queue, or Serve.
func (o *Offer[T]) Cancel(t queue.Token) error { return o.q.Cancel(time.Now(), t) }
func (o *Offer[T]) Pause()                     { o.q.Pause() }
func (o *Offer[T]) Resume()                    { o.q.Resume() }

// Waiting returns the first n items that no consumer has, see queue.Queue.Waiting.
func (o *Offer[T]) Waiting(n int) []queue.Waiting[T] { return o.q.Waiting(n) }

// Evict and Leased are for items kept elsewhere too, see queue.Queue.
func (o *Offer[T]) Evict(number uint64) error { return o.q.Evict(number) }
func (o *Offer[T]) Leased(number uint64) bool { return o.q.Leased(number) }

// Dismiss ends all pulls in line with an error, for a queue that has nothing to give any
// more; they did not run.
func (o *Offer[T]) Dismiss(ctx *Context, code rpc.Code, why error) {
	for number, p := range o.pulls {
		o.q.Leave(number)
		delete(o.pulls, number)
		p.unhook()
		_ = p.later.Refuse(code, why)
	}
	o.serve(ctx, 0)
}

// Credit is how many items those in line would take; Stats a snapshot.
func (o *Offer[T]) Credit() int        { return o.q.Credit() }
func (o *Offer[T]) Stats() queue.Stats { return o.q.Stats(time.Now()) }

// Answer answers a consumer. Offers has it called; a kind that handles Dequeue itself
// leaves to it what it does not do.
func (o *Offer[T]) Answer(ctx *Context, m Dequeue[T]) (Dequeued[T], error) {
	now := time.Now()
	reply := Dequeued[T]{Queue: ctx.Self()}
	each := func(do func(queue.Token) error) { o.each(&reply, m.Tokens, do) }
	switch m.Op {
	case OpPull:
		return o.pull(ctx, m)
	case OpAck:
		each(func(t queue.Token) error { return o.q.Ack(now, t) })
	case OpNack:
		each(func(t queue.Token) error { return o.nack(ctx, now, t, m.Delay) })
	case OpExtend:
		each(func(t queue.Token) error { return o.q.Extend(now, t, m.Delay) })
	case OpRelease:
		each(func(t queue.Token) error { return o.q.Release(now, t, m.Delay) })
	case opNudge:
		o.nudged(m.waiter)
	default:
		return reply, rpc.Errorf(rpc.Unhandled, rpc.HasRun, "unknown operation %d on a queue", m.Op)
	}
	o.serve(ctx, 0)
	return reply, nil
}

// Oversee answers who manages the queue. Offers has it called; a kind that handles Oversee
// itself leaves to it what it does not do.
func (o *Offer[T]) Oversee(ctx *Context, m Oversee[T]) (Dequeued[T], error) {
	now := time.Now()
	reply := Dequeued[T]{Queue: ctx.Self()}
	each := func(do func(queue.Token) error) { o.each(&reply, m.Tokens, do) }
	switch m.Op {
	case OpStats:
		reply.Stats = new(o.q.Stats(now))
	case OpDead:
		return o.listDead(ctx, m.Max)
	case OpPause:
		o.q.Pause()
	case OpResume:
		o.q.Resume()
	case OpPurge:
		reply.Count = o.q.Purge(now)
	case OpWaiting:
		return o.listWaiting(ctx, now, m.Max)
	case OpCancel:
		each(func(t queue.Token) error { return o.q.Cancel(now, t) })
	case OpRevive:
		each(func(t queue.Token) error { return o.q.Revive(now, t) })
	case OpDiscard:
		each(func(t queue.Token) error { return o.q.Discard(now, t) })
	default:
		return reply, rpc.Errorf(rpc.Unhandled, rpc.HasRun, "unknown operation %d on a queue", m.Op)
	}
	o.serve(ctx, 0)
	return reply, nil
}

// each does something to the items of some tokens, and notes where it did not work.
func (o *Offer[T]) each(reply *Dequeued[T], tokens [][3]uint64, do func(queue.Token) error) {
	for i, t := range tokens {
		if err := do(o.Token(t)); err != nil {
			reply.Failed = append(reply.Failed, FailureOf(i, err))
		}
	}
}

func (o *Offer[T]) nack(ctx *Context, now time.Time, t queue.Token, delay time.Duration) error {
	if o.Back == nil {
		return o.q.Nack(now, t, delay)
	}
	err := o.q.Surrender(now, t)
	if err == nil {
		o.Back(ctx, t, delay, queue.Nacked)
	}
	return err
}

// pull serves a Pull, at once or later.
func (o *Offer[T]) pull(ctx *Context, m Dequeue[T]) (Dequeued[T], error) {
	var none Dequeued[T]
	if ctx.req == nil {
		return none, rpc.Errorf(rpc.Invalid, rpc.HasRun, "a Pull that nobody waits for")
	}
	o.last++
	number := o.last
	if err := o.wait(number, min(max(1, m.Max), MaxPull), min(m.Wait, MaxWait)); err != nil {
		return refuse[Dequeued[T]](ctx, rpc.Overloaded, err)
	}
	items, served := o.serve(ctx, number)
	if _, encoded := ctx.req.(replier); served && !encoded {
		return o.handouts(ctx, items), nil
	}
	later := Defer[Dequeued[T]](ctx)
	if served {
		if !o.hand(ctx, later, items) {
			o.serve(ctx, 0)
		}
		return none, nil
	}
	c := ctx.cell
	o.enlist(c)
	o.pulls[number] = &pull[T]{later, context.AfterFunc(ctx, func() { nudge(c, Dequeue[T]{Op: opNudge, waiter: number}, false) })}
	if c.self.sys.draining() {
		o.serve(ctx, 0)
	}
	return none, nil
}

// nudged deals with the end of a caller's interest, if that is what the nudge is for.
func (o *Offer[T]) nudged(waiter uint64) {
	if o.pulls[waiter] != nil {
		o.q.Leave(waiter)
		delete(o.pulls, waiter)
	}
}

// end refuses the pulls in line of an offer that nobody has any more, and gives back what its
// items took.
func (o *Offer[T]) end() {
	for _, p := range o.pulls {
		p.unhook()
		_ = p.later.Refuse(rpc.Unavailable, errEnded)
	}
	clear(o.pulls)
	for m := range o.kept {
		m.Gone()
	}
	if o.timer != nil {
		o.timer.Stop()
	}
}

var errEnded = errors.New("the queue's actor has ended or was started anew")

// dissolve answers all that wait with nothing.
func (o *Offer[T]) dissolve(ctx *Context) {
	for number, p := range o.pulls {
		o.q.Leave(number)
		delete(o.pulls, number)
		p.unhook()
		o.hand(ctx, p.later, nil)
	}
}

// serve does what is due, gives those in line what there is for them, and sets the
// timer. What it has for the pull own is returned instead.
func (o *Offer[T]) serve(ctx *Context, own uint64) (items []queue.Delivery[T], served bool) {
	for again := true; again; {
		again = false
		if o.Back != nil {
			for _, d := range o.q.Lapsed(time.Now()) {
				o.Back(ctx, d.Token, 0, queue.Lapsed)
			}
		}
		for _, s := range o.q.Serve(time.Now()) {
			if s.Waiter == own {
				items, served = s.Items, true
				continue
			}
			p := o.pulls[s.Waiter]
			delete(o.pulls, s.Waiter)
			p.unhook()
			again = !o.hand(ctx, p.later, s.Items) || again
		}
	}
	if len(o.pulls) > 0 && ctx.System().draining() {
		o.dissolve(ctx)
	}
	if o.lined && len(o.pulls)+len(o.kept) == 0 {
		o.lined = false
		ctx.System().lines.drop(ctx.cell, o)
	}
	o.arm(ctx)
	return items, served
}

// arm sets the timer for what is due next.
func (o *Offer[T]) arm(ctx *Context) {
	at, ok := o.q.NextDue()
	switch {
	case !ok && o.timer != nil:
		o.timer.Stop()
		o.armed = time.Time{}
	case !ok || at.Equal(o.armed) && time.Now().Before(at):
	case o.timer == nil:
		c := ctx.cell
		o.armed = at
		o.timer = time.AfterFunc(time.Until(at), func() { nudge(c, Dequeue[T]{Op: opNudge}, true) })
	default:
		o.armed = at
		o.timer.Reset(time.Until(at))
	}
}

// hand answers a pull. It reports false if items came back: because nobody waits for
// them any more, or they are too large for one reply.
func (o *Offer[T]) hand(ctx *Context, later *Deferred[Dequeued[T]], items []queue.Delivery[T]) bool {
	if refusal := o.barred(later.d.ctx, ctx.System()); refusal != nil { // meanwhile
		_ = later.d.end(func(r request) error { r.Refuse(refusal); return nil })
		return o.release(items)
	}
	in, encoded := later.d.ctx.request().(replier)
	if !encoded {
		if later.Answer(o.handouts(ctx, items)) != nil {
			return o.release(items)
		}
		return true
	}
	given, tried := 0, false
	err := later.d.end(func(request) error {
		tried = true
		n, err := replyInParts(ctx, in, len(items), func(n int) any { return o.handouts(ctx, items[:n]) }, reflect.TypeFor[Dequeued[T]]())
		given = n
		return err
	})
	if err != nil && tried && len(items) > 0 { // it cannot be encoded, now or ever
		_ = o.nack(ctx, time.Now(), items[0].Token, 0)
		items = items[1:]
	}
	return o.release(items[given:]) && err == nil
}

// release gives back what reached nobody; true if that is nothing.
func (o *Offer[T]) release(items []queue.Delivery[T]) bool {
	for _, d := range items {
		_ = o.q.Undo(time.Now(), d.Token) // its lease is on
	}
	return len(items) == 0
}

// maxReply is what a reply with several items may have, in bytes: it is kept for a
// replay.
const maxReply = rpc.DefaultKeep

// replyInParts answers a request with the first of n items that fit into a reply, one
// at least, and returns how many.
func replyInParts(ctx *Context, in replier, n int, reply func(n int) any, typ reflect.Type) (int, error) {
	for {
		typeID, codec, body, err := ctx.System().encodeFor(in, reply(n), typ)
		switch {
		case n > 1 && (err != nil || len(body) > maxReply):
			n = (n + 1) / 2
		case err != nil:
			return 0, err
		default:
			in.Reply(typeID, codec, body)
			return n, nil
		}
	}
}

// listDead answers with dead letters.
func (o *Offer[T]) listDead(ctx *Context, n int) (Dequeued[T], error) {
	dead := o.q.DeadLetters(min(max(1, n), MaxPull))
	all := make([]Handout[T], len(dead))
	for i, d := range dead {
		all[i] = Handout[T]{Token: o.seal.close(d.Token), ID: d.ID, Attempt: d.Attempts, Priority: d.Priority, Message: d.Value,
			Reason: d.Reason, Age: time.Since(d.Time)}
	}
	return answerList(ctx, all)
}

// listWaiting answers with items that no consumer has.
func (o *Offer[T]) listWaiting(ctx *Context, now time.Time, n int) (Dequeued[T], error) {
	waiting := o.q.Waiting(min(max(1, n), MaxPull))
	all := make([]Handout[T], len(waiting))
	for i, w := range waiting {
		all[i] = Handout[T]{Token: o.seal.close(w.Token), ID: w.ID, Attempt: w.Attempts, Priority: w.Priority, Message: w.Value, Age: now.Sub(w.Since)}
		if !w.Due.IsZero() {
			all[i].Age = -w.Due.Sub(now)
		}
	}
	return answerList(ctx, all)
}

// answerList answers with what of a list fits into a reply.
func answerList[T any](ctx *Context, all []Handout[T]) (Dequeued[T], error) {
	reply := func(n int) Dequeued[T] { return Dequeued[T]{Queue: ctx.Self(), Items: all[:n]} }
	in, encoded := ctx.req.(replier)
	if !encoded {
		return reply(len(all)), nil
	}
	_ = Defer[Dequeued[T]](ctx).d.end(func(request) error {
		_, err := replyInParts(ctx, in, len(all), func(n int) any { return reply(n) }, reflect.TypeFor[Dequeued[T]]())
		return err
	})
	return Dequeued[T]{}, nil
}

func (o *Offer[T]) handouts(ctx *Context, items []queue.Delivery[T]) Dequeued[T] {
	all := make([]Handout[T], len(items))
	for i, d := range items {
		all[i] = Handout[T]{Token: o.seal.close(d.Token), ID: d.ID, Attempt: d.Attempt, Priority: d.Priority, Message: d.Value, Age: time.Until(d.Until)}
	}
	return Dequeued[T]{Queue: ctx.Self(), Items: all}
}

// refuse ends the request being handled as one that did not run.
func refuse[R any](ctx *Context, code rpc.Code, why error) (R, error) {
	var none R
	if ctx.req == nil {
		return none, why
	}
	_ = Defer[R](ctx).Refuse(code, why)
	return none, nil
}

// nudge puts a message into an actor's own mailbox, from a timer. With again it comes
// later if there was no room: else nobody would set the next timer.
func nudge(c *cell, m any, again bool) {
	p, err := c.park(item{msg: m})
	switch {
	case errors.Is(err, mailbox.ErrClosed):
	case err == nil && !(p.HasDropped && c.box.DropsNewest()):
		c.accepted(p)
	case again:
		time.AfterFunc(nudgeAgain, func() { nudge(c, m, true) })
	}
}

const nudgeAgain = 100 * time.Millisecond
