package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/draw"
	"github.com/tandem-go/tandem/internal/simulation"
	"github.com/tandem-go/tandem/rpc"
)

// caller is a goroutine of the application. It lives on one node, and continues on the node's
// next start when one has ended.
type caller struct {
	w    *world
	r    *rand.Rand
	no   int
	home *simulation.Node
	do   func(*caller) // one step
	ids  uint64

	life   *simulation.Life
	stream string // of this caller on this life
	n      int
}

func (w *world) newCaller(i int) *caller {
	return &caller{w: w, r: w.RNG(fmt.Sprintf("caller %d", i)), no: i, home: w.Nodes[i%len(w.Nodes)], do: (*caller).step}
}

// run does the plan's operations, or as many as there is time for.
func (c *caller) run() {
	end := c.w.truth.Start.Add(c.w.plan.Length)
	for range c.w.plan.Ops {
		pause := time.Duration(c.r.ExpFloat64() * float64(c.w.plan.Pace))
		if c.w.plan.Idle && draw.Chance(c.r, 0.03) {
			pause = c.w.plan.Lease + draw.Span(c.r, 0, 10*time.Second)
		}
		time.Sleep(min(pause, time.Until(end)))
		if !time.Now().Before(end) {
			return
		}
		l := c.home.Live()
		if l == nil {
			time.Sleep(time.Second)
			continue
		}
		if l != c.life {
			c.life, c.n = l, 0
			c.stream = fmt.Sprintf("c%d.%d", c.no, l.No)
		}
		c.do(c)
	}
}

// step does one operation, or a burst of them.
func (c *caller) step() {
	target := c.w.Nodes[c.r.IntN(len(c.w.Nodes))]
	if target == c.home && draw.Chance(c.r, 0.7) {
		target = c.w.Nodes[(c.r.IntN(len(c.w.Nodes)-1)+1+c.no%len(c.w.Nodes))%len(c.w.Nodes)]
	}
	name := draw.Pick(c.r, "quick", "quick", "quick", "small", "picky", "fresh", "stale", "slow0", "slow1")
	to := name + "@" + target.Name
	if name == "quick" && draw.Chance(c.r, 0.2) {
		to = crew
	}
	if draw.Chance(c.r, c.w.plan.Keys) {
		c.keyed()
		return
	}
	switch x := c.r.Float64(); {
	case x < 0.35:
		c.call(to, c.request(name))
	case x < 0.55:
		c.ask(to, c.request(name))
	case x < 0.72:
		c.tell(to, false)
	case x < 0.82:
		c.tell(to, true)
	case x < 0.92:
		m := c.request("quick")
		next := c.w.Nodes[c.r.IntN(len(c.w.Nodes))]
		m.Next, m.NextID = draw.Pick(c.r, "quick", "small", "slow0")+"@"+next.Name, c.id()
		m.Within = draw.Pick(c.r, 0, 0, draw.Span(c.r, 0, time.Second))
		c.call("relay@"+target.Name, m)
	case x < 0.922: // as many as earn a direct link
		for range 250 {
			c.tell("quick@"+target.Name, false)
		}
	default:
		for range 5 + c.r.IntN(30) {
			if draw.Chance(c.r, 0.3) {
				c.tell(to, false)
			} else {
				c.ask(to, c.request(name))
			}
		}
	}
}

func (c *caller) id() uint64 {
	c.ids++
	return uint64(c.no+1)<<32 | c.ids
}

// request draws a request for an actor.
func (c *caller) request(name string) Op {
	m := Op{ID: c.id(), Heed: draw.Chance(c.r, 0.3), Pad: draw.Pick(c.r, 0, 0, 0, 100, 300)}
	long := name == "slow0" || name == "slow1"
	switch x := c.r.Float64(); {
	case x < 0.3:
		m.Work = draw.Span(c.r, 0, 50*time.Millisecond)
	case long && x < 0.6:
		m.Work = draw.Span(c.r, 0, 2*time.Second)
	case long && x < 0.7:
		m.Work = draw.Span(c.r, 2*time.Second, 30*time.Second)
	}
	if x := c.r.Float64(); x < 0.02 {
		m.End = 2
	} else if x < 0.06 {
		m.End = 1
	}
	return m
}

