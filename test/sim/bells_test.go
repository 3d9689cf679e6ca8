package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/draw"
	"github.com/tandem-go/tandem/internal/simulation"
	"github.com/tandem-go/tandem/reminder"
)

// So many vaults and guests more have reminders, and nothing else. Some of the other vaults have some, too.
const ringing = 2

// rings are the names of an actor's reminders.
var rings = []string{"x", "y"}

// Ring is a change of a reminder of who gets it: it is to come every so often, or once after a while, or is forgotten.
type Ring struct {
	Name        string
	Every, Once time.Duration // both 0: it is forgotten
}

func (r *Ring) forgets() bool { return r.Every == 0 && r.Once == 0 }

// Toll is the message of a reminder. ID is that of the request which has set it.
type Toll struct{ ID uint64 }

// tollFails reports whether the handler of a firing fails in the end.
func tollFails(id, number uint64) bool { return id%4 == 1 && number%3 == 0 }

// tollGives returns to which vault that handler makes a transfer, and under which ID; empty: to none.
func tollGives(id, number uint64) (to string, gift uint64) {
	if id%2 == 0 {
		to = fmt.Sprintf("sim.vault/%d@~", id/2%vaults)
	}
	return to, 1<<62 | id<<12 | number
}

// Rung is what a vault has done with a reminder.
type Rung struct {
	Op         simulation.BellOp // BellSet, BellForgotten; rang
	ID         uint64            // of the request
	Name       string
	Generation reminder.ID // of a firing, like what follows
	Number     uint64
	Missed     uint64
	Early      bool
}

// rang says that a firing was handled.
const rang simulation.BellOp = "rang"

// tolled is a firing that a guest has handled.
type tolled struct {
	Of, Epoch string
	Rung
}

// remind makes a change of a reminder.
func (r *Ring) remind(ctx *actor.Context, id uint64) error {
	switch {
	case r.forgets():
		return actor.Forget(ctx, r.Name)
	case r.Every > 0:
		return actor.Remind(ctx, r.Name, reminder.Every(r.Every), Toll{id})
	}
	return actor.Remind(ctx, r.Name, reminder.At(time.Now().Add(r.Once)), Toll{id})
}

// rungOf is the firing whose message is handled.
func rungOf(ctx *actor.Context, m Toll) Rung {
	f, _ := ctx.Firing()
	return Rung{rang, m.ID, f.Name, f.Generation, f.Number, f.Missed, time.Now().Before(f.Due)}
}

// remind makes a change of a reminder with the transfer that has asked for it.
func (v *vault) remind(ctx *actor.Context, m Give) error {
	if m.Ring == nil {
		return nil
	}
	op := simulation.BellSet
	if m.Ring.forgets() {
		op = simulation.BellForgotten
	}
	v.chest.Rung = append(v.chest.Rung, Rung{Op: op, ID: m.ID, Name: m.Ring.Name})
	if v.w.cheats("a change of a reminder is lost", m.ID) {
		return nil
	}
	return m.Ring.remind(ctx, m.ID)
}

func (v *vault) toll(ctx *actor.Context, m Toll) error {
	r := rungOf(ctx, m)
	times := 1
	switch {
	case v.w.cheats("a firing is handled twice", r.Number):
		times = 2
	case v.w.cheats("a firing is missed", r.Number):
		times = 0
	}
	for range times {
		v.chest.Rung = append(v.chest.Rung, r)
	}
	if to, id := tollGives(m.ID, r.Number); to != "" {
		v.chest.Gave = append(v.chest.Gave, Given{id, to})
		if err := actor.Tell(ctx, ctx.System().Ref(to), Gift{id, ctx.Self().String(), len(v.chest.Gave)}); err != nil {
			return err
		}
	}
	switch fails := tollFails(m.ID, r.Number); {
	case fails && r.Number%2 == 0:
		panic("a panic was asked for")
	case fails:
		return errAsked
	}
	return nil
}

// tolls is what a guest does with a firing.
func (w *moveWorld) tolls(ctx *actor.Context, m Toll) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hist.Tolled = append(w.hist.Tolled, tolled{ctx.Self().String(), w.epochs(ctx), rungOf(ctx, m)})
	return nil
}

