package actor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"time"

	"github.com/tandem-go/tandem/internal/queuestore"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
)

// QueueKind describes an actor that is a queue of Ts. Any node can Push items to it and Pull
// items from it. The items are in memory; see StoredQueueKind for a queue that is kept in NATS.
// QueueKind panics, at the program's start, if cfg is not valid.
//
//	var JobsKind = actor.QueueKind[Job]("jobs", queue.Config{Lease: time.Minute})
func QueueKind[T any](name string, cfg queue.Config) *Kind {
	if err := cfg.Validate(); err != nil {
		panic(fmt.Sprintf("actor.QueueKind(%q): %v", name, err))
	}
	self := func(o *Offer[T]) *Offer[T] { return o }
	return Define(name, func() *Offer[T] { return NewOffer[T](cfg) }, ServePull(self), ServePush(self))
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
//		actor.ServePull(func(c *Crawler) *actor.Offer[Page] { return c.pages }))
//
// It is part of the actor's state: made by the function that makes the state, and used only
// in the actor's own turn. After a panic it is empty again, and earlier deliveries get
// ErrForeign.
type Offer[T any] struct {
	q       *queue.Queue[T]
	pulls   map[uint64]*pendingPull[T] // the pulls that wait
	last    uint64                     // number of the latest pull
	listed  bool                       // the system's waitLists know the offer
	timer   *time.Timer                // wakes the actor at armed
	armed   time.Time                  // zero: the timer is not set
	tokens  tokenCipher
	kept    map[*itemMemory]struct{} // of the items that other nodes have pushed
	returns queuestore.Returner      // gets the items that were nacked or whose leases expired; nil: they stay in q
}

// pendingPull is a Pull that waits for items.
type pendingPull[T any] struct {
	later  *Deferred[dequeued[T]]
	unhook func() bool // stops watching the caller
}

// NewOffer makes an empty queue. It panics if cfg is not valid.
func NewOffer[T any](cfg queue.Config) *Offer[T] {
	q, err := queue.New[T](cfg, rand.Uint64())
	if err != nil {
		panic(fmt.Sprintf("actor.NewOffer: %v", err))
	}
	return &Offer[T]{q: q, pulls: map[uint64]*pendingPull[T]{}, tokens: newTokenCipher()}
}

// ServePull makes the handlers through which consumers Pull from the queue in an actor's state,
// answer deliveries and manage the queue. A kind may have one queue for each item type.
func ServePull[S, T any](of func(S) *Offer[T]) Handler[S] {
	h := Answer(func(s S, ctx *Context, m dequeue[T]) (dequeued[T], error) { return of(s).answer(ctx, m) })
	h.h.also = Answer(func(s S, ctx *Context, m oversee[T]) (dequeued[T], error) { return of(s).oversee(ctx, m) }).h
	return h
}

// ServePush makes the handler through which others Push to the queue in an actor's state.
func ServePush[S, T any](of func(S) *Offer[T]) Handler[S] {
	return Answer(func(s S, ctx *Context, m enqueue[T]) (enqueued, error) {
		return of(s).takeIn(ctx, m)
	})
}

// Push adds an item, and gives it to a consumer if one waits. An item whose id is known
// is not added again. The error is queue.ErrFull. ctx is that of the handler.
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
		at := ctx.cell.self.addr
		ctx.System().lost(at, item{msg: p.Dropped}, nil, errPushedOut, "queue "+at.String()) // another node may have pushed it
	}
	o.serve(ctx, 0)
	return p.Duplicate, nil
}

var errPushedOut = rpc.Errorf(rpc.Overloaded, rpc.NotRun, "dropped at a full queue")

// answer answers a consumer.
func (o *Offer[T]) answer(ctx *Context, m dequeue[T]) (dequeued[T], error) {
	now := time.Now()
	reply := dequeued[T]{Queue: ctx.Self()}
	each := func(do func(queue.Token) error) { o.each(&reply, m.Tokens, do) }
	switch m.Op {
	case queuestore.Pull:
		return o.pull(ctx, m)
	case queuestore.Ack:
		each(func(t queue.Token) error { return o.q.Ack(now, t) })
	case queuestore.Nack:
		each(func(t queue.Token) error { return o.nack(now, t, m.Delay) })
	case queuestore.Extend:
		each(func(t queue.Token) error { return o.q.Extend(now, t, m.Delay) })
	case queuestore.Release:
		each(func(t queue.Token) error { return o.q.Release(now, t, m.Delay) })
	case opNudge:
		o.nudged(m.waiter)
	default:
		return reply, rpc.Errorf(rpc.Unhandled, rpc.HasRun, "unknown operation %d on a queue", m.Op)
	}
	o.serve(ctx, 0)
	return reply, nil
}

