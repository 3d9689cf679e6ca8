package sim

import (
	"context"
	"errors"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/simulation"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/supervise"
)

// Op is a request. Its ID is the ground truth.
type Op struct {
	actor.Returns[Done]
	ID     uint64
	Stream string
	N      int
	Async  bool          // sent by Ask, not by Call
	Work   time.Duration // that its handler takes
	Heed   bool          // the handler ends early with its context
	Pad    int           // bytes of the reply
	End    int           // 0: a reply; 1: an error; 2: a panic
	Key    string        // under which it is sent; empty for none
	Rivals bool          // another message is sent under it, too
	Twice  bool          // it may run more than once

	Next   string // an actor that the handler calls in turn, and the id of that call
	NextID uint64
	Within time.Duration // its deadline; 0: the handler's own
}

// Done is the reply to the Op of that ID.
type Done struct {
	ID  uint64
	Run int // of the handler: no two have the same
	Pad []byte
}

// reply is what the truth needs of it.
func (d Done) reply() *simulation.Reply { return &simulation.Reply{ID: d.ID, Run: d.Run} }

// Note is a one-way message.
type Note struct {
	ID     uint64
	Stream string
	N      int
	Acked  bool
	Work   time.Duration
	Key    string
}

// Ping is a request that only shows that the node lives.
type Ping struct {
	actor.Returns[int]
	N int
}

// worker is an actor of the simulation.
type worker struct {
	truth *simulation.Truth
	cheat func(id uint64) int
	drive *simulation.Drive // of a durable one
}

var errAsked = errors.New("an error was asked for")

func (w *worker) op(ctx *actor.Context, m Op) (Done, error) {
	p := simulation.Place{Kind: simulation.Call, Stream: m.Stream, N: m.N}
	if m.Async {
		p.Kind = simulation.Ask
	}
	w.recorded(ctx, m.ID)
	run := w.count(ctx, &simulation.Turn{ID: m.ID, Key: m.Key, Durable: w.drive != nil, Twice: m.Twice}, p)
	defer w.truth.HandledUntil(run)
	if m.Work > 0 {
		work(ctx, m.Work, m.Heed)
	}
	if m.Next != "" {
		w.nested(ctx, m, m.NextID|uint64(run.Again)<<44)
	}
	switch m.End {
	case 1:
		return Done{}, errAsked
	case 2:
		panic("a panic was asked for")
	}
	return Done{ID: m.ID, Run: run.No, Pad: make([]byte, m.Pad)}, nil
}

// recorded checks that no request of another node to a durable actor runs before its
// beginning is in the store, under this start of the node.
func (w *worker) recorded(ctx *actor.Context, id uint64) {
	if w.drive == nil {
		return
	}
	request, _, err := actor.Completion(ctx, Done{})
	if err != nil {
		w.truth.Bad("the name of %x: %v", id, err)
	}
	if len(request) == 48 && !w.drive.HasBegun(request) { // another length: of this node, without a key
		w.truth.Bad("operation %x runs on %s, and its beginning is not in the store", id, address(ctx))
	}
}

// nested makes a call from within a handler. The call is an operation of its own.
func (w *worker) nested(ctx *actor.Context, m Op, id uint64) {
	var within context.Context = ctx
	if m.Within > 0 {
		var cancel context.CancelFunc
		within, cancel = context.WithTimeout(ctx, m.Within)
		defer cancel()
	}
	o := &simulation.Op{ID: id, Kind: simulation.Call, From: ctx.System().Name(), To: m.Next, Due: w.truth.Now() + 30*time.Second}
	if at, ok := within.Deadline(); ok {
		o.Due = at.Sub(w.truth.Start)
	}
	w.truth.Begin(o)
	done, err := actor.Call(within, ctx.System().Ref(m.Next), Op{ID: id})
	w.truth.End(o, done.reply(), err)
}

func (w *worker) note(ctx *actor.Context, m Note) error {
	p := simulation.Place{Kind: simulation.Tell, Stream: m.Stream, N: m.N}
	if m.Acked {
		p.Kind = simulation.Acked
	}
	run := w.count(ctx, &simulation.Turn{ID: m.ID, Key: m.Key, Durable: w.drive != nil, Note: true}, p)
	defer w.truth.HandledUntil(run)
	if m.Work > 0 {
		work(ctx, m.Work, false)
	}
	return nil
}

func (w *worker) ping(_ *actor.Context, m Ping) (int, error) { return m.N, nil }

// address is that of a handler's actor, and its node's epoch.
func address(ctx *actor.Context) string { return ctx.Self().String() + "/" + ctx.System().Epoch() }

// count notes in the truth that a handler begins.
func (w *worker) count(ctx *actor.Context, r *simulation.Turn, p simulation.Place) *simulation.Turn {
	if r.On = address(ctx); w.cheat != nil {
		for range w.cheat(r.ID) - 1 {
			again := *r
			w.truth.Handled(&again, p)
		}
	}
	return w.truth.Handled(r, p)
}

// work takes the time that a request says.
func work(ctx *actor.Context, d time.Duration, heed bool) {
	t := time.NewTimer(d)
	defer t.Stop()
	if heed {
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		return
	}
	<-t.C
}

// cast is the actors of every node, with their mailboxes.
var cast = []struct {
	name string
	box  mailbox.Config
}{
	{"quick", mailbox.Config{}},
	{"relay", mailbox.Config{}},
	{"slow0", mailbox.Config{}},
	{"slow1", mailbox.Config{}},
	{"small", mailbox.Config{Capacity: 2, Backlog: 4}},
	{"picky", mailbox.Config{Capacity: 2, Policy: mailbox.Refuse}},
	{"fresh", mailbox.Config{Capacity: 3, Policy: mailbox.DropOldest}},
	{"stale", mailbox.Config{Capacity: 3, Policy: mailbox.DropNewest}},
	{"probe", mailbox.Config{}},
}

// crew is the service whose instances are the quick ones.
const crew = "crew"

// durableKind is the name of durable actors' kinds. Such a name must be among a system's
// from the start.
const durableKind = "sim.durable"

// kind makes a kind of actors.
func (w *world) kind(name string, d *simulation.Drive) *actor.Kind {
	return actor.Define(name, func() *worker { return &worker{w.truth, w.cheat.handler, d} },
		actor.Answer((*worker).op), actor.Handle((*worker).note), actor.Answer((*worker).ping)).With(lively())
}

// lively has actors restart after each of their many panics, most of them after a back-off.
func lively() actor.KindOption {
	return actor.Supervise(actor.Strategy{Max: supervise.MaxRestarts, Backoff: 5 * time.Millisecond, MaxBackoff: 50 * time.Millisecond})
}

// spawnCast starts the actors of a node.
func (w *world) spawnCast(sys *actor.System, d *simulation.Drive) error {
	kinds := map[bool]*actor.Kind{false: w.kind("sim.worker", nil)}
	if d != nil {
		if kinds[true] = w.kind(durableKind, d); !w.cheat.unrecorded {
			kinds[true] = kinds[true].With(actor.Durable())
		}
	}
	for _, c := range cast {
		opts := []actor.SpawnOption{actor.Mailbox(c.box)}
		if c.name == "quick" {
			opts = append(opts, actor.Expose(crew))
		}
		if _, err := sys.Spawn(c.name, kinds[w.plan.durable(c.name, sys.Name())], opts...); err != nil {
			return err
		}
	}
	return nil
}
