package actor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tandem-go/tandem/route"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/supervise"
)

// Pool makes the actor a pool: it has that many workers of the kind, and passes each message on to
// one of them, or as the policy by says; see package route. To senders it is one actor:
//
//	pool, err := sys.Spawn("resize", ResizeKind, actor.Pool(8, route.LeastBusy()))
//
// The workers are its children "resize/1", "resize/2" and so on, which other nodes cannot address.
// opts are for them; only Mailbox makes sense. A message that finds the mailboxes of all workers full
// stays in the pool's own, whatever the workers' policy, and when that is full, its policy decides.
// Messages that go to the same worker keep their order.
//
// The kind's strategy supervises the workers. A worker that has ended is not replaced: the pool goes on
// without it, System.Resize brings it back to its size, and when none is left, the pool ends for
// the same reason. A failure that a worker escalates ends the pool, and fails its parent. Stop of a
// pool has the workers handle what waits, and ends them first.
//
// Durable and Transactional kinds cannot have pools, because they find their records by the
// actor's name. That actors wait for each other in a cycle is not noticed if it leads through a pool;
// then deadlines end their requests.
func Pool(workers int, by route.Policy, opts ...SpawnOption) SpawnOption {
	return func(s *spawn) {
		s.pool = &pool{table: route.Table{Policy: by}, want: workers, opts: opts, ready: make(chan error, 1)}
	}
}

// pool is what an actor has that is a pool. It has no state of its kind; its run loop passes on
// messages, see cell.route.
type pool struct {
	kind  *Kind         // of the workers
	opts  []SpawnOption // for each of them
	ready chan error    // gets one value once the workers were made for the first time
	once  sync.Once     // for ready

	hungry atomic.Bool             // the pool waits for room: the first worker that has some signals that
	shown  atomic.Pointer[[]*cell] // crew, for others to read

	// Only the run loop uses these.
	table  route.Table
	crew   []*cell      // the workers, in the order of their numbers
	want   int          // how many there should be
	tried  int          // numbers up to this one are taken by workers that are still ending
	asking []chan error // of those who wait for a Resize
	head   head         // what the pool is passing on
	order  []int        // spare memory
	view   []route.Worker
}

// seat is what an actor has that is a worker of a pool.
type seat struct {
	pool   *pool
	of     *cell // the pool's
	number int
	inHand atomic.Int32 // messages that its run loop has taken and not handled, with the one that it is handling
}

// of prepares a new pool for workers of a kind, or returns why there cannot be one.
func (p *pool) of(k *Kind) error {
	if err := p.table.Policy.Validate(); err != nil {
		return err
	}
	if k.recorded() {
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "kind %s keeps records, and cannot have a pool", k.name)
	}
	var o spawn
	for _, opt := range p.opts {
		opt(&o)
	}
	if o.pool != nil || len(o.services) > 0 {
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "a worker of a pool can be neither a pool nor an instance of a service")
	}
	if o.box != nil {
		if err := o.box.Validate(); err != nil {
			return err
		}
	}
	p.kind = k
	return validPool(p.want)
}

func validPool(workers int) error {
	if workers < 1 || workers > route.MaxWorkers {
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "a pool of %d workers; want 1 to %d", workers, route.MaxWorkers)
	}
	return nil
}

// pooled returns the kind of a pool with workers of kind k: it has the same messages, and no state.
// What fails, fails in a worker; so a pool only passes failures on to its own parent.
func (s *System) pooled(k *Kind) *Kind {
	if known, ok := s.poolKinds.Load(k); ok {
		return known.(*Kind)
	}
	known, _ := s.poolKinds.LoadOrStore(k, k.With(func(k *Kind) {
		k.pool, k.hooks, k.make = true, hooks{}, func() any { return nil }
		k.strategy = Strategy{Decide: func(supervise.Failure) supervise.Directive { return supervise.Escalate }}
	}))
	return known.(*Kind)
}

// opened ends the Spawn of the pool. The first call counts.
func (p *pool) opened(err error) { p.once.Do(func() { p.ready <- err }) }

// show lets others see the crew.
func (p *pool) show() {
	crew := slices.Clone(p.crew)
	p.shown.Store(&crew)
}

// clear forgets the workers, which have ended, before the pool makes new ones.
func (p *pool) clear() {
	p.crew, p.head.owed = nil, nil
	p.show()
}

// hires makes one worker, if there are too few. It returns false if there are enough.
func (c *cell) hires(w *worker) bool {
	p := c.pool()
	if len(p.crew) >= p.want {
		p.opened(nil)
		return false
	}
	number := p.tried + 1
	for slices.ContainsFunc(p.crew, func(worker *cell) bool { return worker.seat().number == number }) {
		number++
	}
	opts := append(slices.Clip(p.opts), func(o *spawn) {
		o.local, o.seat = true, &seat{pool: p, of: c, number: number}
	})
	var r Ref
	var err error
	c.guarded(w, "the function that makes the state", func() error {
		r, err = c.spawn(fmt.Sprint(number), p.kind, opts)
		return nil
	}, func(panicked *rpc.Error) {
		switch {
		case panicked != nil:
			c.hireFailed(panicked)
		case errors.Is(err, ErrNameTaken): // by one that is ending after a Resize
			p.tried = number
		case err != nil:
			c.hireFailed(err)
		default:
			p.tried = 0
			worker := r.to.cell.Load()
			if worker == nil {
				c.hireFailed(errGone)
				return
			}
			at, _ := slices.BinarySearchFunc(p.crew, number, func(worker *cell, n int) int { return worker.seat().number - n })
			p.crew = slices.Insert(p.crew, at, worker)
			p.show()
		}
	})
	return true
}

