package sim

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/draw"
	"github.com/tandem-go/tandem/internal/simulation"
)

// lives is what a plan has of actors' lives: those that fail, are restarted and stopped; who watches
// them; timers; topics; pools; and reliable messages.
type lives struct {
	Mortals, Watches, Timers, Topics, Pools, Posts bool

	Names    int            // of mortals, on each node
	Strategy actor.Strategy // of mortals
	Falls    float64        // the share of their incarnations that fail in Started
}

func drawLives(r *rand.Rand) lives {
	l := lives{Mortals: draw.Chance(r, 0.5), Timers: draw.Chance(r, 0.3), Topics: draw.Chance(r, 0.5), Pools: draw.Chance(r, 0.3), Names: 2 + r.IntN(4),
		Strategy: actor.Strategy{Max: 1 + r.IntN(4), Window: draw.Span(r, 2*time.Second, 20*time.Second),
			Backoff: draw.Span(r, 10*time.Millisecond, time.Second), MaxBackoff: draw.Span(r, 100*time.Millisecond, 3*time.Second)},
		Falls: draw.Pick(r, 0, 0.1, 0.3)}
	l.Watches = l.Mortals && draw.Chance(r, 0.8)
	l.Posts = draw.Chance(r, 0.4)
	return l
}

// any reports whether there are any.
func (l lives) any() bool { return l.Mortals || l.Timers || l.Topics || l.Pools || l.Posts }

// mayStop lets every node stop actors of every other one.
var mayStop = access.Rules{List: []access.Rule{{Effect: access.Allow, Ops: access.Stop}}}

// spawnLives starts the actors of these of a start of a node. Mortals are started by callers.
func (w *world) spawnLives(l *simulation.Life) error {
	p, sys := w.plan.Lives, l.Sys
	w.lives.starting(w, l)
	for _, a := range []struct {
		on    bool
		spawn func(*actor.System) error
	}{{p.Watches, w.spawnWatcher}, {p.Timers, w.spawnTicker}, {p.Topics, w.spawnReaders}, {p.Pools, w.spawnPool}, {p.Posts, w.spawnPosts}} {
		if !a.on {
			continue
		}
		if err := a.spawn(sys); err != nil {
			return err
		}
	}
	return nil
}

// useLives starts the callers that have to do with them.
func (w *world) useLives() {
	p := w.plan.Lives
	for i, use := range []struct {
		on bool
		do func(*caller)
	}{{p.Mortals, (*caller).mortal}, {p.Mortals, (*caller).mortal}, {p.Watches, (*caller).watch}, {p.Timers, (*caller).timer},
		{p.Topics, (*caller).publish}, {p.Topics, (*caller).publish}, {p.Pools, (*caller).pool},
		{p.Posts, (*caller).mail}, {p.Posts, (*caller).mail}, {p.Posts, (*caller).mail}} {
		if !use.on {
			continue
		}
		c := w.newCaller(0x200 + i)
		c.do = use.do
		w.callers.Go(c.run)
	}
}

// settling is how long after the last fault everything must be known: which actors have ended, and
// who has subscribed to what.
const settling = 30 * time.Second

// endLives checks, on a network without faults, that nothing was forgotten meanwhile.
func (w *world) endLives() {
	p := w.plan.Lives
	if !p.any() {
		return
	}
	wait := settling
	if w.plan.MaxSessions > 0 {
		wait += w.plan.Lease + 90*time.Second
	}
	time.Sleep(wait)
	w.alive() // also if sessions have ended meanwhile, whose lease is shorter than a heartbeat
	w.truth.Note("SETTLED")
	if p.Watches {
		w.allTold("mortal has ended, and")
	}
	if p.Posts {
		w.delivered()
	}
	if p.Mortals {
		w.stopMortals()
	}
	if p.Watches {
		time.Sleep(10 * time.Second)
		w.alive()
		w.allTold("mortal was stopped, and")
	}
	if p.Timers {
		w.stopTimers()
	}
	if p.Topics {
		w.publishLast()
	}
	if p.Pools {
		w.resizeLast()
	}
}

// moment is when something happened. No two have the same number.
type moment struct {
	no int
	at time.Duration
}

func (m moment) happened() bool { return m.no > 0 }

// livesTruth knows the lives of actors: which of them there were, who was told of their ends, and
// what they got by timers and topics.
type livesTruth struct {
	mu     sync.Mutex // guards what follows
	latest int        // moment
	closed bool       // all systems are shut down now
	at     map[string]*place
	starts map[*simulation.Life]time.Duration // when they were up
	looks  []*look
	timers []*timing
	news   map[uint64]*paper
	subs   map[string][]*subscription // by who has subscribed
	stops  map[string][]*stopping     // by actor, without an epoch
	hasty  int                        // restarts that did not wait
	random func() float64             // which incarnations fail in Started
}

// now returns this moment. t.mu is held.
func (t *livesTruth) now(w *world) moment {
	t.latest++
	return moment{t.latest, w.truth.Now()}
}

// starting notes that a node is up.
func (t *livesTruth) starting(w *world, l *simulation.Life) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.starts == nil {
		t.starts = map[*simulation.Life]time.Duration{}
	}
	t.starts[l] = w.truth.Now()
}

// alone reports whether no earlier start of a node can have answered instead of l at a moment: some
// go on beside their successor for a while. t.mu is held.
func (t *livesTruth) alone(l *simulation.Life, at moment) bool {
	const beside = 12 * time.Second
	return l != nil && (l.No == 1 || at.at > t.starts[l]+beside)
}

// close says that all systems are shut down from now on.
func (t *livesTruth) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
}

// isUp reports whether an address with an epoch is one of a start that is up, as far as the
// truth knows.
func (w *world) isUp(on string) bool {
	for _, n := range w.Nodes {
		if n.Name == nodeOf(on) {
			l := n.Live()
			return l != nil && epochOf(on) == l.Sys.Epoch()
		}
	}
	return false
}

// epochOf returns the epoch of an address that has one.
func epochOf(on string) string { return on[atSlash(on)+1:] }

// addressOf returns the address without its epoch.
func addressOf(on string) string { return on[:atSlash(on)] }

func atSlash(on string) int {
	at := len(on) - 1
	for on[at] != '/' { // an epoch has none
		at--
	}
	return at
}

// anyNode draws a node.
func (c *caller) anyNode() *simulation.Node { return draw.Pick(c.r, c.w.Nodes...) }

// note sends a message of the simulation itself, about which the truth does not have to know whether
// it arrives.
func note[M any](c *caller, to string, m M) {
	ctx, cancel, _ := c.within(false)
	defer cancel()
	err := actor.Tell(ctx, c.life.Sys.Ref(to), m)
	c.w.typed(fmt.Sprintf("%T to %s", m, to), err)
}
