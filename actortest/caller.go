package actortest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/draw"
	"github.com/tandem-go/tandem/internal/sendopt"
	"github.com/tandem-go/tandem/internal/simulation"
	"github.com/tandem-go/tandem/rpc"
)

// opHeader says which operation of a World a message is.
const opHeader = "actortest-op"

// Caller is a goroutine of the application in a World. It lives on a node, and continues on the
// node's next start when one has ended. It is used by its own goroutine only.
type Caller struct {
	w    *World
	no   int
	r    *rand.Rand
	step func(*Caller)
	home *Node

	life   *simulation.Life
	stream string // of this caller on this life
	n      int    // operations in it
	ids    uint64
}

// Rand is the caller's generator, for everything that it draws.
func (c *Caller) Rand() *rand.Rand { return c.r }

// Node is the node on which the caller lives.
func (c *Caller) Node() *Node { return c.home }

// Pick draws a node, seldom the caller's own.
func (c *Caller) Pick() *Node {
	n := draw.Pick(c.r, c.w.cluster.nodes...)
	if n == c.home && draw.Chance(c.r, 0.7) {
		n = draw.Pick(c.r, c.w.cluster.nodes...)
	}
	return n
}

// run calls the step until the faults are over.
func (c *Caller) run() {
	nodes := c.w.cluster.nodes
	c.home = nodes[c.no%len(nodes)]
	length := c.w.plan.Length
	end, ops := c.w.truth.Start.Add(length), 20+c.r.IntN(50)
	for range ops {
		pause := time.Duration(c.r.ExpFloat64() * float64(length) / float64(ops))
		if draw.Chance(c.r, 0.3) { // several in a row
			pause = 0
		}
		time.Sleep(min(pause, time.Until(end)))
		if !time.Now().Before(end) {
			return
		}
		l := c.home.node.Live()
		if l == nil {
			time.Sleep(time.Second)
			continue
		}
		if l != c.life {
			c.life, c.n = l, 0
			c.stream = fmt.Sprintf("c%d.%d", c.no, l.No)
		}
		c.step(c)
	}
}

// Call is actor.Call to an address, as "till@n0" or "tills@*" for a service, with a deadline that
// is drawn from 10 ms to 30 s. The judges know what becomes of it.
func Call[M actor.Question[R], R any](c *Caller, to string, m M, opts ...rpc.Option) (R, error) {
	ctx, cancel, o, opts := c.begin(simulation.Call, to, opts)
	defer cancel()
	r, err := actor.Call(ctx, c.life.Sys.Ref(to), m, opts...)
	c.w.truth.End(o, nil, err)
	return r, err
}

// Ask is Call without waiting: see actor.Ask.
func Ask[M actor.Question[R], R any](c *Caller, to string, m M, opts ...rpc.Option) *rpc.Future[R] {
	ctx, cancel, o, opts := c.begin(simulation.Ask, to, opts)
	f := actor.Ask(ctx, c.life.Sys.Ref(to), m, opts...)
	c.w.owned.Add(1)
	f.Then(func(_ R, err error) {
		defer c.w.owned.Done()
		cancel()
		c.w.truth.End(o, nil, err)
	})
	return f
}

// Tell is actor.Tell to an address. The judges know what becomes of it.
func Tell[M any](c *Caller, to string, m M, opts ...rpc.Option) error {
	ctx, cancel, o, opts := c.begin(simulation.Tell, to, opts)
	defer cancel()
	err := actor.Tell(ctx, c.life.Sys.Ref(to), m, opts...)
	c.w.truth.End(o, nil, err)
	return err
}

// begin draws a deadline and registers an operation.
func (c *Caller) begin(kind simulation.Kind, to string, opts []rpc.Option) (context.Context, context.CancelFunc, *simulation.Op, []rpc.Option) {
	var set sendopt.Settings[rpc.Retry]
	for i := range opts {
		(*sendopt.Option[rpc.Retry])(&opts[i]).Apply(&set)
	}
	if kind == simulation.Tell && set.Acked {
		kind = simulation.Acked
	}
	within := 30 * time.Second
	switch x := c.r.Float64(); {
	case x < 0.1:
		within = draw.Span(c.r, 10*time.Millisecond, 100*time.Millisecond)
	case x < 0.4:
		within = draw.Span(c.r, 100*time.Millisecond, 5*time.Second)
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	c.n++
	o := &simulation.Op{Kind: kind, From: c.home.Name(), To: to, Stream: c.stream, N: c.n, Due: c.w.truth.Now() + within,
		Twice: set.Idempotent, Anew: set.Hedge != 0 || set.Retry != nil}
	if set.Keyed {
		o.Key, o.Anew = set.Key+" "+to, true
	}
	c.ids++
	o.ID = uint64(c.no+1)<<32 | c.ids
	header := c.w.register(o)
	c.w.truth.Begin(o)
	return ctx, cancel, o, append(opts[:len(opts):len(opts)], rpc.WithHeader(opHeader, header))
}

// register has the judges know an operation by its header, which it returns. Operations under
// one key at one receiver have the id of the first.
func (w *World) register(o *simulation.Op) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	first, known := w.keys[o.Key]
	if known {
		o.ID = first
	} else if o.Key != "" {
		w.keys[o.Key] = o.ID
	}
	header := strconv.FormatUint(o.ID, 36)
	if !known {
		w.ops[header] = o
	}
	return header
}
