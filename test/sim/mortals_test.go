package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/draw"
	"github.com/tandem-go/tandem/internal/simulation"
	"github.com/tandem-go/tandem/rpc"
)

// mortal is an actor that fails, is restarted, and ends. It is a worker as well.
type mortal struct {
	worker
	w   *world
	inc *incarnation
}

var errFell = errors.New("the actor cannot begin")

func (w *world) mortalKind() *actor.Kind {
	s := w.plan.Lives.Strategy
	switch {
	case w.cheats("restarts have no limit"):
		s.Max = 100
	case w.cheats("a restart does not wait"):
		s.Backoff, s.MaxBackoff = 1, 1
	case w.cheats("a restart waits too long"):
		s.Backoff, s.MaxBackoff = 100*s.Backoff, 100*s.MaxBackoff
	case w.cheats("an actor is stopped too early"):
		s.Max = -1
	}
	return actor.Define("sim.mortal", func() *mortal { return &mortal{worker: worker{truth: w.truth, cheat: w.cheat.handler}, w: w} },
		actor.Answer((*mortal).op), actor.Handle((*mortal).note)).With(actor.Supervise(s))
}

// Started may fail.
func (m *mortal) Started(ctx *actor.Context) error {
	var falls bool
	m.inc, falls = m.w.lives.begins(m.w, address(ctx))
	if falls {
		return errFell
	}
	return nil
}

// Restarting and Stopping end the incarnation.
func (m *mortal) Restarting(_ *actor.Context, why error) {
	m.w.lives.restarts(m.w, m.inc, why)
	if m.w.cheats("Restarting is called twice") {
		m.w.lives.restarts(m.w, m.inc, why)
	}
}

func (m *mortal) Stopping(_ *actor.Context, why error) {
	if m.w.cheats("Stopping is not called") {
		return
	}
	m.w.lives.stopped(m.w, m.inc, why)
}

func (m *mortal) op(ctx *actor.Context, o Op) (Done, error) {
	m.w.lives.handles(m.w, m.inc, fmt.Sprintf("operation %x", o.ID))
	defer func() {
		if r := recover(); r != nil {
			m.w.lives.fails(m.w, m.inc)
			panic(r)
		}
	}()
	done, err := m.worker.op(ctx, o)
	if m.w.cheats("a message is handled too late") && o.ID%8 == 0 {
		go func() {
			time.Sleep(5 * time.Second)
			m.w.lives.handles(m.w, m.inc, fmt.Sprintf("operation %x", o.ID))
		}()
	}
	return done, err
}

func (m *mortal) note(ctx *actor.Context, n Note) error {
	m.w.lives.handles(m.w, m.inc, fmt.Sprintf("message %x", n.ID))
	return m.worker.note(ctx, n)
}

// place is an actor's name in one start of its node.
type place struct {
	on    string
	lives []*mortalLife
}

// latest returns the last life that began, or nil.
func (p *place) latest() *mortalLife {
	if p == nil || len(p.lives) == 0 {
		return nil
	}
	return p.lives[len(p.lives)-1]
}

// mortalLife is an actor from its Spawn to its end.
type mortalLife struct {
	on           string
	began, ended moment // ended has not happened: it lives
	why          error
	incarnations int
	inc          *incarnation    // the latest
	restarted    []time.Duration // when the failures happened after which it was restarted
}

// incarnation is a life from one Started to the hook at its end.
type incarnation struct {
	life        *mortalLife
	no          int
	began, over moment
	failed      bool
	failure     time.Duration
}

func (i *incarnation) String() string {
	return fmt.Sprintf("incarnation %d of %s, begun at %v", i.no, i.life.on, i.began.at)
}

// begins notes that Started was called, and draws whether it is to fail.
func (t *livesTruth) begins(w *world, on string) (inc *incarnation, falls bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.at == nil {
		t.at, t.random = map[string]*place{}, w.Random("falls")
	}
	p := t.at[on]
	if p == nil {
		p = &place{on: on}
		t.at[on] = p
	}
	now := t.now(w)
	life := p.latest()
	if life == nil || life.ended.happened() {
		life = &mortalLife{on: on, began: now}
		p.lives = append(p.lives, life)
	} else if !life.inc.over.happened() {
		w.truth.Bad("%v is not over, and there is a further one", life.inc)
	}
	life.incarnations++
	inc = &incarnation{life: life, no: life.incarnations, began: now}
	life.inc = inc
	if t.random() < w.plan.Lives.Falls {
		inc.failed, inc.failure = true, now.at
	}
	w.truth.Note("  %v", inc)
	return inc, inc.failed
}

