package actortest

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/intercept"
	"github.com/tandem-go/tandem/internal/draw"
	"github.com/tandem-go/tandem/internal/simulation"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// World is one run of Simulate. Cluster, Callers and Invariant describe it, before it starts;
// the other methods may be called at any time until it is over, also concurrently. Whatever is
// called when it is over ends the test. Its nodes and roads fail by themselves: a test that kills
// a node has to start it again, and may find that the World has done so.
type World struct {
	t    testing.TB // of Simulate
	seed uint64

	cfg        ClusterConfig
	callers    []*Caller
	invariants []invariant

	cluster *Cluster
	plan    simulation.Plan
	truth   *simulation.Truth
	owned   sync.WaitGroup // callers

	mu    sync.Mutex // guards what follows
	phase phase
	ops   map[string]*simulation.Op // by what their header says
	keys  map[string]uint64         // ids of keyed operations, by key and receiver

	// What Simulate reports, once the run is over.
	wrong  []string
	script []string
	counts string
}

// phase is how far a World has come.
type phase uint8

const (
	described phase = iota // Simulate's function describes it
	running
	over
)

type invariant struct {
	name  string
	check func() error
}

// Seed is the seed of the run.
func (w *World) Seed() uint64 { return w.seed }

// Rand returns a generator for something of the test's own that is to depend on the seed. Each
// name has one of its own, which begins anew with each call. It is not for concurrent use.
func (w *World) Rand(name string) *rand.Rand { return draw.From(w.seed, "test "+name) }

// Cluster describes the nodes of the run. Fields that are zero are drawn: how many nodes there
// are, from 2 to 4, and on which roads. Without Cluster there are nodes that host nothing.
func (w *World) Cluster(cfg ClusterConfig) {
	w.t.Helper()
	w.in("Cluster", described)
	w.cfg = cfg
}

// Callers adds n goroutines of the application, which call step again and again until the
// faults end. Each lives on a node, the first one on n0, and pauses while that is down.
func (w *World) Callers(n int, step func(*Caller)) {
	w.t.Helper()
	w.in("Callers", described)
	for range n {
		no := len(w.callers)
		w.callers = append(w.callers, &Caller{w: w, no: no, r: draw.From(w.seed, fmt.Sprintf("caller %d", no)), step: step})
	}
}

// Invariant adds something that must be true when the faults are over, all nodes are up and all
// callers have ended. An error of check fails the run.
func (w *World) Invariant(name string, check func() error) {
	w.t.Helper()
	w.in("Invariant", described)
	w.invariants = append(w.invariants, invariant{name, check})
}

// Errorf reports something that is wrong: the run goes on, and fails.
func (w *World) Errorf(format string, args ...any) {
	w.t.Helper()
	w.in("Errorf", described, running)
	w.truth.Bad(format, args...)
}

// Logf adds a line to the transcript, which is shown when a seed is run alone.
func (w *World) Logf(format string, args ...any) {
	w.t.Helper()
	w.in("Logf", described, running)
	w.truth.Note(format, args...)
}

// Node returns the i-th node of the running World, from 0. If there is none, the test ends.
func (w *World) Node(i int) *Node {
	w.t.Helper()
	w.in("Node", running)
	return w.cluster.Node(i)
}

// Nodes returns all nodes of the running World.
func (w *World) Nodes() []*Node {
	w.t.Helper()
	w.in("Nodes", running)
	return w.cluster.Nodes()
}

// in ends the test if the World is in none of these phases.
func (w *World) in(method string, phases ...phase) {
	w.t.Helper()
	w.mu.Lock()
	now := w.phase
	w.mu.Unlock()
	if slices.Contains(phases, now) {
		return
	}
	why := map[phase]string{described: "before it runs: call it in callers, invariants and Setup", running: "while it runs: it describes the World", over: "after its end"}[now]
	w.t.Fatalf("actortest: World.%s of seed %d is called %s", method, w.seed, why)
}

func (w *World) enter(p phase) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.phase = p
}

// run is the whole life of a World, in its bubble.
func (w *World) run(t testing.TB, loud bool, describe func(*World)) {
	w.truth = simulation.NewTruth(!loud)
	w.ops, w.keys = map[string]*simulation.Op{}, map[string]uint64{}
	defer w.report()
	describe(w)
	w.make(t)
	w.enter(running)
	sim := w.cluster.world
	sim.Settle()
	for _, n := range w.cluster.nodes {
		if sim.Start(n.node) != nil {
			sim.End()
			return
		}
	}
	for _, c := range w.callers {
		w.owned.Go(c.run)
	}
	sim.Inject()
	sim.Calm()
	up := w.alive()
	w.owned.Wait()
	settle() // what the test does with the last results
	if !up {
		sim.End()
		return
	}
	for _, inv := range w.invariants {
		if err := inv.check(); err != nil {
			w.truth.Bad("invariant %q: %v", inv.name, err)
		}
	}
	time.Sleep(100*time.Second + 3*w.plan.Lease) // late copies come out, sessions of dead nodes end
	w.atRest()
	sim.End()
	w.truth.Judge(false, false, func(*simulation.Op) bool { return true })
}

