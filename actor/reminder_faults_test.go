package actor_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/placement/memory"
	"github.com/tandem-go/tandem/reminder"
	reminders "github.com/tandem-go/tandem/reminder/memory"
	"github.com/tandem-go/tandem/state"
	statemem "github.com/tandem-go/tandem/state/memory"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// flakyReminders is a node's way to the store of reminders: it loses answers, and can be cut.
type flakyReminders struct {
	reminder.Store
	deaf   bool // it hears no answer
	gone   atomic.Bool
	handed atomic.Int64
	mu     sync.Mutex
	rand   *rand.Rand
}

func (f *flakyReminders) lost(one int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rand.IntN(one) == 0
}

func (f *flakyReminders) Set(ctx context.Context, r reminder.Reminder, id reminder.ID) (reminder.Entry, error) {
	if f.gone.Load() || f.lost(10) {
		return reminder.Entry{}, &reminder.Error{Op: "set", Kind: reminder.ErrUnknown}
	}
	e, err := f.Store.Set(ctx, r, id)
	if f.lost(4) {
		return reminder.Entry{}, &reminder.Error{Op: "set", Kind: reminder.ErrUnknown}
	}
	return e, err
}

func (f *flakyReminders) Follow(ctx context.Context, handle func(context.Context, reminder.Firing) reminder.Outcome) error {
	return f.Store.Follow(ctx, func(ctx context.Context, g reminder.Firing) reminder.Outcome {
		if f.gone.Load() {
			<-ctx.Done()
			return reminder.Retry(0)
		}
		out := handle(ctx, g)
		f.handed.Add(1)
		if f.gone.Load() || f.deaf || f.lost(5) {
			<-ctx.Done() // the store does not hear of it
			time.Sleep(time.Second)
		}
		return out
	})
}

// chime counts the firings of its reminders.
type chime struct {
	Set   int // how many reminders it has set
	Rung  map[string]int
	Times map[string]uint64 // for how many times a reminder has rung, or was told that it has not
}

type (
	wind struct{ actor.Returns[int] }
	toll struct{ N int }
	peal struct{ actor.Returns[chime] }
)

func (wind) WireName() string  { return "chime.wind" }
func (toll) WireName() string  { return "chime.toll" }
func (peal) WireName() string  { return "chime.peal" }
func (chime) WireName() string { return "chime.state" }

const tollEvery = 7 * time.Second

func (c *chime) wind(ctx *actor.Context, _ wind) (int, error) {
	c.Set++
	return c.Set, actor.Remind(ctx, fmt.Sprint(c.Set), reminder.Every(tollEvery), toll{c.Set})
}

func (c *chime) toll(ctx *actor.Context, m toll) error {
	f, ok := ctx.Firing()
	if !ok || f.Name != fmt.Sprint(m.N) {
		return fmt.Errorf("%+v", f)
	}
	c.Rung[fmt.Sprint(f.Name, "/", f.Number)]++
	c.Times[f.Name] += f.Missed + 1
	return nil
}

var chimeKind = actor.Define("chime", func() *chime { return &chime{Rung: map[string]int{}, Times: map[string]uint64{}} },
	actor.Answer((*chime).wind), actor.Handle((*chime).toll), actor.Read(func(c *chime, _ *actor.Context, _ peal) (chime, error) { return *c, nil })).
	With(actor.Virtual(), actor.Stored(func(c *chime) *chime { return c }), actor.Idle(3*time.Second))

// Whatever is cut off, dies or is not answered: each firing of each reminder that was set is handled once, and none is left
// out. No time is told of twice: it has rung, or a firing has told that it was missed, or it has passed between a firing and
// the answer to it that the store has heard.
func TestRemindUnderFaults(t *testing.T) {
	for seed := range uint64(*storedSeeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) { remindFaults(t, seed) })
		})
	}
}