// handles checks that a message is handled by an incarnation that is not over.
func (t *livesTruth) handles(w *world, inc *incarnation, what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case inc == nil:
		w.truth.Bad("%s was handled before Started", what)
	case inc.over.happened(), inc.failed:
		w.truth.Bad("%s was handled by %v, which was over", what, inc)
	}
}

func (t *livesTruth) fails(w *world, inc *incarnation) {
	t.mu.Lock()
	defer t.mu.Unlock()
	inc.failed, inc.failure = true, w.truth.Now()
}

// over notes that the hook at the end of an incarnation is called. t.mu is held.
func (t *livesTruth) over(w *world, inc *incarnation, hook string, why error) bool {
	switch {
	case inc == nil:
		w.truth.Bad("%s was called before Started", hook)
		return false
	case inc.over.happened():
		w.truth.Bad("%s was called for %v, which was over", hook, inc)
		return false
	}
	inc.over = t.now(w)
	w.truth.Note("  %s of %v: %v", hook, inc, why)
	return true
}

// restarts checks that an actor is restarted as its strategy says.
func (t *livesTruth) restarts(w *world, inc *incarnation, why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.over(w, inc, "Restarting", why) {
		return
	}
	if !inc.failed || why == nil {
		w.truth.Bad("%v is restarted, and did not fail: %v", inc, why)
		return
	}
	s, life := w.plan.Lives.Strategy, inc.life
	n := life.recent(inc.failure, s.Window)
	life.restarted = append(life.restarted, inc.failure)
	if n >= s.Max {
		w.truth.Bad("%v is restarted: restart %d within %v, and there may be %d", inc, n+1, s.Window, s.Max)
	}
	waited, bound := inc.over.at-inc.failure, time.Duration(0)
	if n > 0 {
		bound = min(s.Backoff<<(n-1), s.MaxBackoff)
	}
	if waited > bound {
		w.truth.Bad("%v waited for its restart for %v, and %v would have been the longest", inc, waited, bound)
	}
	if n > 0 && waited < time.Microsecond && w.isUp(life.on) && !t.closed {
		if t.hasty++; t.hasty == 3 { // by chance hardly one does not
			w.truth.Bad("%v did not wait for its restart, nor did two others", inc)
		}
	}
}

// recent returns how many restarts there were in the window before a failure.
func (l *mortalLife) recent(failure, window time.Duration) (n int) {
	for _, at := range l.restarted {
		if at > failure-window {
			n++
		}
	}
	return n
}

// stopped checks that an actor ends for a reason.
func (t *livesTruth) stopped(w *world, inc *incarnation, why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.over(w, inc, "Stopping", why) {
		return
	}
	life, s := inc.life, w.plan.Lives.Strategy
	if w.cheats("a life never ends") {
		return
	}
	life.ended, life.why = inc.over, why
	failure := errors.Is(why, errFell) || rpc.CodeOf(why) == rpc.Panicked
	if failure && !inc.failed {
		w.truth.Bad("%v ends as failed, and did not: %v", inc, why)
	}
	if n := life.recent(inc.failure, s.Window); failure && n < s.Max {
		w.truth.Bad("%v was stopped after %d restarts within %v, and there may be %d", inc, n, s.Window, s.Max)
	}
	if why != nil && !failure && w.isUp(life.on) && !t.closed {
		w.truth.Bad("%v ends, and has not failed: %v", inc, why)
	}
}

// stopping is an attempt to stop an actor.
type stopping struct {
	begun moment
	never bool // it was said not to have happened
}

// living returns the life of an actor at this moment, or nil. The second result is the node's start.
func (w *world) living(name string, n *simulation.Node) (*mortalLife, *simulation.Life) {
	l := n.Live()
	if l == nil {
		return nil, nil
	}
	w.lives.mu.Lock()
	defer w.lives.mu.Unlock()
	life := w.lives.at[name+"@"+n.Name+"/"+l.Sys.Epoch()].latest()
	if life != nil && life.ended.happened() {
		life = nil
	}
	return life, l
}