// report keeps what Simulate wants to know.
func (w *World) report() {
	w.enter(over)
	w.wrong, w.script = w.truth.Wrong(), w.truth.Script()
	w.counts = "no faults"
	if w.cluster != nil {
		w.cluster.mu.Lock()
		w.cluster.over = true
		w.cluster.mu.Unlock()
		var kinds []string
		for _, f := range slices.Sorted(maps.Keys(w.cluster.world.Counts)) {
			kinds = append(kinds, fmt.Sprintf("%s %d", f, w.cluster.world.Counts[f]))
		}
		if len(kinds) > 0 {
			w.counts = strings.Join(kinds, ", ")
		}
	}
}

// make draws the plan and makes the cluster, whose nodes are down.
func (w *World) make(t testing.TB) {
	r := draw.From(w.seed, "plan")
	w.plan = simulation.NewPlan(r)
	w.plan.Slow = draw.Pick(r, 0, time.Millisecond, 20*time.Millisecond)
	w.plan.DrawFaults(r, w.cfg.Store && draw.Chance(r, 0.5))
	w.plan.Faults = append(w.plan.Faults, simulation.Ends(r))
	cfg := w.cfg
	cfg.Seed = w.seed
	if cfg.Nodes == 0 {
		cfg.Nodes = w.plan.Nodes
	}
	if len(cfg.Roads) == 0 {
		for _, road := range w.plan.Roads {
			cfg.Roads = append(cfg.Roads, Road(road))
		}
	}
	cfg.Setup = func(n *Node) error {
		if _, err := n.System().Spawn(livesName, livesKind); err != nil {
			return err
		}
		if w.cfg.Setup == nil {
			return nil
		}
		return w.cfg.Setup(n)
	}
	cfg.Config = func(n *Node, c *actor.Config) { w.configure(n, c) }
	w.cluster = newCluster(t, cfg, w.truth, w.plan)
	w.cluster.observe = w.observed
	w.truth.Note("%+v", w.cluster.world.Plan)
}

// configure completes the configuration of a start.
func (w *World) configure(n *Node, c *actor.Config) {
	c.AckWait = time.Second
	c.RPC.SessionLease, c.RPC.Heartbeat = w.plan.Lease, w.plan.Heartbeat
	c.RPC.Random = w.cluster.world.Random(fmt.Sprintf("pauses of %s.%d", n.Name(), len(n.node.Past())))
	c.Principals = func(string, transport.Peer) string { return "app" } // so a key means the same from everywhere
	if w.cfg.Config != nil {
		w.cfg.Config(n, c)
	}
}

// observed is a kind whose handlers the judges see in a start of a node.
func (w *World) observed(l *simulation.Life, k *actor.Kind) *actor.Kind {
	return k.With(actor.Incoming(func(ctx context.Context, op *intercept.Operation, next func(context.Context) error) error {
		w.ran(op, l)
		return next(ctx)
	}))
}

// ran notes that the handler of an operation begins. Other interceptors have let it through.
func (w *World) ran(in *intercept.Operation, l *simulation.Life) {
	id := in.Header(opHeader)
	if id == "" {
		return
	}
	w.mu.Lock()
	o := w.ops[id]
	w.mu.Unlock()
	if o == nil {
		return
	}
	var place simulation.Place
	if !o.Anew {
		place = simulation.Place{Kind: o.Kind, Stream: o.Stream, N: o.N}
	}
	note := o.Kind == simulation.Tell || o.Kind == simulation.Acked
	on := fmt.Sprintf("%s/%d", in.To(), l.No)
	w.truth.Handled(&simulation.Turn{ID: o.ID, On: on, Key: o.Key, Twice: o.Twice, Note: note}, place)
}

// The actor of each node that shows that the node lives.
const livesName = "actortest.lives"

type lives struct{ actor.Returns[bool] }

var livesKind = actor.Define(livesName, func() struct{} { return struct{}{} },
	actor.Answer(func(struct{}, *actor.Context, lives) (bool, error) { return true, nil }))

// alive checks that every node is up and answers every other soon after the last fault.
func (w *World) alive() bool {
	sim := w.cluster.world
	if !sim.AllUp() {
		w.truth.Bad("not all nodes are up after the last fault")
		return false
	}
	sim.Answering(simulation.CalmLimit, func(ctx context.Context, from *simulation.Life, to *simulation.Node) error {
		_, err := actor.Call(ctx, from.Sys.Ref(livesName+"@"+to.Name), lives{})
		return err
	})
	return true
}

// atRest checks that nothing is left when nothing is outstanding. Timers of the application may
// send something now and then, so it looks more than once.
func (w *World) atRest() {
	for _, n := range w.cluster.nodes {
		var st rpc.Stats
		for range 30 {
			if st = n.System().Stats().RPC; st.Outstanding == 0 && st.Records == 0 {
				break
			}
			time.Sleep(time.Second + time.Millisecond)
		}
		if st.Outstanding != 0 || st.Records != 0 {
			w.truth.Bad("%s at rest: %d requests are outstanding, %d records are kept", n.Name(), st.Outstanding, st.Records)
		}
	}
}