// hireFailed gives up making a worker. A pool that has not begun ends.
func (c *cell) hireFailed(err error) {
	p := c.pool()
	p.tried, p.want = 0, len(p.crew)
	p.answer(err)
	if c.life.now() == starting || p.want == 0 {
		p.opened(err)
		c.end(err)
	}
}

// answer ends the calls of Resize that wait.
func (p *pool) answer(err error) {
	for _, done := range p.asking {
		done <- err
	}
	p.asking = nil
}

// tend does one step towards the number of workers that there should be. It returns false if there
// is nothing to do.
func (c *cell) tend(w *worker) bool {
	p := c.pool()
	switch n := len(p.crew); {
	case c.life.sealed():
		return false
	case n < p.want:
		return c.hires(w)
	case n > p.want:
		leaver := p.crew[n-1]
		p.crew = slices.Delete(p.crew, n-1, n)
		p.show()
		leaver.seal()
		return true
	}
	p.answer(nil)
	return false
}

// dismissed has the workers end behind what waits in their mailboxes, because the pool was stopped.
// It reports whether they have ended.
func (c *cell) dismissed() bool {
	for _, worker := range c.pool().crew {
		worker.seal()
	}
	return !c.hasChildren()
}

// workerGone is the signal that a worker has ended, and why.
type workerGone struct {
	worker *cell
	why    error
}

func (s workerGone) arrive(c *cell) any {
	p := c.pool()
	at := slices.Index(p.crew, s.worker)
	if at < 0 { // a Resize has removed it
		return nil
	}
	p.crew = slices.Delete(p.crew, at, at+1)
	p.show()
	if c.life.now() != working || c.life.sealed() {
		return nil
	}
	if p.want--; len(p.crew) == 0 {
		if s.why != nil {
			c.annexed().has(supervise.Failure{Err: s.why, Child: s.worker.self.addr.String()})
		}
		c.end(s.why)
	}
	return nil
}

// roomy is the signal that a worker has room.
type roomy struct{}

func (roomy) arrive(*cell) any { return nil }

// took notes that the worker's run loop has taken n messages. So there is room in its mailbox.
func (s *seat) took(n int) {
	s.inHand.Store(int32(n))
	if n > 0 && s.pool.hungry.Load() && s.pool.hungry.CompareAndSwap(true, false) {
		s.of.signal(roomy{})
	}
}

// load is how many messages the worker has to handle.
func (c *cell) load() int { return c.box.Len() + int(c.seat().inHand.Load()) }

// Resize changes how many workers a pool of this system has, and waits until that is so, or ctx
// ends. Workers that are too many get no further messages; they handle what waits in their mailboxes,
// and end, for which Resize does not wait. The error says that r is no pool of this system, or why a
// worker could not be made; then the pool goes on with those that it has.
func (s *System) Resize(ctx context.Context, r Ref, workers int) error {
	c, err := s.poolOf(r)
	if err == nil {
		err = validPool(workers)
	}
	if err != nil {
		return err
	}
	ask := resize{workers, make(chan error, 1)}
	over := s.refs.whenGone(c)
	c.signal(ask)
	select {
	case err := <-ask.done:
		return err
	case <-over:
		return errGone
	case <-ctx.Done():
		return rpc.FromContext(ctx, rpc.Unknown)
	}
}

// resize is the signal of a Resize.
type resize struct {
	workers int
	done    chan error
}

func (s resize) arrive(c *cell) any {
	p := c.pool()
	p.want, p.asking = s.workers, append(p.asking, s.done)
	return nil
}

// PoolStats returns what a pool of this system is doing. The numbers are not of one instant.
func (s *System) PoolStats(r Ref) (route.Stats, error) {
	c, err := s.poolOf(r)
	if err != nil {
		return route.Stats{}, err
	}
	p := c.pool()
	st := route.Stats{Policy: p.table.Policy.String(), Waiting: c.box.Len()}
	if crew := p.shown.Load(); crew != nil {
		for _, worker := range *crew {
			st.Workers = append(st.Workers, route.WorkerStats{Name: worker.self.addr.name, Load: worker.load(), Handled: worker.handled.Load()})
		}
	}
	return st, nil
}

// poolOf returns the pool of a ref.
func (s *System) poolOf(r Ref) (*cell, error) {
	t := s.Bind(r).to
	if t == nil || t.addr.node != s.cfg.Name {
		return nil, rpc.Errorf(rpc.Invalid, rpc.NotRun, "%v is no pool of this system", r)
	}
	c := t.cell.Load()
	if c == nil {
		return nil, rpc.Errorf(rpc.NotFound, rpc.NotRun, "no actor %v", t.addr)
	}
	if c.pool() == nil {
		return nil, rpc.Errorf(rpc.Invalid, rpc.NotRun, "%v is no pool", r)
	}
	return c, nil
}