// within draws a context for an operation, and returns when the operation ends at the latest.
func (c *caller) within(cancels bool) (context.Context, context.CancelFunc, time.Duration) {
	ctx, cancel := context.Background(), context.CancelFunc(func() {})
	due := 30 * time.Second
	switch x := c.r.Float64(); {
	case x < 0.1:
		due = draw.Span(c.r, 0, 20*time.Millisecond)
	case x < 0.3:
		due = draw.Span(c.r, 20*time.Millisecond, 2*time.Second)
	case x < 0.6:
		due = draw.Span(c.r, 2*time.Second, 40*time.Second)
	}
	if due != 30*time.Second {
		ctx, cancel = context.WithTimeout(ctx, due)
	}
	if cancels {
		early := draw.Span(c.r, 0, min(due, draw.Pick(c.r, 5*time.Millisecond, 3*time.Second)))
		var stop context.CancelFunc
		ctx, stop = context.WithCancel(ctx)
		t := time.AfterFunc(early, stop)
		outer := cancel
		cancel = func() { t.Stop(); stop(); outer() }
		due = early
	}
	return ctx, cancel, c.w.truth.Now() + due
}

// next makes the operation that comes next in this caller's stream.
func (c *caller) next(k simulation.Kind, id uint64, to string, due time.Duration) *simulation.Op {
	c.n++
	o := &simulation.Op{ID: id, Kind: k, From: c.home.Name, To: to, Stream: c.stream, N: c.n, Due: due}
	return o
}

// options draws the options of a request, and notes what they change.
func (c *caller) options(o *simulation.Op) (opts []rpc.Option) {
	p := c.w.plan
	if draw.Chance(c.r, p.Hedges) {
		o.Anew = true
		opts = append(opts, rpc.Hedge(draw.Pick(c.r, 5*time.Millisecond, 100*time.Millisecond, time.Second)))
	}
	if draw.Chance(c.r, p.Twice) {
		o.Twice = true
		opts = append(opts, rpc.Idempotent())
	}
	if draw.Chance(c.r, p.Own) {
		retry := rpc.Retry{Attempts: 1 + c.r.IntN(6), MinPause: draw.Pick(c.r, 0, time.Second)}
		o.Anew = true
		opts = append(opts, rpc.WithRetry(retry))
	}
	return opts
}

// ref returns the receiver of a request: an actor, or the service.
func (c *caller) ref(to string) actor.Ref {
	if to == crew {
		return c.life.Sys.Service(crew)
	}
	return c.life.Sys.Ref(to)
}

func (c *caller) call(to string, m Op) {
	ctx, cancel, due := c.within(draw.Chance(c.r, 0.1))
	defer cancel()
	o, m, opts := c.prepare(simulation.Call, to, m, due)
	done, err := actor.Call(ctx, c.ref(to), m, opts...)
	c.end(o, done, err)
}

func (c *caller) ask(to string, m Op) {
	ctx, cancel, due := c.within(draw.Chance(c.r, 0.3))
	o, m, opts := c.prepare(simulation.Ask, to, m, due)
	f := actor.Ask(ctx, c.ref(to), m, opts...)
	c.w.callers.Go(func() {
		defer cancel()
		done, err := f.Await(context.Background())
		c.end(o, done, err)
	})
}

// prepare makes an operation of a request.
func (c *caller) prepare(k simulation.Kind, to string, m Op, due time.Duration) (*simulation.Op, Op, []rpc.Option) {
	o := c.next(k, m.ID, to, due)
	opts := c.options(o)
	if m.Key != "" { // the message is the same whoever sends it
		o.Key, o.Rivals = m.Key, m.Rivals
		opts = append(opts, rpc.Key(m.Key))
	} else if m.Async, m.Twice = k == simulation.Ask, o.Twice; !o.Anew {
		m.Stream, m.N = o.Stream, o.N
	}
	c.w.truth.Begin(o)
	return o, m, opts
}

func (c *caller) tell(to string, safely bool) {
	ctx, cancel, due := c.within(safely && draw.Chance(c.r, 0.1))
	defer cancel()
	k, opts := simulation.Tell, []rpc.Option(nil)
	if safely {
		k, opts = simulation.Acked, []rpc.Option{rpc.Acked()}
	}
	o := c.next(k, c.id(), to, due)
	c.w.truth.Begin(o)
	work := draw.Pick(c.r, 0, 0, 0, draw.Span(c.r, 0, 50*time.Millisecond))
	err := actor.Tell(ctx, c.ref(to), Note{ID: o.ID, Stream: o.Stream, N: o.N, Acked: safely, Work: work}, opts...)
	c.end(o, Done{}, err)
}

// end notes what the caller learns of an operation's end.
func (c *caller) end(o *simulation.Op, reply Done, err error) {
	if c.w.cheat.late != nil {
		c.w.cheat.late(o)
	}
	if c.w.cheat.caller != nil {
		reply, err = c.w.cheat.caller(o, reply, err)
	}
	c.w.truth.End(o, reply.reply(), err)
}
