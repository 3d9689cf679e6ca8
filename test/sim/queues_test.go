package sim

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/draw"
	"github.com/tandem-go/tandem/internal/queuestore"
	"github.com/tandem-go/tandem/internal/simulation"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
)

// Parcel is an item of the queues.
type Parcel struct {
	ID      uint64
	On      string // the queue that it entered, with its node's epoch
	Place   int    // there
	Delayed bool
}

// line observes an actor that is a queue.
type line struct {
	w  *world
	on string // its address, and its node's epoch
}

func (w *world) lineKind(sys *actor.System) *actor.Kind {
	l := &line{w, sys.Ref("line").String() + "/" + sys.Epoch()}
	return actor.StoredQueueKind[Parcel]("sim.line", &watched{cfg: w.plan.Patterns.Queue, push: l.push, done: l.bounded})
}

func (l *line) push(q queuestore.Queue, it queue.Item[any]) (duplicate bool, err error) {
	on, before, item := l.on, q.Stats().Pushed, it.Value.(Parcel)
	item.On, item.Delayed = on, it.Delay > 0
	item.Place = l.w.queues.place()
	it.Value = item
	l.w.queues.mu.Lock() // an item is known to the truth before any consumer has it
	p := &parcel{Parcel: item, priority: it.Priority, at: l.w.truth.Now()}
	known := l.w.queues.entered(on, item.ID)
	if known == nil {
		l.w.queues.enter(on, p)
	}
	l.w.queues.mu.Unlock()
	if l.w.cheats("an id is forgotten") {
		it.ID = ""
	}
	_, err = q.Push(it)
	entered := q.Stats().Pushed != before
	switch {
	case entered && known != nil:
		l.w.truth.Bad("parcel %x entered %s twice", item.ID, on)
	case !entered && known == nil:
		l.w.queues.forget(on, item.ID)
	}
	l.bounded(q.Stats())
	return !entered, err
}

// bounded checks that a queue holds no more than it may.
func (l *line) bounded(s queue.Stats) {
	most := l.w.plan.Patterns.Queue.Capacity
	if l.w.cheats("a queue is too full") {
		most = 1
	}
	if s.Depth+s.Delayed+s.InFlight > most {
		l.w.truth.Bad("%s holds %d items, and may hold %d", l.on, s.Depth+s.Delayed+s.InFlight, most)
	}
}

// parcel is what is known of a Parcel that has entered a queue.
type parcel struct {
	Parcel
	priority int
	at       time.Duration
	given    []*given
	perhaps  bool // somebody acked it, and was not told what came of it
	dead     bool
}

// given is one delivery of a parcel, as its consumer saw it. The end of its lease is known to
// be between two times.
type given struct {
	attempt      int
	asked, got   time.Duration // the pull
	least, most  time.Duration // the lease ends between these
	nacked       bool          // or may have been
	acked        bool
	begun, ended time.Duration // of that ack
}

// queuesTruth knows what became of parcels.
type queuesTruth struct {
	mu     sync.Mutex // guards what follows
	in     map[string]map[uint64]*parcel
	places int
	pushed map[uint64]*simulation.Node // those that were said to be in a queue of that node
	never  map[uint64]error            // that were said never to be
}

func (t *queuesTruth) place() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.places++
	return t.places
}

func (t *queuesTruth) entered(on string, id uint64) *parcel { return t.in[on][id] }

func (t *queuesTruth) enter(on string, p *parcel) {
	if t.in == nil {
		t.in, t.pushed, t.never = map[string]map[uint64]*parcel{}, map[uint64]*simulation.Node{}, map[uint64]error{}
	}
	if t.in[on] == nil {
		t.in[on] = map[uint64]*parcel{}
	}
	t.in[on][p.ID] = p
}

func (t *queuesTruth) forget(on string, id uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.in[on], id)
}

// push fills a queue, and sometimes pushes the same parcel twice.
func (u *user) push() {
	to := u.target()
	for range 1 + u.r.IntN(5) {
		id := u.id()
		opts := []actor.PushOption{actor.PushID(fmt.Sprintf("%x", id)), actor.Priority(u.r.IntN(3))}
		if draw.Chance(u.r, 0.15) {
			opts = append(opts, actor.Delay(draw.Span(u.r, 0, 3*time.Second)))
		}
		times := draw.Pick(u.r, 1, 1, 1, 2, 3)
		for range times {
			u.pushOne(to, id, times == 1, opts)
		}
	}
}

func (u *user) pushOne(to *simulation.Node, id uint64, once bool, opts []actor.PushOption) {
	ctx, cancel, due := u.brief(time.Millisecond, 5*time.Second)
	defer cancel()
	err := actor.Push(ctx, u.life.Sys.Ref("line@"+to.Name), Parcel{ID: id}, opts...)
	u.w.inTime(fmt.Sprintf("the push of parcel %x", id), due)
	u.w.truth.Note("pushed %x to %s: %v", id, to.Name, err)
	u.w.typed("a push", err)
	if u.w.cheats("a lost push is called accepted") {
		err = nil
	}
	if u.w.cheats("a push is called refused") {
		err = rpc.Errorf(rpc.Unavailable, rpc.NotRun, "a lie")
	}
	t := &u.w.queues
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pushed == nil {
		t.enter("", &parcel{})
	}
	switch {
	case err == nil:
		t.pushed[id] = to
	case rpc.Ran(err) == rpc.NotRun && once:
		t.never[id] = err
	}
}

