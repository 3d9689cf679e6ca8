package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/draw"
)

// Arm has a ticker set a timer, Disarm has it cancel some, and Tick is what a timer sends.
type (
	Arm struct {
		Every bool
		D     time.Duration
		Work  time.Duration // that the handler of each Tick takes
		Fail  bool          // the ticker panics afterwards
	}
	Disarm struct {
		actor.Returns[int]
		All bool
	}
	Tick struct{ No int } // of the timing
)

// ticker is an actor with timers.
type ticker struct {
	w      *world
	on     string
	no     int // of the incarnation
	timers map[int]actor.Timer
}

func (w *world) spawnTicker(sys *actor.System) error {
	incarnations := 0 // the actor's own
	_, err := sys.Spawn("ticker", actor.Define("sim.ticker", func() *ticker { incarnations++; return &ticker{w: w, no: incarnations, timers: map[int]actor.Timer{}} },
		actor.Handle((*ticker).arm), actor.Answer((*ticker).disarm), actor.Handle((*ticker).tick)).With(lively()))
	return err
}

// maxTimers is how many timers a ticker has.
const maxTimers = 5

func (k *ticker) Started(ctx *actor.Context) error {
	k.on = address(ctx)
	if k.w.cheats("a tick outlives its incarnation") && k.no > 1 {
		if old := k.w.lives.latestTimer(k.on); old != nil {
			_ = actor.Tell(context.Background(), ctx.Self(), Tick{old.no})
		}
	}
	return k.arm(ctx, Arm{Every: true, D: time.Second})
}

func (k *ticker) arm(ctx *actor.Context, m Arm) error {
	if len(k.timers) < maxTimers {
		d := m.D
		if k.w.cheats("a tick comes early") {
			d /= 2
		}
		t := k.w.lives.arms(k.w, k.on, k.no, m)
		set := actor.After
		if m.Every {
			set = actor.Every
		}
		timer, err := set(ctx, d, Tick{t.no})
		if err != nil {
			k.w.truth.Bad("%s cannot have a timer of %v: %v", k.on, d, err)
			return nil
		}
		if k.timers[t.no] = timer; k.w.cheats("a timer stands still") {
			timer.Cancel()
		}
	}
	if m.Fail {
		panic("a panic was asked for")
	}
	return nil
}

// disarm cancels one timer, or all. Those that have had their time are gone.
func (k *ticker) disarm(_ *actor.Context, m Disarm) (int, error) {
	n := 0
	for no, timer := range k.timers {
		if n == 1 && !m.All {
			break
		}
		n++
		delete(k.timers, no)
		k.w.lives.disarms(k.w, no, k.w.cheats("a cancelled timer goes on") || timer.Cancel() && !k.w.cheats("a timer has had no time"))
	}
	return n, nil
}

func (k *ticker) tick(ctx *actor.Context, m Tick) error {
	t := k.w.lives.ticks(k.w, k.on, k.no, m.No)
	if k.w.cheats("ticks pile up") {
		k.w.lives.ticks(k.w, k.on, k.no, m.No)
	}
	if t.once() {
		delete(k.timers, t.no)
	}
	work(ctx, t.Work, false)
	return nil
}

// timing is a timer.
type timing struct {
	Arm
	no          int // from 1
	on          string
	incarnation int
	set, last   time.Duration
	ticks       int
	over        bool // it was cancelled, or has had its time
}

func (t *timing) once() bool { return !t.Every }

func (t *timing) String() string {
	return fmt.Sprintf("timer %d of %s, incarnation %d, of %v (again and again: %v), set at %v", t.no, t.on, t.incarnation, t.D, t.Every, t.set)
}

// due is when the next tick comes at the earliest.
func (t *timing) due() time.Duration {
	return t.set + (max(t.last-t.set, 0)/t.D+1)*t.D
}

// late is how long after its time a tick of a ticker may be handled: it may have to wait for those of
// the other timers, and for a command.
const late = maxTimers*tickWork + 5*time.Second