// oversee answers a request that manages the queue.
func (o *Offer[T]) oversee(ctx *Context, m oversee[T]) (dequeued[T], error) {
	now := time.Now()
	reply := dequeued[T]{Queue: ctx.Self()}
	each := func(do func(queue.Token) error) { o.each(&reply, m.Tokens, do) }
	switch m.Op {
	case queuestore.Stats:
		reply.Stats = new(o.q.Stats(now))
	case queuestore.Dead:
		return o.listDead(ctx, m.Max)
	case queuestore.Pause:
		o.q.Pause()
	case queuestore.Resume:
		o.q.Resume()
	case queuestore.Purge:
		reply.Count = o.q.Purge(now)
	case queuestore.Waiting:
		return o.listWaiting(ctx, now, m.Max)
	case queuestore.Cancel:
		each(func(t queue.Token) error { return o.q.Cancel(now, t) })
	case queuestore.Revive:
		each(func(t queue.Token) error { return o.q.Revive(now, t) })
	case queuestore.Discard:
		each(func(t queue.Token) error { return o.q.Discard(now, t) })
	default:
		return reply, rpc.Errorf(rpc.Unhandled, rpc.HasRun, "unknown operation %d on a queue", m.Op)
	}
	o.serve(ctx, 0)
	return reply, nil
}

// each calls do for each token, and adds errors to reply.Failed.
func (o *Offer[T]) each(reply *dequeued[T], tokens [][3]uint64, do func(queue.Token) error) {
	for i, t := range tokens {
		if err := do(o.tokens.decrypt(t)); err != nil {
			reply.Failed = append(reply.Failed, queuestore.FailureOf(i, err))
		}
	}
}

func (o *Offer[T]) nack(now time.Time, t queue.Token, delay time.Duration) error {
	if o.returns == nil {
		return o.q.Nack(now, t, delay)
	}
	err := o.q.Surrender(now, t)
	if err == nil {
		o.returns.Back(t, delay, queue.Nacked)
	}
	return err
}

// pull serves a Pull, at once or later.
func (o *Offer[T]) pull(ctx *Context, m dequeue[T]) (dequeued[T], error) {
	var none dequeued[T]
	if ctx.req == nil {
		return none, rpc.Errorf(rpc.Invalid, rpc.HasRun, "a Pull that nobody waits for")
	}
	o.last++
	number := o.last
	if err := o.wait(number, min(max(1, m.Max), MaxPull), min(m.Wait, MaxWait)); err != nil {
		return refuse[dequeued[T]](ctx, rpc.Overloaded, err)
	}
	items, served := o.serve(ctx, number)
	if _, encoded := ctx.req.(replier); served && !encoded {
		return o.handouts(ctx, items), nil
	}
	later := Defer[dequeued[T]](ctx)
	if served {
		if !o.hand(ctx, later, items) {
			o.serve(ctx, 0)
		}
		return none, nil
	}
	c := ctx.cell
	o.enlist(c)
	o.pulls[number] = &pendingPull[T]{later, context.AfterFunc(ctx, func() { nudge(c, dequeue[T]{Op: opNudge, waiter: number}, false) })}
	if c.self.sys.draining() {
		o.serve(ctx, 0)
	}
	return none, nil
}

// nudged removes the pull of a caller that has cancelled, if waiter is one.
func (o *Offer[T]) nudged(waiter uint64) {
	if o.pulls[waiter] != nil {
		o.q.Leave(waiter)
		delete(o.pulls, waiter)
	}
}

// end refuses the waiting pulls of an offer whose actor has ended or restarted, and frees the
// memory counted for its items.
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

var errEnded = errors.New("the queue's actor has ended or was restarted")

// answerAll answers all waiting pulls without items.
func (o *Offer[T]) answerAll(ctx *Context) {
	for number, p := range o.pulls {
		o.q.Leave(number)
		delete(o.pulls, number)
		p.unhook()
		o.hand(ctx, p.later, nil)
	}
}

