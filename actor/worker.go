package actor

import (
	"sync"

	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
)

// worker is a goroutine that runs one busy actor after another. Workers belong to
// the system and outlast the actors' bursts, because a fresh goroutine would grow its
// stack anew for each. Idle actors hold none.
type worker struct {
	next chan *cell // what to run; nil: end

	taken   *mailbox.Batch[item] // of the actor being run
	batch   []item               // its messages
	done    int                  // messages of it whose turn has come
	begun   int                  // messages of it that were prepared, see cell.prepare
	decoded []*rpc.Inbound       // one-way messages of it
	plain   *Context             // for its one-way messages without sender and trace
	boxes   boxes                // of the message that is being handled, and of its reply
	slab    []Context            // contexts are given out one by one and never taken back
}

const (
	slabSize = 51  // contexts: 4 KiB
	maxIdle  = 256 // workers that wait; one that finds as many ends instead
)

// workers starts and keeps workers.
type workers struct {
	ended sync.WaitGroup // those that close has ended

	mu     sync.Mutex // guards what follows
	idle   []*worker  // the latest to wait is the first to run: its stack is warm
	closed bool
}

// run has a worker run c.
func (p *workers) run(c *cell) {
	p.mu.Lock()
	n := len(p.idle)
	if n == 0 {
		p.mu.Unlock()
		w := &worker{next: make(chan *cell, 1)}
		go w.loop(p, c)
		return
	}
	w := p.idle[n-1]
	p.idle = p.idle[:n-1]
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

// resume goes on with a batch whose goroutine a handler has ended.
func (w *worker) resume(c *cell) {
	for w.done < len(w.batch) {
		c.burst(w)
	}
	w.through(c.self.sys)
	c.work(w)
}

// through ends a batch.
func (w *worker) through(s *System) {
	s.stats.handled.Add(uint64(len(w.batch)))
	rpc.FreeAll(w.decoded)
	clear(w.decoded)
	w.decoded = w.decoded[:0]
}

// wait makes w available, or reports that it is not needed.
func (p *workers) wait(w *worker) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) >= maxIdle {
		return false
	}
	p.idle = append(p.idle, w)
	return true
}

// close ends the workers that wait, and waits until they have; those that run end when
// their handlers do, which nobody can force.
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
func (w *worker) context(c *cell, it *item, from *rpc.Origin) *Context {
	if c.kind.receiver {
		return &Context{cell: c, msg: it.msg, req: it.req, meta: it.meta, origin: from, asks: it.req != nil} // by itself, so that its message goes when nobody has it any more
	}
	if len(w.slab) == 0 {
		w.slab = make([]Context, slabSize)
	}
	ctx := &w.slab[0]
	w.slab = w.slab[1:]
	ctx.cell, ctx.msg, ctx.req, ctx.meta, ctx.origin, ctx.asks = c, it.msg, it.req, it.meta, from, it.req != nil
	return ctx
}

// plainContext returns the context that c's one-way messages without sender and
// trace share that come from one place.
func (w *worker) plainContext(c *cell, from *rpc.Origin) *Context {
	if w.plain == nil || w.plain.origin != from {
		w.plain = w.context(c, &item{}, from)
	}
	return w.plain
}