// mortal makes a mortal, sends it something, or stops it.
func (c *caller) mortal() {
	name := fmt.Sprintf("mortal%d", c.r.IntN(c.w.plan.Lives.Names))
	n := c.anyNode()
	to := name + "@" + n.Name
	switch x := c.r.Float64(); {
	case x < 0.3:
		c.conjure(name, n)
	case x < 0.45:
		c.stop(name, n)
	case x < 0.6:
		c.tell(to, false)
	case x < 0.7:
		for range 10 { // more failures than there may be
			m := c.request("quick")
			m.End = 2
			c.ask(to, m)
		}
	default:
		m := c.request("slow0")
		if draw.Chance(c.r, 0.3) {
			m.End = 2
		}
		c.ask(to, m)
	}
}

// conjure starts an actor on a node, unless it is there.
func (c *caller) conjure(name string, n *simulation.Node) {
	l := n.Live()
	if l == nil {
		return
	}
	_, err := l.Sys.GetOrSpawn(name, c.w.mortalKind())
	c.w.truth.Note("GetOrSpawn %s@%s: %v", name, n.Name, err)
	if err != nil && errors.Is(err, actor.ErrOtherKind) {
		c.w.truth.Bad("GetOrSpawn %s@%s: %v", name, n.Name, err)
	}
}

// stop stops an actor. It does not wait for the end.
func (c *caller) stop(name string, n *simulation.Node) {
	ctx, cancel, due := c.within(draw.Chance(c.r, 0.1))
	stop, l := (*actor.System).Stop, c.life
	if draw.Chance(c.r, 0.5) {
		stop = (*actor.System).StopNow
	}
	c.w.callers.Go(func() {
		defer cancel()
		c.w.end(l, name, n, due, func(r actor.Ref) error { return stop(l.Sys, ctx, r) })
	})
}

// end has an actor stopped from a start of a node, and checks that the actor has ended if that is
// said.
func (w *world) end(by *simulation.Life, name string, n *simulation.Node, due time.Duration, stop func(actor.Ref) error) {
	to := name + "@" + n.Name
	life, start := w.living(name, n)
	t := &w.lives
	t.mu.Lock()
	s := &stopping{begun: t.now(w)}
	if t.stops == nil {
		t.stops = map[string][]*stopping{}
	}
	t.stops[to] = append(t.stops[to], s)
	t.mu.Unlock()
	w.truth.Note("stop %s", to)
	err := stop(by.Sys.Ref(to))
	w.truth.Note("  end of stop %s: %v", to, err)
	what := "the stop of " + to
	w.typed(what, err)
	w.inTime(what, due)
	if w.cheats("a stop is called done") {
		err = nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s.never = err != nil && rpc.Ran(err) == rpc.NotRun || w.cheats("a stop is called not done")
	one := by == start || t.alone(start, s.begun)
	if err == nil && one && life != nil && !life.ended.happened() && n.Live() == start {
		w.truth.Bad("%s was said to have ended, and %v has not", to, life.inc)
	}
}

// stopMortals stops all mortals, each from another node.
func (w *world) stopMortals() {
	for i, n := range w.Nodes {
		for k := range w.plan.Lives.Names {
			by, name := w.Nodes[(i+k)%len(w.Nodes)].Live(), fmt.Sprintf("mortal%d", k)
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			w.end(by, name, n, w.truth.Now()+patience, func(r actor.Ref) error {
				err := by.Sys.Stop(ctx, r)
				if err != nil {
					w.truth.Bad("the stop of %v, after the last fault: %v", r, err)
				}
				return err
			})
			cancel()
			if life, _ := w.living(name, n); life != nil {
				w.truth.Bad("%v was stopped after the last fault, and lives", life.inc)
			}
		}
	}
}

// judge checks what must be true in the end.
func (t *livesTruth) judge(w *world) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for on, p := range t.at {
		for _, life := range p.lives {
			if !life.ended.happened() {
				w.truth.Bad("%v never ended, and its system has", life.inc)
				continue
			}
			by := 0
			for _, s := range t.stops[addressOf(on)] {
				if s.begun.no < life.ended.no && !s.never {
					by++
				}
			}
			if life.why == nil && by == 0 {
				w.truth.Bad("%s was stopped at %v, and nobody has stopped it", on, life.ended.at)
			}
		}
	}
	t.judgeNews(w)
}