// consume pulls parcels, and acks, rejects, extends or forgets them.
func (u *user) consume() {
	to := u.target()
	batch := u.pull(to, 1+u.r.IntN(5), draw.Span(u.r, 0, 4*time.Second))
	for _, d := range batch {
		g := u.got(d)
		if g == nil {
			continue
		}
		if draw.Chance(u.r, 0.3) {
			time.Sleep(draw.Span(u.r, 0, 2*u.w.plan.Patterns.Queue.Lease))
		}
		switch x := u.r.Float64(); {
		case x < 0.55:
			u.ack(d, g)
		case x < 0.7:
			u.nack(d, g)
		case x < 0.85:
			u.extend(d, g)
			time.Sleep(draw.Span(u.r, 0, 2*u.w.plan.Patterns.Queue.Lease))
			u.ack(d, g)
		}
	}
}

type delivery struct {
	actor.Delivery[Parcel]
	asked, got time.Duration
}

func (u *user) pull(to *simulation.Node, n int, wait time.Duration) []delivery {
	asked := u.w.truth.Now()
	ctx, cancel, due := u.brief(wait, wait+6*time.Second)
	defer cancel()
	batch, err := actor.Pull[Parcel](ctx, u.life.Sys.Ref("line@"+to.Name), actor.Max(n), actor.Wait(wait))
	u.w.inTime("a pull", due)
	u.w.typed("a pull", err)
	var all []delivery
	for i, d := range batch {
		if u.w.cheats("a batch is out of order") && i > 0 && len(batch) > 1 {
			d, all[0].Delivery = all[0].Delivery, d
		}
		all = append(all, delivery{d, asked, u.w.truth.Now()})
	}
	u.inOrder(all)
	return all
}

// inOrder checks that parcels that were never delivered before come in the order of priority
// and push.
func (u *user) inOrder(all []delivery) {
	var last *delivery
	for i, d := range all {
		if d.Attempt != 1 || d.Message.Delayed {
			continue
		}
		if last != nil && (d.Priority > last.Priority || d.Priority == last.Priority && d.Message.Place < last.Message.Place) {
			u.w.truth.Bad("parcel %x (priority %d) was given out before parcel %x (priority %d)", last.Message.ID, last.Priority, d.Message.ID, d.Priority)
		}
		last = &all[i]
	}
}

