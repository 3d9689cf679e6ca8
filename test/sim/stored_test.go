package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/draw"
	"github.com/tandem-go/tandem/internal/simulation"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
)

// movePlan is everything that the seed draws for a run with actors that move.
type movePlan struct {
	simulation.Plan
	Callers, Ops int
	Pace         time.Duration // mean pause of a caller
	NodeLease    time.Duration
	Slow         time.Duration // a call of claims or states takes, in the mean
	Losses       float64       // of answers to writes
	Idle         time.Duration // after which an activation ends
	Hosting      []string      // faults of what hosts virtual actors
}

// weathers are the faults of roads that a run with actors that move may have.
var weathers = []string{"drop", "duplicate", "reorder", "delay", "kill links", "cut", "cut one way", "isolate", "hold", "hold one way", "suspend", "reset", "disturb", "stall"}

func newMovePlan(r *rand.Rand) movePlan {
	p := movePlan{Plan: simulation.NewPlan(r), Callers: 3 + r.IntN(5), Ops: 20 + r.IntN(30), NodeLease: draw.Pick(r, 3*time.Second, 15*time.Second),
		Slow: draw.Pick(r, 0, time.Millisecond, 10*time.Millisecond, 100*time.Millisecond), Losses: draw.Pick(r, 0, 0.02, 0.1, 0.4),
		Idle: draw.Pick(r, time.Second, 5*time.Second, time.Hour)}
	p.Nodes = 3 + r.IntN(2)
	p.Length, p.Gap = draw.Span(r, 20*time.Second, 80*time.Second), draw.Pick(r, time.Second, 4*time.Second)
	p.Pace = p.Length / time.Duration(p.Ops)
	for _, f := range weathers {
		if draw.Chance(r, 0.25) {
			p.Faults = append(p.Faults, f)
		}
	}
	for _, f := range simulation.HostingFaults {
		if draw.Chance(r, 0.6) {
			p.Hosting = append(p.Hosting, f)
		}
	}
	return p
}

// moveWorld is a run with actors that move.
type moveWorld struct {
	*simulation.World
	hosting *simulation.Hosting
	plan    movePlan
	rings   ringPlan
	truth   *simulation.Truth
	cheat   string // which promise is broken on purpose

	vaultKind, guestKind *actor.Kind
	callers              sync.WaitGroup

	mu   sync.Mutex // guards what follows
	now  int        // the latest moment
	cuts int        // from the store of reminders
	hist history
}

func newMoveWorld(seed uint64, cheat string, silent bool) *moveWorld {
	w := &moveWorld{truth: simulation.NewTruth(silent), cheat: cheat, plan: newMovePlan(draw.From(seed, "plan of moves"))}
	w.rings = newRingPlan(draw.From(seed, "plan of reminders"))
	w.truth.Note("%+v %+v", w.plan, w.rings)
	w.World = simulation.New(seed, w.plan.Plan, w.truth)
	h := simulation.NewHosting(w.World, w.plan.NodeLease)
	h.Slow, h.Losses, h.States.Lenient = w.plan.Slow, w.plan.Losses, cheat == "a store does not fence"
	h.Bells = simulation.NewBells()
	w.hosting = h
	quickly := actor.Supervise(actor.Strategy{Window: time.Nanosecond})
	w.vaultKind = actor.Define("sim.vault", func() *vault { return &vault{w: w} },
		actor.Answer((*vault).give), actor.Handle((*vault).take), actor.Handle((*vault).toll), actor.Read((*vault).look), actor.Read((*vault).open)).
		With(actor.Virtual(), actor.Stored(func(v *vault) *Chest { return &v.chest }), actor.Idle(w.plan.Idle), quickly)
	w.guestKind = actor.Define("sim.guest", func() *uint64 { return new(uint64) },
		actor.Answer(func(first *uint64, ctx *actor.Context, m Stay) (Seen, error) {
			work(ctx, m.Work, false)
			if m.Ring != nil {
				if err := m.Ring.remind(ctx, m.ID); err != nil {
					return Seen{}, err
				}
			}
			return Seen{Token: ctx.FencingToken()}, nil
		}), actor.Handle(func(_ *uint64, ctx *actor.Context, m Toll) error { return w.tolls(ctx, m) })).With(actor.Virtual(), actor.Idle(w.plan.Idle), quickly)
	w.Configure = func(n *simulation.Node, l *simulation.Life, cfg *actor.Config) {
		h.Attach(n, l, cfg)
		cfg.Kinds = []*actor.Kind{w.vaultKind, w.guestKind}
		cfg.RPC = rpc.Limits{SessionLease: w.plan.Lease, Heartbeat: w.plan.Heartbeat, Random: w.Random(fmt.Sprintf("pauses of %s.%d", n.Name, l.No))}
	}
	w.Populate = func(_ *simulation.Node, l *simulation.Life) error {
		_, err := l.Sys.Spawn("desk", actor.Define("sim.desk", func() desk { return desk{w} }, actor.Handle(desk.take)))
		return err
	}
	return w
}