// serve does what is due, answers the waiting pulls for which there are items, and sets the
// timer. Items for the pull own are returned, and not sent.
func (o *Offer[T]) serve(ctx *Context, own uint64) (items []queue.Delivery[T], served bool) {
	for again := true; again; {
		again = false
		if o.returns != nil {
			for _, d := range o.q.Expire(time.Now()) {
				o.returns.Back(d.Token, 0, queue.LeaseExpired)
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
		o.answerAll(ctx)
	}
	if o.listed && len(o.pulls)+len(o.kept) == 0 {
		o.listed = false
		ctx.System().waitLists.drop(ctx.cell, o)
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
		o.timer = time.AfterFunc(time.Until(at), func() { nudge(c, dequeue[T]{Op: opNudge}, true) })
	default:
		o.armed = at
		o.timer.Reset(time.Until(at))
	}
}

// hand answers a pull. It returns false if items went back into the queue, because nobody waits
// for them any more or they are too large for one reply.
func (o *Offer[T]) hand(ctx *Context, later *Deferred[dequeued[T]], items []queue.Delivery[T]) bool {
	if refusal := o.pullRefusal(later.d.ctx, ctx.System()); refusal != nil { // it may not have them any more
		_ = later.d.end(func(r request) error { r.Fail(refusal); return nil })
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
		n, err := replyInParts(ctx, in, len(items), func(n int) any { return o.handouts(ctx, items[:n]) }, reflect.TypeFor[dequeued[T]]())
		given = n
		return err
	})
	if err != nil && tried && len(items) > 0 { // the first item cannot be encoded, and never will
		_ = o.nack(time.Now(), items[0].Token, 0)
		items = items[1:]
	}
	return o.release(items[given:]) && err == nil
}

// release puts items back that reached nobody. It returns true if there are none.
func (o *Offer[T]) release(items []queue.Delivery[T]) bool {
	for _, d := range items {
		_ = o.q.Undo(time.Now(), d.Token) // it cannot fail: the lease has just begun
	}
	return len(items) == 0
}

// maxReply is the size, in bytes, of the largest reply with several items. Replies up to that
// size are kept for copies of their request.
const maxReply = rpc.DefaultKeep

// replyInParts answers a request with as many of the first n items as fit into a reply, but at
// least one, and returns how many.
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
func (o *Offer[T]) listDead(ctx *Context, n int) (dequeued[T], error) {
	dead := o.q.DeadLetters(min(max(1, n), MaxPull))
	all := make([]handout[T], len(dead))
	for i, d := range dead {
		all[i] = handout[T]{Token: o.tokens.encrypt(d.Token), ID: d.ID, Attempt: d.Attempts, Priority: d.Priority, Message: d.Value,
			Reason: d.Reason, Age: time.Since(d.Time)}
	}
	return answerList(ctx, all)
}

// listWaiting answers with items that no consumer has.
func (o *Offer[T]) listWaiting(ctx *Context, now time.Time, n int) (dequeued[T], error) {
	waiting := o.q.Waiting(min(max(1, n), MaxPull))
	all := make([]handout[T], len(waiting))
	for i, w := range waiting {
		all[i] = handout[T]{Token: o.tokens.encrypt(w.Token), ID: w.ID, Attempt: w.Attempts, Priority: w.Priority, Message: w.Value, Age: now.Sub(w.Since)}
		if !w.Due.IsZero() {
			all[i].Age = -w.Due.Sub(now)
		}
	}
	return answerList(ctx, all)
}

// answerList answers with as much of a list as fits into a reply.
func answerList[T any](ctx *Context, all []handout[T]) (dequeued[T], error) {
	reply := func(n int) dequeued[T] { return dequeued[T]{Queue: ctx.Self(), Items: all[:n]} }
	in, encoded := ctx.req.(replier)
	if !encoded {
		return reply(len(all)), nil
	}
	_ = Defer[dequeued[T]](ctx).d.end(func(request) error {
		_, err := replyInParts(ctx, in, len(all), func(n int) any { return reply(n) }, reflect.TypeFor[dequeued[T]]())
		return err
	})
	return dequeued[T]{}, nil
}

func (o *Offer[T]) handouts(ctx *Context, items []queue.Delivery[T]) dequeued[T] {
	all := make([]handout[T], len(items))
	for i, d := range items {
		all[i] = handout[T]{Token: o.tokens.encrypt(d.Token), ID: d.ID, Attempt: d.Attempt, Priority: d.Priority, Message: d.Value, Age: time.Until(d.Until), Trace: []byte(d.Trace)}
	}
	return dequeued[T]{Queue: ctx.Self(), Items: all}
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

// nudge puts a message of the actor's own into its mailbox, from a timer. With again it retries
// later if there is no room, because otherwise nobody would set the next timer.
func nudge(c *cell, m any, again bool) {
	p, err := c.enqueue(item{msg: m})
	switch {
	case errors.Is(err, mailbox.ErrClosed):
	case err == nil && !p.Own:
		c.accepted(p)
	case again:
		time.AfterFunc(nudgeAgain, func() { nudge(c, m, true) })
	}
}

const nudgeAgain = 100 * time.Millisecond