// got notes a delivery, and checks that it is allowed.
func (u *user) got(d delivery) *given {
	if u.w.cheats("an attempt is not counted") {
		d.Attempt = 1
	}
	t, lease := &u.w.queues, u.w.plan.Patterns.Queue.Lease
	g := &given{attempt: d.Attempt, asked: d.asked, got: d.got, least: d.asked + lease, most: d.got + d.Lease}
	if u.w.cheats("a lease is not respected") {
		g.least += time.Minute
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.in[d.Message.On][d.Message.ID]
	u.w.truth.Note("  got %x of %s, attempt %d, lease %v", d.Message.ID, d.Message.On, d.Attempt, d.Lease)
	if p == nil {
		u.w.truth.Bad("parcel %x came out of %s, which it never entered", d.Message.ID, d.Message.On)
		return nil
	}
	if d.Attempt > u.w.plan.Patterns.Queue.Attempts || u.w.cheats("attempts have no end") {
		u.w.truth.Bad("parcel %x was given out for the %dth time", p.ID, d.Attempt)
	}
	for _, o := range p.given {
		switch {
		case o.attempt == g.attempt:
			u.w.truth.Bad("parcel %x was given out twice as attempt %d", p.ID, g.attempt)
		case o.attempt < g.attempt && g.got < o.least && !o.nacked:
			u.w.truth.Bad("parcel %x was given out as attempt %d at %v, and the lease of attempt %d lasts until %v", p.ID, g.attempt, g.got, o.attempt, o.least)
		case o.acked && g.asked > o.ended:
			u.w.truth.Bad("parcel %x was given out after it was acked", p.ID)
		}
	}
	p.given = append(p.given, g)
	return g
}

func (u *user) settle(what string, do func(context.Context) error) (begun time.Duration, err error) {
	ctx, cancel, due := u.brief(10*time.Millisecond, 5*time.Second)
	defer cancel()
	begun = u.w.truth.Now()
	err = do(ctx)
	u.w.inTime(what, due)
	u.w.typed(what, err)
	u.w.truth.Note("  %s: %v", what, err)
	return begun, err
}

func (u *user) ack(d delivery, g *given) {
	begun, err := u.settle(fmt.Sprintf("ack of %x", d.Message.ID), d.Ack)
	if u.w.cheats("a late ack is called good") && errors.Is(err, actor.ErrLeaseExpired) {
		err = nil
	}
	t := &u.w.queues
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.in[d.Message.On][d.Message.ID]
	switch {
	case err == nil:
		if begun > g.most {
			u.w.truth.Bad("parcel %x was acked at %v, and its lease ended at %v", p.ID, begun, g.most)
		}
		for _, o := range p.given {
			if o.acked || u.w.cheats("two acks are good") {
				u.w.truth.Bad("parcel %x was acked twice, by attempts %d and %d", p.ID, o.attempt, g.attempt)
			}
		}
		g.acked, g.begun, g.ended = true, begun, u.w.truth.Now()
	case rpc.Ran(err) == rpc.Unknown:
		p.perhaps = true
	}
}

func (u *user) nack(d delivery, g *given) {
	u.w.queues.mu.Lock()
	g.nacked = true // from now on it may come again
	u.w.queues.mu.Unlock()
	delay := draw.Pick(u.r, 0, draw.Span(u.r, 0, 2*time.Second))
	_, _ = u.settle(fmt.Sprintf("nack of %x", d.Message.ID), func(ctx context.Context) error { return d.Nack(ctx, delay) })
}

func (u *user) extend(d delivery, g *given) {
	by := draw.Span(u.r, time.Millisecond, 10*time.Second)
	u.w.queues.mu.Lock()
	g.least, g.most = min(g.least, u.w.truth.Now()+by), g.most+time.Minute // until it is known
	u.w.queues.mu.Unlock()
	begun, err := u.settle(fmt.Sprintf("extension of %x by %v", d.Message.ID, by), func(ctx context.Context) error { return d.Extend(ctx, by) })
	u.w.queues.mu.Lock()
	defer u.w.queues.mu.Unlock()
	if err == nil {
		g.least, g.most = begun+by, u.w.truth.Now()+by
	}
}

// drain empties the queues when everything is over.
func (w *world) drain() {
	if !w.plan.Patterns.Queues {
		return
	}
	for i, n := range w.Nodes {
		u := w.newUser(50 + i)
		u.home, u.life = n, n.Live()
		ref := u.life.Sys.Ref("line@" + n.Name)
		for {
			st, err := actor.QueueStats[Parcel](context.Background(), ref)
			if err != nil {
				w.truth.Bad("the queue of %s is not there: %v", n.Name, err)
				break
			}
			if st.Depth+st.Delayed+st.InFlight == 0 {
				break
			}
			if w.truth.Now() > w.plan.Length+2*patience {
				w.truth.Bad("the queue of %s does not become empty: %+v", n.Name, st)
				break
			}
			time.Sleep(time.Millisecond) // so a queue that refuses all comes to the limit
			for _, d := range u.pull(n, 10, 10*time.Second) {
				if w.cheats("an item is lost") {
					_ = d.Ack(context.Background())
				} else if g := u.got(d); g != nil {
					u.ack(d, g)
				}
			}
		}
		dead, err := actor.DeadItems[Parcel](context.Background(), ref, actor.Max(actor.MaxPull))
		if err != nil {
			w.truth.Bad("the dead letters of %s: %v", n.Name, err)
		}
		w.queues.checkDead(w, dead)
	}
}

// checkDead checks the dead letters of a queue.
func (t *queuesTruth) checkDead(w *world, dead []actor.DeadItem[Parcel]) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, d := range dead {
		p := t.in[d.Message.On][d.Message.ID]
		if p == nil {
			w.truth.Bad("parcel %x is dead on %s, which it never entered", d.Message.ID, d.Message.On)
			continue
		}
		p.dead = !w.cheats("a dead letter is lost")
		if d.Attempts != w.plan.Patterns.Queue.Attempts || w.cheats("an item dies too early") {
			w.truth.Bad("parcel %x is dead after %d attempts", p.ID, d.Attempts)
		}
		for _, g := range p.given {
			if g.acked || w.cheats("an acked item is dead") {
				w.truth.Bad("parcel %x is dead, and was acked", p.ID)
			}
		}
	}
}

func (t *queuesTruth) judge(w *world) {
	t.mu.Lock()
	defer t.mu.Unlock()
	alive := map[string]bool{}
	for _, n := range w.Nodes {
		alive["line@"+n.Name+"/"+n.Live().Sys.Epoch()] = true
	}
	everIn := map[uint64]bool{}
	for on, all := range t.in {
		for id, p := range all {
			everIn[id] = true
			acked := false
			for _, g := range p.given {
				acked = acked || g.acked
			}
			if alive[on] && on != "" && !acked && !p.perhaps && !p.dead {
				w.truth.Bad("parcel %x entered %s, and was lost", id, on)
			}
		}
	}
	for id, to := range t.pushed {
		if !everIn[id] {
			w.truth.Bad("parcel %x was said to be in the queue of %s, and never was", id, to.Name)
		}
	}
	for id, err := range t.never {
		if everIn[id] {
			w.truth.Bad("parcel %x is in a queue, and was said never to be: %v", id, err)
		}
	}
}