func remindFaults(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 7))
	net, first, claims, states := memnet.New(memnet.Config{Seed: seed}), newLeases(), memory.New(), statemem.New(statemem.Config{})
	rs := reminders.New(reminders.Config{Patience: 20 * time.Second})
	names := []string{"a", "b", "c"}
	sys, reg, way, store := map[string]*actor.System{}, map[string]leases{}, map[string]*flakyReminders{}, map[string]*slowStates{}
	start := func(name string) {
		way[name] = &flakyReminders{Store: rs, rand: rand.New(rand.NewPCG(seed, r.Uint64()))}
		store[name] = &slowStates{Store: states, rand: rand.New(rand.NewPCG(seed, r.Uint64()))}
		s, err := actor.NewSystem(actor.Config{Name: name, Registry: reg[name], Claims: claims, States: store[name], Reminders: way[name], Kinds: []*actor.Kind{chimeKind}, Logger: quiet,
			Transports: []transport.Transport{net.Transport("direct", true)}})
		if err != nil {
			t.Fatal(err)
		}
		sys[name] = s
	}
	for _, name := range names {
		reg[name] = first.view()
		start(name)
	}
	isolate := func(name string, do func(road, a, b string)) {
		for _, other := range names {
			if other != name {
				do("direct", name, other)
			}
		}
	}
	wound := map[string]int{}
	for range 12 {
		id := string(rune('A' + r.IntN(3)))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		n, err := actor.Call(ctx, sys[names[r.IntN(3)]].Virtual(chimeKind, id), wind{})
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		wound[id] = max(n, wound[id])
		name, long := names[r.IntN(3)], time.Duration(2+r.IntN(25))*time.Second
		switch r.IntN(4) {
		case 0: // it does not reach the registry
			reg[name].cut.off()
			time.Sleep(long)
			reg[name].cut.on()
		case 1: // it is restarted
			_ = sys[name].Shutdown(t.Context())
			start(name)
		case 2: // it dies, and comes back
			reg[name].cut.off()
			way[name].gone.Store(true)
			store[name].cut(true)
			isolate(name, net.Partition)
			gone, cancel := context.WithTimeout(t.Context(), time.Second)
			_ = sys[name].Shutdown(gone)
			cancel()
			time.Sleep(leaseTime + long)
			reg[name].cut.on()
			isolate(name, net.Heal)
			start(name)
		case 3: // it does not reach its stores
			way[name].gone.Store(true)
			store[name].cut(true)
			time.Sleep(long)
			way[name].gone.Store(false)
			store[name].cut(false)
		}
	}
	time.Sleep(5 * time.Minute)
	synctest.Wait()
	for id, n := range wound {
		at := sys["a"].Virtual(chimeKind, id)
		list, err := sys["a"].Reminders(t.Context(), at)
		if err != nil || len(list) != n {
			t.Fatalf("%s: %d of %d reminders, %v", id, len(list), n, err)
		}
		c, err := actor.Call(t.Context(), at, peal{})
		if err != nil {
			t.Fatal(err)
		}
		if c.Set != n {
			t.Errorf("%s has set %d reminders, and %d were asked for", id, c.Set, n)
		}
		rung := 0
		for _, e := range list {
			last := e.Number - 1
			if c.Rung[fmt.Sprint(e.Name, "/", e.Number)] > 0 { // the store does not know yet
				last++
			}
			for k := uint64(1); k <= last; k++ {
				if got := c.Rung[fmt.Sprint(e.Name, "/", k)]; got != 1 {
					t.Errorf("%s: firing %d of %d of reminder %s was handled %d times", id, k, last, e.Name, got)
				}
			}
			rung += int(last)
			if times := uint64(time.Since(e.Since) / tollEvery); c.Times[e.Name] > times || last < 10 {
				t.Errorf("%s: reminder %s has rung %d times and told of %d, and there were %d", id, e.Name, last, c.Times[e.Name], times)
			}
		}
		if rung != len(c.Rung) {
			t.Errorf("%s has heard of %d firings, and there were %d", id, len(c.Rung), rung)
		}
	}
	for _, s := range sys {
		_ = s.Shutdown(t.Context())
	}
}

// heldReminders is a way to the store of reminders on which changes wait while it is cut.
type heldReminders struct {
	reminder.Store
	cut atomic.Pointer[chan struct{}] // closed when it is not cut any more
}

func (h *heldReminders) reach(ctx context.Context) error {
	select {
	case <-*h.cut.Load():
		return ctx.Err()
	case <-ctx.Done():
		return &reminder.Error{Op: "change", Kind: reminder.ErrUnknown}
	}
}

func (h *heldReminders) Set(ctx context.Context, r reminder.Reminder, id reminder.ID) (reminder.Entry, error) {
	if err := h.reach(ctx); err != nil {
		return reminder.Entry{}, err
	}
	return h.Store.Set(ctx, r, id)
}

func (h *heldReminders) Forget(ctx context.Context, a reminder.Actor, name string, id reminder.ID) error {
	if err := h.reach(ctx); err != nil {
		return err
	}
	return h.Store.Forget(ctx, a, name, id)
}