// cheats reports whether the run's cheat is that one, and an operation is one of those that it is about.
func (w *moveWorld) cheats(what string, id uint64) bool { return w.cheat == what && id%8 == 3 }

// epochs names the start of a node that an actor runs on.
func (w *moveWorld) epochs(ctx *actor.Context) string { return ctx.System().Epoch() }

// tick returns this moment. No two are the same. w.mu is held.
func (w *moveWorld) tick() int {
	w.now++
	return w.now
}

func (w *moveWorld) arrives(a arrival) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hist.Arrived = append(w.hist.Arrived, a)
}

// mover is a goroutine of the application that asks actors that move.
type mover struct {
	w    *moveWorld
	r    *rand.Rand
	no   int
	home *simulation.Node
	life *simulation.Life
	ids  uint64
}

func (m *mover) run() { m.often(m.w.plan.Ops, m.w.plan.Pace, m.step) }

// often does something so many times, with pauses, on the start of the mover's node that lives then.
func (m *mover) often(times int, pace time.Duration, do func()) {
	end := m.w.truth.Start.Add(m.w.plan.Length)
	for range times {
		time.Sleep(min(time.Duration(m.r.ExpFloat64()*float64(pace)), time.Until(end)))
		if !time.Now().Before(end) {
			return
		}
		if m.life = m.home.Live(); m.life != nil {
			do()
		}
	}
}

// deed returns what the mover does next.
func (m *mover) deed(sort act, to string) *deed {
	m.ids++
	return &deed{ID: uint64(m.no+1)<<32 | m.ids, Sort: sort, Caller: m.no, Node: m.home.Name, To: to}
}

// step makes one request, or several at once.
func (m *mover) step() {
	for range draw.Pick(m.r, 1, 1, 1, 4) {
		d := m.deed("", fmt.Sprintf("sim.vault/%d@~", m.r.IntN(vaults)))
		switch x := m.r.Float64(); {
		case x < 0.45:
			d.Sort, d.Fails = giving, draw.Pick(m.r, 0, 0, 0, 0, 0, 0, 1, 2)
		case x < 0.65:
			d.Sort = looking
		case x < 0.75:
			d.Sort = telling
		default:
			d.Sort, d.To = staying, fmt.Sprintf("sim.guest/%d@~", m.r.IntN(guests))
		}
		give := Give{ID: d.ID, To: fmt.Sprintf("sim.vault/%d@~", m.r.IntN(vaults)), Fails: d.Fails, Work: m.work()}
		if draw.Chance(m.r, 0.2) {
			give.To = "desk@" + draw.Pick(m.r, m.w.Nodes...).Name
		}
		m.do(d, give)
	}
}

// do makes a request, in the background unless it is a one-way message. The message of a vault says what it is about.
func (m *mover) do(d *deed, give Give) {
	within := draw.Pick(m.r, draw.Span(m.r, 0, time.Second), draw.Span(m.r, time.Second, 20*time.Second), 5*time.Minute, 5*time.Minute, 5*time.Minute)
	d.Patient = within == 5*time.Minute
	l := m.life
	m.w.begin(d)
	do := func() {
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		to := l.Sys.Ref(d.To)
		var seen Seen
		var err error
		switch d.Sort {
		case giving:
			seen, err = actor.Call(ctx, to, give)
		case looking:
			seen, err = actor.Call(ctx, to, Glance{Work: give.Work})
		case telling:
			err = actor.Tell(ctx, to, Gift{ID: d.ID})
		case staying:
			seen, err = actor.Call(ctx, to, Stay{ID: d.ID, Work: give.Work, Ring: give.Ring})
		}
		m.w.end(d, m.home, l, seen, err)
	}
	if d.Sort == telling {
		do()
	} else {
		m.w.callers.Go(do)
	}
}

// work draws how long a handler works.
func (m *mover) work() time.Duration {
	return draw.Pick(m.r, 0, 0, 0, draw.Span(m.r, 0, 50*time.Millisecond), draw.Span(m.r, 0, min(time.Second, m.w.plan.NodeLease)))
}

func (w *moveWorld) begin(d *deed) {
	w.truth.Note("%v", d)
	w.mu.Lock()
	defer w.mu.Unlock()
	d.Begun = w.tick()
	w.hist.Deeds = append(w.hist.Deeds, d)
}

