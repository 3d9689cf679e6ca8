package sim

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/draw"
	"github.com/tandem-go/tandem/internal/simulation"
	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// world is one run of what internal/simulation simulates, with this package's callers, actors
// and checks.
type world struct {
	*simulation.World
	plan  plan
	truth *simulation.Truth // the World's
	cheat cheat

	jobs    jobsTruth
	queues  queuesTruth
	streams streamsTruth
	lives   livesTruth
	posts   postsTruth

	callers sync.WaitGroup // and everything else that they start
}

func newWorld(seed uint64, c cheat, silent, wire bool) *world {
	w := &world{truth: simulation.NewTruth(silent), cheat: c}
	w.plan = newPlan(draw.From(seed, "plan"))
	w.truth.Durable, w.truth.KeyLife = w.plan.durable, cmp.Or(w.plan.KeyLife, rpc.DefaultKeyLife)
	w.truth.Note("%+v", w.plan)
	w.World = simulation.New(seed, w.plan.Plan, w.truth)
	w.Configure, w.Populate = w.configure, w.populate
	w.Road = func(n *simulation.Node, g *simulation.Gate) {
		if c.wire != nil {
			g.Tamper = c.wire()
		}
		if wire { // the transcript shows every envelope
			g.Watch = func(format string, args ...any) { w.truth.Note(n.Name+" "+format, args...) }
		}
	}
	for _, n := range w.Nodes {
		if n.Disk != nil {
			n.Disk.Keeps, n.Disk.Fences = c.keeps, !c.unfenced
		}
	}
	return w
}

// configure completes the configuration of a start of a node.
func (w *world) configure(n *simulation.Node, l *simulation.Life, cfg *actor.Config) {
	cfg.Roads, cfg.AckWait, cfg.Retry, cfg.TokenLife = w.plan.policy(n.Name), time.Second, w.plan.Retry, w.plan.Patterns.TokenLife
	cfg.RPC = rpc.Limits{
		SessionLease: w.plan.Lease, Heartbeat: w.plan.Heartbeat, KeyLife: w.plan.KeyLife,
		Window: w.plan.Window, Keep: w.plan.Keep, MemoryBytes: w.plan.MemoryBytes, MaxSessions: w.plan.MaxSessions,
		Random: w.Random(fmt.Sprintf("pauses of %s.%d", n.Name, l.No)),
	}
	cfg.Principals = func(road string, _ transport.Peer) string {
		if w.plan.Strangers {
			return road
		}
		return "app" // of the loopback road as well: a key means the same from everywhere
	}
	cfg.Access = mayStop
	if l.Drive != nil {
		cfg.Kinds = []*actor.Kind{w.kind(durableKind, nil).With(actor.Durable()), w.clerkKind(clerkKind).With(actor.Durable())}
	}
}

// populate starts the actors of a node.
func (w *world) populate(_ *simulation.Node, l *simulation.Life) error {
	if err := w.spawnCast(l.Sys, l.Drive); err != nil {
		return err
	}
	if err := w.spawnPatterns(l.Sys, l.Drive); err != nil {
		return err
	}
	return w.spawnLives(l)
}

// mayDrop reports whether a message that its sender was told to be in the mailbox may still be
// dropped: because of the mailbox's policy, because its node was shut down and had no time left,
// or because its node was fenced, which ends it with what waits in its mailboxes.
func (w *world) mayDrop(o *simulation.Op) bool {
	for _, n := range w.Nodes {
		for _, l := range n.Past() {
			if (l.Deployed || l.Sys.Err() != nil) && (o.To == crew || strings.HasSuffix(o.To, "@"+n.Name)) {
				return true
			}
		}
	}
	return strings.HasPrefix(o.To, "fresh@")
}

// cheat breaks a promise on purpose, to show that the checks find it.
type cheat struct {
	handler func(id uint64) int                                                        // how often a handler runs the body
	wire    func() func(e *transport.Envelope, send simulation.Sender) (uint64, error) // meddles with what a start of a node sends on a road
	caller  func(o *simulation.Op, reply Done, err error) (reply2 Done, err2 error)    // what the caller is told instead
	late    func(o *simulation.Op)                                                     // before the caller is told

	keeps      func(ledger.Change) bool // what disks keep
	unfenced   bool                     // disks let an earlier start go on
	unrecorded bool                     // the kinds of durable actors are not

	pattern string // what goes wrong with jobs, queues or streams, or with the lives of actors
}