// ringPlan is what the seed draws for the reminders of a run.
type ringPlan struct {
	Ringers, Rings int           // callers that change reminders, and how often each does
	Away           time.Duration // mean time between two cuts from the store of reminders; 0: there are none
}

func newRingPlan(r *rand.Rand) ringPlan {
	return ringPlan{1 + r.IntN(2), draw.Pick(r, 8, 8, 25), draw.Pick(r, 0, 4*time.Second, 20*time.Second)}
}

// ringer is the mover that changes reminders.
func (w *moveWorld) ringer(i int) *mover {
	return &mover{w: w, r: w.RNG(fmt.Sprintf("ringer %d", i)), no: 100 + i, home: w.Nodes[(i+1)%len(w.Nodes)]}
}

// ring has reminders changed, until the end of the faults.
func (m *mover) ring() {
	m.often(m.w.rings.Rings, m.w.plan.Length/time.Duration(m.w.rings.Rings), m.change)
}

// change has one reminder changed.
func (m *mover) change() {
	r := &Ring{Name: draw.Pick(m.r, rings...)}
	switch x := m.r.Float64(); {
	case x < 0.55:
		r.Every = draw.Pick(m.r, 2*time.Second, 5*time.Second, 15*time.Second, 40*time.Second)
	case x < 0.75:
		r.Once = draw.Span(m.r, time.Nanosecond, 30*time.Second)
	}
	d := m.deed(giving, fmt.Sprintf("sim.vault/%d@~", vaults+m.r.IntN(ringing)))
	switch x := m.r.Float64(); {
	case x < 0.15:
		d.To = fmt.Sprintf("sim.vault/%d@~", m.r.IntN(vaults))
	case x < 0.4:
		d.Sort, d.To = staying, fmt.Sprintf("sim.guest/%d@~", guests+m.r.IntN(ringing))
	}
	if d.Sort == giving {
		d.Fails = draw.Pick(m.r, 0, 0, 0, 0, 0, 1, 2)
	}
	d.Ring = r
	m.do(d, Give{ID: d.ID, To: fmt.Sprintf("sim.vault/%d@~", m.r.IntN(vaults)), Fails: d.Fails, Work: m.work(), Ring: r})
}

// silence cuts nodes off from the store of reminders, until the end of the faults.
func (w *moveWorld) silence() {
	r, end := w.RNG("cuts from reminders"), w.truth.Start.Add(w.plan.Length)
	for w.rings.Away > 0 {
		time.Sleep(time.Duration(r.ExpFloat64() * float64(w.rings.Away)))
		if !time.Now().Before(end) {
			return
		}
		n, long := draw.Pick(r, w.Nodes...), draw.Pick(r, draw.Span(r, 0, time.Second), draw.Span(r, 0, 30*time.Second))
		if l := n.Live(); l != nil {
			w.truth.Note("FAULT reminders away %s for %v", n.Name, long)
			w.hosting.Cut(l, simulation.Reminders, long)
			w.mu.Lock()
			w.cuts++
			w.mu.Unlock()
		}
	}
}

// ringerOf is the actor that an address is of, as the store of reminders names it.
func ringerOf(to string) reminder.Actor {
	var kind, id string
	for i := range to {
		if to[i] == '/' {
			kind, id = to[:i], to[i+1:len(to)-len("@~")]
		}
	}
	return reminder.Actor{Kind: kind, ID: id}
}

// listen notes what has become of the reminders in the end.
func (w *moveWorld) listen() {
	w.hist.Book, w.hist.End = w.hosting.Bells.Book(), time.Now()
	var all []reminder.Actor
	for _, b := range w.hist.Book {
		if !slices.Contains(all, b.Actor) {
			all = append(all, b.Actor)
		}
	}
	for _, a := range all {
		list, err := w.hosting.Bells.List(context.Background(), a)
		if err != nil {
			w.truth.Bad("the reminders of %v: %v", a, err)
		}
		w.hist.Waiting = append(w.hist.Waiting, list...)
	}
}
