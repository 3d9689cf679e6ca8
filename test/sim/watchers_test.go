package sim

import (
	"fmt"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/draw"
	"github.com/tandem-go/tandem/internal/simulation"
	"github.com/tandem-go/tandem/rpc"
)

// Look has a watcher watch an actor, or not watch it any more.
type Look struct {
	At   string
	Away bool
	Fail bool // the watcher panics afterwards
}

// watcher is an actor that watches others.
type watcher struct {
	w     *world
	on    string
	looks map[string]*look // the watches that have not ended, by whom they watch
}

func (w *world) spawnWatcher(sys *actor.System) error {
	_, err := sys.Spawn("watcher", actor.Define("sim.watcher", func() *watcher { return &watcher{w: w, looks: map[string]*look{}} },
		actor.Handle((*watcher).look), actor.Handle((*watcher).terminated)).With(lively()))
	return err
}

func (k *watcher) Started(ctx *actor.Context) error {
	k.on = address(ctx)
	return nil
}

// Restarting ends all watches.
func (k *watcher) Restarting(*actor.Context, error) {
	t := &k.w.lives
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range k.looks {
		l.over = t.now(k.w)
	}
}

func (k *watcher) look(ctx *actor.Context, m Look) error {
	w := k.w
	if m.Away {
		if !w.cheats("an unwatched end is told") {
			ctx.Unwatch(ctx.System().Ref(m.At))
		}
		w.lives.unwatched(w, k.looks[m.At])
		delete(k.looks, m.At)
	} else {
		l := w.lives.watches(w, k.on, m.At)
		if err := ctx.Watch(ctx.System().Ref(m.At)); err != nil {
			w.truth.Bad("%s cannot watch %s: %v", k.on, m.At, err)
		}
		if k.looks[m.At] == nil {
			k.looks[m.At] = l
		} else {
			w.lives.unwatched(w, l) // the earlier one stays
		}
		if w.cheats("an end is none") {
			return k.terminated(ctx, actor.Terminated{Ref: ctx.System().Ref(m.At)})
		}
	}
	if m.Fail {
		panic("a panic was asked for")
	}
	return nil
}

func (k *watcher) terminated(_ *actor.Context, m actor.Terminated) error {
	w, at := k.w, m.Ref.String()
	if w.cheats("an end is not told") {
		return nil
	}
	if w.cheats("nobody is there") {
		m.Why = rpc.Errorf(rpc.NotFound, rpc.NotRun, "a lie")
	}
	l := k.looks[at]
	delete(k.looks, at)
	w.lives.told(w, k.on, at, l, m.Why)
	if w.cheats("an end is told twice") {
		w.lives.told(w, k.on, at, k.looks[at], m.Why)
	}
	return nil
}

// look is a watch.
type look struct {
	by, at      string
	start       *simulation.Life // of the node of the actor at the beginning, or nil
	life        *mortalLife      // of the actor at the beginning, or nil
	begun, over moment
}

func (l *look) String() string {
	return fmt.Sprintf("the watch of %s by %s, begun at %v", l.at, l.by, l.begun.at)
}

// target returns the node of an actor, and the actor's name. The node may be nil.
func (w *world) target(at string) (n *simulation.Node, name string) {
	for i := range at {
		if at[i] == '@' {
			for _, n := range w.Nodes {
				if n.Name == at[i+1:] {
					return n, at[:i]
				}
			}
			return nil, at[:i]
		}
	}
	return nil, at
}

// local reports whether an actor is on the node of the watcher.
func (l *look) local() bool { return nodeOf(l.by) == nodeOf(l.at) }

// current returns the start of a node, and the life of its actor there, for a watch at. A watcher that is
// on the node itself sees its own start.
func (w *world) current(by, at string) (life *mortalLife, start *simulation.Life) {
	n, name := w.target(at)
	if n == nil {
		return nil, nil
	}
	if nodeOf(by) == n.Name {
		w.lives.mu.Lock()
		defer w.lives.mu.Unlock()
		if life = w.lives.at[at+"/"+epochOf(by)].latest(); life != nil && life.ended.happened() {
			life = nil
		}
		return life, nil
	}
	return w.living(name, n)
}

// missed reports whether the watch must have ended before a life of the actor began.
func (l *look) missed(life *mortalLife) bool {
	return l.local() && l.life != life && life.began.at > l.begun.at
}

func (t *livesTruth) watches(w *world, by, at string) *look {
	life, start := w.current(by, at)
	t.mu.Lock()
	defer t.mu.Unlock()
	l := &look{by: by, at: at, start: start, life: life, begun: t.now(w)}
	if life != nil && life.ended.happened() { // meanwhile
		l.life = nil
	}
	t.looks = append(t.looks, l)
	w.truth.Note("  %v", l)
	return l
}

func (t *livesTruth) unwatched(w *world, l *look) {
	if l == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	l.over = t.now(w)
}

// told checks that the end of an actor is true, and that it was watched.
func (t *livesTruth) told(w *world, by, at string, l *look, why error) {
	w.truth.Note("  %s is told of the end of %s: %v", by, at, why)
	_, start := w.current(by, at)
	up := w.isUp(by)
	t.mu.Lock()
	defer t.mu.Unlock()
	if l == nil {
		w.truth.Bad("%s was told of the end of %s, which it does not watch", by, at)
		return
	}
	l.over = t.now(w)
	if !up || t.closed || l.life == nil {
		return
	}
	code := rpc.CodeOf(why)
	switch {
	case l.local() && code == rpc.NotFound:
		w.truth.Bad("%v was said to be of nobody: %v", l, why)
	case l.life.ended.happened(), start != l.start: // it has ended, or its node
	case !l.local() && !t.alone(start, l.begun): // it was watched at another start
	case code == rpc.Unavailable && w.plan.has("flap"): // the registry has forgotten the node
	case code == rpc.Overloaded && w.plan.MemoryBytes > 0:
	default:
		w.truth.Bad("%v came to the end of %v, and it lives: %v", l, l.life.inc, why)
	}
}

// allTold checks that all watchers know the ends of all actors that have ended.
func (w *world) allTold(what string) {
	t := &w.lives
	t.mu.Lock()
	looks := t.looks
	t.mu.Unlock()
	for _, l := range looks {
		up := w.isUp(l.by)
		life, start := w.current(l.by, l.at)
		t.mu.Lock()
		switch {
		case l.over.happened() || !up:
		case life == nil, l.missed(life), l.life != nil && start != l.start:
			w.truth.Bad("%s %v has heard nothing", what, l)
		}
		t.mu.Unlock()
	}
}

// watch has a watcher watch somebody, or not any more.
func (c *caller) watch() {
	n := c.anyNode()
	m := Look{At: fmt.Sprintf("mortal%d@%s", c.r.IntN(c.w.plan.Lives.Names), c.anyNode().Name), Away: draw.Chance(c.r, 0.25), Fail: draw.Chance(c.r, 0.03)}
	switch x := c.r.Float64(); {
	case x < 0.05:
		m.At = "nobody@" + c.anyNode().Name
	case x < 0.1:
		m.At = "mortal0@n9" // there is no such node
	}
	note(c, "watcher@"+n.Name, m)
}