func (w *moveWorld) end(d *deed, home *simulation.Node, l *simulation.Life, seen Seen, err error) {
	lives := home.Live() == l
	if w.hosting.IsDead(l) { // and so is the caller: nobody was told
		seen, err = Seen{}, rpc.Errorf(rpc.Unavailable, rpc.Unknown, "the caller's process is dead")
	}
	switch {
	case w.cheats("an answer is called not run", d.ID) && err == nil:
		seen, err = Seen{}, rpc.Errorf(rpc.Unavailable, rpc.NotRun, "a lie")
	case w.cheats("an answer gets lost", d.ID) && err == nil:
		seen, err = Seen{}, rpc.Errorf(rpc.OutcomeUnknown, rpc.Unknown, "a lie")
	case w.cheats("an old activation answers", d.ID) && err == nil:
		seen.Token = 1
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	d.Lives = lives
	d.Ended, d.Seen, d.Err = w.tick(), seen, err
	w.truth.Note("  end of %x: %+v %v", d.ID, seen, err)
}

// moveResult is the result of a run.
type moveResult struct {
	plan   movePlan
	hist   history
	faults map[string]int
	begun  uint64 // activations
	wrong  []string
	script []string
}

// move simulates one seed in a bubble of its own.
func move(t *testing.T, seed uint64, cheat string, silent bool) (res moveResult) {
	bubble.Test(t, func(t *testing.T) {
		w := newMoveWorld(seed, cheat, silent)
		w.Settle()
		for _, n := range w.Nodes {
			if w.Start(n) != nil {
				panic(fmt.Sprint(w.truth.Wrong()))
			}
		}
		for i := range w.plan.Callers {
			m := &mover{w: w, r: w.RNG(fmt.Sprintf("mover %d", i)), no: i, home: w.Nodes[i%len(w.Nodes)]}
			w.callers.Go(m.run)
		}
		for i := range w.rings.Ringers {
			w.callers.Go(w.ringer(i).ring)
		}
		var faults sync.WaitGroup
		faults.Go(func() {
			w.hosting.Inject(w.RNG("faults of hosting"), w.plan.Hosting, 2*w.plan.Gap, w.truth.Start.Add(w.plan.Length))
		})
		faults.Go(w.silence)
		w.Inject()
		faults.Wait()
		w.hosting.Calm()
		w.Calm()
		if !w.AllUp() {
			panic(fmt.Sprint(w.truth.Wrong()))
		}
		w.callers.Wait()
		over := time.Now()
		w.hist.Settled = over.Add(100 * time.Second) // the longest pause before a firing is handed out again is a minute
		time.Sleep(time.Until(w.hist.Settled) + 10*time.Second)
		w.hosting.Bells.Rest()
		time.Sleep(time.Until(over) + 2*time.Minute + 4*w.plan.NodeLease + 3*w.plan.Lease) // late copies come out, messages that are kept leave
		w.audit()
		w.listen()
		for _, n := range w.Nodes {
			for _, l := range n.Lives() {
				res.begun += l.Sys.Stats().Virtual.Begun
			}
			if len(n.Past()) > 0 {
				w.hist.Lost = append(w.hist.Lost, n.Name)
			}
		}
		w.End()
		w.hosting.End()
		w.hist.Commits = w.hosting.States.Taken()
		for _, wrong := range w.hist.judge() {
			w.truth.Bad("%s", wrong)
		}
		res.plan, res.hist, res.faults = w.plan, w.hist, w.Counts
		for f, n := range w.hosting.Counts {
			res.faults[f] += n
		}
		res.faults["reminders away"] += w.cuts
		res.wrong, res.script = w.truth.Wrong(), w.truth.Script()
	})
	return res
}

// audit reads all vaults from all nodes, which all have to see the same.
func (w *moveWorld) audit() {
	w.hist.Chests = map[string]Chest{}
	for i := range vaults + ringing {
		to := fmt.Sprintf("sim.vault/%d@~", i)
		for _, n := range w.Nodes {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			c, err := actor.Call(ctx, n.Live().Sys.Ref(to), Open{})
			cancel()
			if err != nil {
				w.truth.Bad("%s does not answer %s when there are no faults any more: %v", to, n.Name, err)
			}
			if old, ok := w.hist.Chests[to]; ok && err == nil && fmt.Sprint(old) != fmt.Sprint(c) {
				w.truth.Bad("%s has %v, seen from %s, and had %v", to, c, n.Name, old)
			}
			w.hist.Chests[to] = c
		}
	}
}