// tickWork is how long a tick takes at most.
const tickWork = 2 * time.Second

func (t *livesTruth) arms(w *world, on string, incarnation int, m Arm) *timing {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := &timing{Arm: m, no: len(t.timers) + 1, on: on, incarnation: incarnation, set: w.truth.Now()}
	t.timers = append(t.timers, x)
	return x
}

// latestTimer returns the last timer of a ticker that has not had its time.
func (t *livesTruth) latestTimer(on string) *timing {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := len(t.timers) - 1; i >= 0; i-- {
		if x := t.timers[i]; x.on == on && !x.over {
			return x
		}
	}
	return nil
}

// disarms notes that a timer was cancelled. known says whether it had not ended. A start that ends may
// have ended it: when it shuts down, or because another start has taken its name over.
func (t *livesTruth) disarms(w *world, no int, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := t.timers[no-1]
	if !known && !x.over && w.isUp(x.on) {
		w.truth.Bad("%v could not be cancelled, and has not had its time", x)
	}
	x.over = true
}

func (t *livesTruth) ticks(w *world, on string, incarnation, no int) *timing {
	t.mu.Lock()
	defer t.mu.Unlock()
	x, now := t.timers[no-1], w.truth.Now()
	switch {
	case x.on != on, x.incarnation != incarnation:
		w.truth.Bad("%v ticks at incarnation %d of %s", x, incarnation, on)
	case x.over:
		w.truth.Bad("%v ticks, and is over", x)
	case now < x.due():
		w.truth.Bad("%v ticks at %v, as tick %d, and the last was at %v: too early", x, now, x.ticks+1, x.last)
	case now > x.due()+late && w.isUp(on):
		w.truth.Bad("%v ticks at %v, as tick %d, and the last was at %v: too late", x, now, x.ticks+1, x.last)
	}
	x.ticks, x.last = x.ticks+1, now
	x.over = x.over || x.once()
	return x
}

// timer has a ticker do something.
func (c *caller) timer() {
	to := "ticker@" + c.anyNode().Name
	if draw.Chance(c.r, 0.3) {
		ctx, cancel, _ := c.within(false)
		_, err := actor.Call(ctx, c.life.Sys.Ref(to), Disarm{All: draw.Chance(c.r, 0.3)})
		cancel()
		c.w.typed("Disarm", err)
		return
	}
	note(c, to, Arm{Every: draw.Chance(c.r, 0.5), D: draw.Span(c.r, 100*time.Millisecond, draw.Pick(c.r, time.Second, 5*time.Second)),
		Work: draw.Pick(c.r, 0, 0, draw.Span(c.r, 0, tickWork)), Fail: draw.Chance(c.r, 0.1)})
}

// stopTimers checks that all timers that are left tick, and cancels them.
func (w *world) stopTimers() {
	for i, n := range w.Nodes {
		on := "ticker@" + n.Name + "/" + n.Live().Sys.Epoch()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		_, err := actor.Call(ctx, w.Nodes[(i+1)%len(w.Nodes)].Live().Sys.Ref(addressOf(on)), Disarm{})
		cancel()
		if err != nil {
			w.truth.Bad("%s does not answer: %v", on, err)
		}
		w.lives.still(w, on)
		ctx, cancel = context.WithTimeout(context.Background(), time.Minute)
		if _, err = actor.Call(ctx, n.Live().Sys.Ref(addressOf(on)), Disarm{All: true}); err != nil {
			w.truth.Bad("%s does not answer: %v", on, err)
		}
		cancel()
	}
}

// still checks that no timer of a ticker's latest incarnation has lost its time.
func (t *livesTruth) still(w *world, on string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	latest := 0
	for _, x := range t.timers {
		if x.on == on {
			latest = x.incarnation
		}
	}
	for _, x := range t.timers {
		if x.on == on && x.incarnation == latest && !x.over && w.truth.Now() > x.due()+late {
			w.truth.Bad("%v does not tick: the last was at %v", x, x.last)
		}
	}
}