// A node that could not reach the store of reminders for a while, and has lost an actor meanwhile, does not make a change that
// the actor has made there: another node has, and later ones, of which the store does not remember that many.
func TestRemindOfAFormerNode(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		net, first, claims, states := memnet.New(memnet.Config{}), newLeases(), memory.New(), statemem.New(statemem.Config{})
		rs := reminders.New(reminders.Config{})
		kind := actor.Define("chime", func() *chime { return &chime{Rung: map[string]int{}} },
			actor.Answer(func(c *chime, ctx *actor.Context, _ wind) (int, error) {
				c.Set++
				if c.Set%2 == 0 {
					return c.Set, actor.Forget(ctx, "x")
				}
				return c.Set, actor.Remind(ctx, "x", reminder.Every(time.Hour), toll{})
			}), actor.Handle(func(*chime, *actor.Context, toll) error { return nil })).
			With(actor.Virtual(), actor.Stored(func(c *chime) *chime { return c }))
		sys, reg, way, open := map[string]*actor.System{}, map[string]leases{}, map[string]*heldReminders{}, make(chan struct{})
		close(open)
		for _, name := range []string{"a", "b"} {
			reg[name], way[name] = first.view(), &heldReminders{Store: rs}
			way[name].cut.Store(&open)
			s, err := actor.NewSystem(actor.Config{Name: name, Registry: reg[name], Claims: claims, States: states, Reminders: way[name], Kinds: []*actor.Kind{kind},
				Timeout: time.Hour, Logger: quiet, Transports: []transport.Transport{net.Transport("direct", true)}}) // it does not end an attempt at a change
			if err != nil {
				t.Fatal(err)
			}
			sys[name] = s
		}
		ask := func(at string, want int) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if n, err := actor.Call(ctx, sys[at].Virtual(kind, "x"), wind{}); err != nil || n != want {
				t.Fatal(n, err)
			}
		}
		cut := make(chan struct{})
		former, heir := "a", "b"
		for _, name := range []string{"a", "b"} {
			way[name].cut.Store(&cut)
		}
		ask("a", 1) // and the reminder is not set
		if sys["b"].Stats().Virtual.Begun > 0 {
			former, heir = heir, former
		}
		way[heir].cut.Store(&open)
		reg[former].cut.off()
		time.Sleep(2 * leaseTime)
		for n := range reminder.MaxChanges + 3 {
			ask(heir, n+2)
			time.Sleep(time.Second)
		}
		reg[former].cut.on()
		time.Sleep(leaseTime)
		close(cut)
		time.Sleep(time.Minute)
		synctest.Wait()
		if list, err := rs.List(t.Context(), reminder.Actor{Kind: "chime", ID: "x"}); err != nil || len(list) != 0 {
			t.Errorf("%v: of what was forgotten there is %+v", err, list)
		}
		for _, s := range sys {
			_ = s.Shutdown(t.Context())
		}
	})
}

// The record of an actor does not grow with the reminders that have ended.
func TestRemindLeavesLittle(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		const all = 200
		rs, states := reminders.New(reminders.Config{}), statemem.New(statemem.Config{})
		kind := actor.Define("once", func() *chime { return &chime{Rung: map[string]int{}} },
			actor.Answer(func(c *chime, ctx *actor.Context, _ wind) (int, error) {
				c.Set++
				return c.Set, actor.Remind(ctx, fmt.Sprint(c.Set), reminder.At(time.Now().Add(time.Hour)), toll{})
			}),
			actor.Handle(func(c *chime, ctx *actor.Context, _ toll) error {
				f, _ := ctx.Firing()
				c.Rung[f.Name]++
				return nil
			})).With(actor.Virtual(), actor.Stored(func(c *chime) *chime { return c }))
		sys := newSystem(t, actor.Config{Kinds: []*actor.Kind{kind}, States: states, Reminders: rs, Logger: quiet})
		for range all {
			if _, err := actor.Call(t.Context(), sys.Virtual(kind, "x"), wind{}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Second)
		}
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		rec, _, err := states.Load(t.Context(), state.Key{Kind: "once", ID: "x"})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(rec.Outcomes); n == 0 || n > 40 {
			t.Errorf("the record has %d outcomes after %d reminders", n, all)
		}
		if list, err := rs.List(t.Context(), reminder.Actor{Kind: "once", ID: "x"}); len(list) > 0 || err != nil {
			t.Errorf("%d reminders are left, %v", len(list), err)
		}
	})
}

// The store does not hear for hours that a firing was handled, and hands it out again all that time. It is handled once.
func TestRemindUnheard(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		rs := reminders.New(reminders.Config{Patience: 20 * time.Second})
		way := &flakyReminders{Store: rs, rand: rand.New(rand.NewPCG(1, 1)), deaf: true}
		sys := newSystem(t, actor.Config{Kinds: []*actor.Kind{chimeKind}, States: statemem.New(statemem.Config{}), Reminders: way, Logger: quiet})
		x := sys.Virtual(chimeKind, "x")
		for range 3 { // the answer to the first one may be lost
			if _, err := actor.Call(t.Context(), x, wind{}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(3 * time.Hour)
		c, err := actor.Call(t.Context(), x, peal{})
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Rung) != 3 || c.Rung["1/1"] != 1 || c.Rung["2/1"] != 1 || c.Rung["3/1"] != 1 {
			t.Errorf("%+v", c.Rung)
		}
		if n := way.handed.Load(); n < 1000 {
			t.Errorf("firings were handed out %d times only", n)
		}
	})
}
