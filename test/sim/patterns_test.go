package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/draw"
	"github.com/tandem-go/tandem/internal/simulation"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
)

// patterns is what a plan has of jobs, queues and streams.
type patterns struct {
	Jobs, Queues, Streams bool
	Durable               bool // jobs are, on nodes with a store
	TokenLife             time.Duration
	Queue                 queue.Config
}

func (p *plan) patterns(r *rand.Rand) patterns {
	own := !p.Strangers // a token, and a stream, is its principal's
	return patterns{
		Jobs: own && draw.Chance(r, 0.5), Queues: draw.Chance(r, 0.5), Streams: own && p.Window != 2 && draw.Chance(r, 0.5),
		Durable: p.Durable != nil && draw.Chance(r, 0.6), TokenLife: draw.Pick(r, 0, 5*time.Second, 30*time.Second),
		Queue: queue.Config{Capacity: draw.Pick(r, 4, 16, 64), Lease: draw.Pick(r, time.Second, 4*time.Second, 10*time.Second), Attempts: 1 + r.IntN(4)},
	}
}

// user is a goroutine of the application that uses one of the patterns.
type user struct {
	w    *world
	r    *rand.Rand
	no   uint64
	home *simulation.Node
	life *simulation.Life
	ids  uint64
}

// clerkKind is the kind of durable clerks.
const clerkKind = "sim.clerk.durable"

func (p plan) clerkDurable(node string) bool {
	return p.Patterns.Durable && p.Stores[node[1]-'0']
}

// spawnPatterns starts a node's actors of jobs, queues and streams.
func (w *world) spawnPatterns(sys *actor.System, d *simulation.Drive) error {
	clerks := w.clerkKind("sim.clerk")
	if d != nil && w.plan.clerkDurable(sys.Name()) {
		clerks = w.clerkKind(clerkKind).With(actor.Durable())
	}
	for name, kind := range map[string]*actor.Kind{"clerk": clerks, "line": w.lineKind(sys), "tap": w.tapKind()} {
		if _, err := sys.Spawn(name, kind); err != nil {
			return err
		}
	}
	return nil
}

// usePatterns starts the users.
func (w *world) usePatterns() {
	for i, use := range []struct {
		on   bool
		step func(*user)
	}{{w.plan.Patterns.Jobs, (*user).job}, {w.plan.Patterns.Queues, (*user).push}, {w.plan.Patterns.Queues, (*user).consume},
		{w.plan.Patterns.Queues, (*user).consume}, {w.plan.Patterns.Streams, (*user).stream}} {
		if use.on {
			w.callers.Go(func() { w.newUser(i).run(use.step) })
		}
	}
}

func (w *world) newUser(i int) *user {
	r := w.RNG(fmt.Sprintf("user %d", i))
	return &user{w: w, r: r, no: uint64(0x100 + i), home: w.Nodes[r.IntN(len(w.Nodes))]}
}

func (u *user) run(step func(*user)) {
	end := u.w.truth.Start.Add(u.w.plan.Length)
	for range 25 {
		pause := time.Duration(u.r.ExpFloat64() * float64(u.w.plan.Length/25))
		time.Sleep(min(pause, time.Until(end)))
		if !time.Now().Before(end) {
			return
		}
		if u.life = u.home.Live(); u.life != nil {
			step(u)
		}
	}
}

func (u *user) id() uint64 {
	u.ids++
	return u.no<<32 | u.ids
}

// target draws a node, seldom the user's own.
func (u *user) target() *simulation.Node {
	n := u.w.Nodes[u.r.IntN(len(u.w.Nodes))]
	if n == u.home && draw.Chance(u.r, 0.6) {
		n = u.w.Nodes[u.r.IntN(len(u.w.Nodes))]
	}
	return n
}

// cheats reports whether the run's mutation is that one.
func (w *world) cheats(what string) bool { return w.cheat.pattern == what }

// patience is how long after the last fault nothing may still wait.
const patience = 5 * time.Minute

// open returns a context without a deadline, for something that must end by itself. stop
// reports whether it did.
func (u *user) open() (ctx context.Context, stop func() bool) {
	ctx, cancel := context.WithCancel(context.Background())
	l, home := u.life, u.home
	var mu sync.Mutex
	late := false
	end := time.Until(u.w.truth.Start.Add(u.w.plan.Length))
	dead := time.AfterFunc(end+20*time.Second, func() {
		if home.Live() != l { // its process is dead: nobody waits
			cancel()
		}
	})
	limit := time.AfterFunc(end+patience, func() {
		mu.Lock()
		late = true
		mu.Unlock()
		cancel()
	})
	return ctx, func() bool {
		dead.Stop()
		limit.Stop()
		cancel()
		mu.Lock()
		defer mu.Unlock()
		return !late
	}
}

// brief returns a context with a deadline, and the deadline.
func (u *user) brief(from, to time.Duration) (context.Context, context.CancelFunc, time.Duration) {
	d := draw.Span(u.r, from, to)
	ctx, cancel := context.WithTimeout(context.Background(), d)
	return ctx, cancel, u.w.truth.Now() + d
}

// inTime checks that something has ended by its deadline.
func (w *world) inTime(what string, due time.Duration) {
	if now := w.truth.Now(); now > due+simulation.Slack {
		w.truth.Bad("%s ended at %v, and its deadline was %v", what, now, due)
	}
}

// typed checks that an error is one of Tandem's, with a code.
func (w *world) typed(what string, err error) {
	if err != nil && rpc.CodeOf(err) == 0 {
		w.truth.Bad("%s ended with an error of no code: %v", what, err)
	}
}

// judgePatterns checks what must be true in the end.
func (w *world) judgePatterns() {
	w.jobs.judge(w)
	w.queues.judge(w)
	w.streams.judge(w)
}
