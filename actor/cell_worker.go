package actor

import (
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/mailbox"
)

// worker is a goroutine that runs one busy actor after another. Workers belong to
// the system and are reused, because each fresh goroutine would have to grow its stack
// first. Idle actors hold none.
type worker struct {
	next  chan *cell // the actor to run next; nil: the worker ends
	waits bool       // it is idle; guarded by workers.mu
	sign             // what others see of it

	hand                    // of the actor being run
	last     lookup         // of the latest message's handler
	plain    *Context       // for its one-way messages without sender and trace
	reusable reusableValues // for the message that is being handled, and for its reply
	spare    *transaction   // for its next message to a stored actor; nil: none
	slab     []Context      // fresh contexts; each is given out once and never reused
}

// hand is the batch that a run loop has in hand.
type hand struct {
	taken   *mailbox.Batch[item]
	batch   []item            // its messages
	done    int               // messages of the batch that were handled, or are being handled
	begun   int               // messages of the batch that were prepared, see cell.prepare
	decoded []*server.Inbound // one-way messages of the batch from other nodes
	more    int               // messages of the batch that share an item with another one, as far as they were handled
}

// sign is what others see of a worker. They may be a little late to see it.
type sign struct {
	runs  atomic.Pointer[cell]    // the actor that it runs, or ran last
	doing atomic.Pointer[handler] // of the message in hand; nil: unknown
	since atomic.Int64            // when it has taken the batch in hand, by systemWork.clock
}

// lookup is what was found for a type of messages that come either directly or in a codec.Reusable.
type lookup struct {
	kind    *Kind
	typ     reflect.Type
	handler *handler // nil: the kind has none for them
	emptied bool     // the handler empties the codec.Reusable that they come in
}

const (
	slabSize = 51  // contexts: 4 KiB
	maxIdle  = 256 // workers that wait; a worker that finds so many waiting ends instead
)

// workers starts and keeps workers.
type workers struct {
	ended sync.WaitGroup // the workers that close has told to end

	mu     sync.Mutex // guards what follows
	idle   []*worker  // used as a stack: the worker that ran last has a warm stack
	all    map[*worker]struct{}
	closed bool
}

// run lets an idle worker, or a new one, run c.
func (p *workers) run(c *cell) {
	p.mu.Lock()
	n := len(p.idle)
	if n == 0 {
		w := &worker{next: make(chan *cell, 1)}
		if p.all == nil {
			p.all = map[*worker]struct{}{}
		}
		p.all[w] = struct{}{}
		p.mu.Unlock()
		go w.loop(p, c)
		return
	}
	w := p.idle[n-1]
	p.idle, w.waits = p.idle[:n-1], false
	p.mu.Unlock()
	w.next <- c
}

func (w *worker) loop(p *workers, c *cell) {
	for c != nil {
		c.work(w)
		if !p.wait(w) {
			return
		}
		c = <-w.next
	}
	p.ended.Done()
}

// finishBatch counts the messages of a batch that was handled, if there is one, and frees the
// memory of those that came from other nodes.
func (w *worker) finishBatch(c *cell) {
	if w.taken == nil {
		return
	}
	n := uint64(len(w.batch) + w.more)
	if !c.kind.pool { // what a pool has passed on is counted when it is handled
		c.self.sys.stats.handled.Add(n)
	}
	c.handled.Store(c.handled.Load() + n)
	server.FreeAll(w.decoded)
	clear(w.decoded)
	w.decoded, w.more = w.decoded[:0], 0
}

// wait makes w available for the next actor. It returns false if w is not needed any more.
func (p *workers) wait(w *worker) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) >= maxIdle {
		delete(p.all, w)
		return false
	}
	p.idle, w.waits = append(p.idle, w), true
	return true
}

// running returns the worker that runs c, or nil.
func (p *workers) running(c *cell) *worker {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.all {
		if !w.waits && w.runs.Load() == c {
			return w
		}
	}
	return nil
}

// look says what the actors have to do that run now, which is the time on systemWork.clock.
func (p *workers) look(now time.Duration) (r Running) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.all {
		if c := w.runs.Load(); !w.waits && c != nil {
			r.Actors++
			r.Waiting += c.box.Len()
			r.Oldest = max(r.Oldest, now-time.Duration(w.since.Load()))
		}
	}
	return r
}

// clock is a clock that costs nothing to read. It goes only while actors run, in steps of clockStep.
type clock struct {
	now   atomic.Int64 // in ns since the first reading
	goes  atomic.Bool
	start time.Time
	next  atomic.Pointer[time.Timer] // of the next step
}

const clockStep = time.Second

// set starts the clock, because an actor begins to run.
func (k *clock) set(s *System) {
	if k.goes.CompareAndSwap(false, true) {
		k.tick(s)
	}
}

// tick goes on until no actor runs.
func (k *clock) tick(s *System) {
	k.now.Store(int64(time.Since(k.start)))
	if s.life.reached(down) {
		return
	}
	if s.busy.Load() == 0 {
		if k.goes.Store(false); s.busy.Load() > 0 { // an actor has begun to run meanwhile
			k.set(s)
		}
		return
	}
	k.next.Store(time.AfterFunc(clockStep, func() { k.tick(s) }))
	if s.life.reached(down) { // close may not have seen this timer
		k.close()
	}
}

// close stops the clock of a system that is down.
func (k *clock) close() {
	if next := k.next.Load(); next != nil {
		next.Stop()
	}
}

// workOn goes on with the run loop of an actor whose handler has ended the worker's goroutine.
func (c *cell) workOn(w *worker) {
	c.work(w)
	p := &c.self.sys.workers
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.all, w)
}

// close ends the idle workers and waits for them. It does not wait for busy workers: they end
// when their handlers return, which cannot be forced.
func (p *workers) close() {
	p.mu.Lock()
	idle := p.idle
	p.closed, p.idle = true, nil
	p.ended.Add(len(idle))
	p.mu.Unlock()
	for _, w := range idle {
		w.next <- nil
	}
	p.ended.Wait()
}

// context returns a context for one message.
func (w *worker) context(c *cell, it *item, from *server.Origin) *Context {
	if c.kind.receiver {
		return &Context{cell: c, msg: it.msg, req: it.req, meta: it.meta, origin: from, asks: it.req != nil} // allocated on its own, so that it does not keep the messages of others from being collected
	}
	if len(w.slab) == 0 {
		w.slab = make([]Context, slabSize)
	}
	ctx := &w.slab[0]
	w.slab = w.slab[1:]
	ctx.cell, ctx.msg, ctx.req, ctx.meta, ctx.origin, ctx.asks = c, it.msg, it.req, it.meta, from, it.req != nil
	return ctx
}

// plainContext returns the context that c's one-way messages of one origin share if they
// have neither a sender nor a trace.
func (w *worker) plainContext(c *cell, from *server.Origin) *Context {
	w.plain = w.context(c, &item{}, from)
	return w.plain
}
