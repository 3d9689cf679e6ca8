// What the honest nodes of a siege do: their clients, and their actors.

package sim

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/draw"
	"github.com/tandem-go/tandem/internal/queuestore"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
)

// The messages of honest and hostile nodes. A Deal has the number of the handler's run that
// made it. Nobody can guess this number, so it shows whose Deal it is.
type (
	Deed struct {
		actor.Returns[Deal]
		ID     uint64
		Work   time.Duration
		Next   string // an actor that the handler calls in turn, and the id of that call
		NextID uint64
	}
	Deal struct{ ID, Run uint64 }
	Word struct { // one-way: the N-th of its line
		ID   uint64
		Line string
		N    int
	}
	Haul struct {
		actor.Streams[Deal]
		ID    uint64
		Count int
		Pace  time.Duration
	}
	Bring struct {
		actor.Collects[Deal, Deal]
		ID uint64
	}
	Crate struct {
		ID uint64
		On string // the queue that it entered
	}
)

// booth is an actor that all nodes may use, or only the honest ones.
type booth struct{ b *books }

func (k *booth) deed(ctx *actor.Context, m Deed) (Deal, error) {
	run := k.b.begins(ctx, m.ID)
	if m.Work > 0 {
		work(ctx, min(m.Work, time.Second), true)
	}
	if m.Next != "" && isHonest(ctx.Principal()) {
		o := owned{rpc.NodePrincipal(ctx.System().Name()), m.NextID}
		due, limited := ctx.Deadline()
		if !limited { // of a job
			due = time.Now().Add(actor.DefaultTimeout)
		}
		d, err := actor.Call(ctx, ctx.System().Ref(m.Next), Deed{ID: m.NextID})
		k.b.ends("a call in turn", o, d, err, due)
	}
	return Deal{m.ID, run}, nil
}

func (k *booth) word(ctx *actor.Context, m Word) error {
	k.b.follows(ctx, m)
	return nil
}

func (k *booth) haul(ctx *actor.Context, m Haul) (iter.Seq2[Deal, error], error) {
	run := k.b.begins(ctx, m.ID)
	return func(yield func(Deal, error) bool) {
		for n := range min(m.Count, 200) {
			work(ctx, min(m.Pace, time.Second), true)
			if !yield(Deal{uint64(n), run}, nil) {
				return
			}
		}
	}, nil
}

func (k *booth) bring(ctx *actor.Context, m Bring, in iter.Seq2[Deal, error]) (func() (Deal, error), error) {
	run := k.b.begins(ctx, m.ID)
	return func() (Deal, error) {
		for d, err := range in {
			if err != nil {
				return Deal{}, err
			}
			if isHonest(ctx.Principal()) && d.Run != m.ID {
				k.b.bad("an item of stream %d is in the one of %s", d.Run, ctx.Principal())
			}
		}
		return Deal{m.ID, run}, nil
	}, nil
}

// shelf returns the kind of a queue with the given name. Every crate notes in which queue it
// is.
func shelf(name string) *actor.Kind {
	return actor.StoredQueueKind[Crate]("sim.shelf", &watched{
		cfg: queue.Config{Capacity: 1 << 12},
		push: func(q queuestore.Queue, it queue.Item[any]) (bool, error) {
			c := it.Value.(Crate)
			c.On = name
			return q.Push(queue.Item[any]{Value: c})
		},
		done: func(queue.Stats) {},
	})
}

// spawn starts the actors of an honest node.
func (b *books) spawn(sys *actor.System) error {
	booths := actor.Define("sim.booth", func() *booth { return &booth{b} }, actor.Answer((*booth).deed), actor.Handle((*booth).word),
		actor.Produce((*booth).haul), actor.Collect((*booth).bring))
	for name, kind := range map[string]*actor.Kind{"till": booths, "vault": booths, "line": shelf("line"), "bin": shelf("bin")} {
		if _, err := sys.Spawn(name, kind); err != nil {
			return err
		}
	}
	return nil
}

// client is an honest goroutine of the application.
type client struct {
	w    *siege
	r    *rand.Rand
	no   uint64
	sys  *actor.System
	to   string // the node that it uses
	ids  uint64
	n    int
	line string
}

func (c *client) id() uint64 {
	c.ids++
	return c.no<<32 | c.ids
}

func (c *client) own(id uint64) owned { return owned{rpc.NodePrincipal(c.sys.Name()), id} }

// within draws a context for an operation, and returns when the operation ends at the latest.
func (c *client) within(may bool) (context.Context, context.CancelFunc, time.Time) {
	d := 30 * time.Second
	if may && draw.Chance(c.r, 0.1) {
		d = draw.Span(c.r, 0, 50*time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), d)
	return ctx, cancel, time.Now().Add(d)
}

// step does one operation.
func (c *client) step() {
	switch c.r.IntN(9) {
	case 0, 1:
		c.call()
	case 2:
		c.keyed()
	case 3:
		c.tell()
	case 4:
		c.job()
	case 5:
		c.haul()
	case 6:
		c.bring()
	case 7:
		c.queue()
	case 8:
		c.stranger()
	}
}

func (c *client) draw() (to string, m Deed) {
	m = Deed{ID: c.id(), Work: draw.Pick(c.r, 0, 0, draw.Span(c.r, 0, 50*time.Millisecond))}
	if draw.Chance(c.r, 0.3) {
		m.Next, m.NextID = draw.Pick(c.r, "till", "vault")+"@"+c.sys.Name(), c.id()
	}
	return draw.Pick(c.r, "till", "vault") + "@" + c.to, m
}

func (c *client) call() {
	to, m := c.draw()
	ctx, cancel, due := c.within(true)
	defer cancel()
	d, err := actor.Call(ctx, c.sys.Ref(to), m)
	c.w.books.ends("a call", c.own(m.ID), d, err, due)
}

// keyed sends a request twice under a key.
func (c *client) keyed() {
	to, m := c.draw()
	var both sync.WaitGroup
	for range 2 {
		ctx, cancel, due := c.within(false)
		both.Go(func() {
			defer cancel()
			d, err := actor.Call(ctx, c.sys.Ref(to), m, rpc.Key(fmt.Sprintf("key %d", m.ID)))
			c.w.books.ends("a call with a key", c.own(m.ID), d, err, due)
		})
	}
	both.Wait()
}

func (c *client) tell() {
	to := c.sys.Ref(draw.Pick(c.r, "till", "vault") + "@" + c.to)
	for range 1 + c.r.IntN(10) {
		m := Word{ID: c.id(), Line: c.line, N: c.n + 1}
		c.n++
		var opts []rpc.Option
		if draw.Chance(c.r, 0.2) {
			opts = append(opts, rpc.Acked())
		}
		if err := actor.Tell(context.Background(), to, m, opts...); err != nil {
			c.w.books.failed("a one-way message", c.own(m.ID), err)
		}
	}
}

func (c *client) job() {
	to, m := c.draw()
	ctx, cancel, due := c.within(false)
	defer cancel()
	token, err := actor.Submit(ctx, c.sys.Ref(to), m)
	if err != nil {
		c.w.books.ends("a submission", c.own(m.ID), Deal{}, err, due)
		return
	}
	_, id, _ := strings.Cut(token.String(), ":")
	c.w.known.token(id)
	d, err := token.Await(ctx)
	c.w.books.ends("a job", c.own(m.ID), d, err, due)
}

func (c *client) haul() {
	m := Haul{ID: c.id(), Count: c.r.IntN(40), Pace: draw.Pick(c.r, 0, 10*time.Millisecond)}
	ctx, cancel, due := c.within(false)
	defer cancel()
	n, o := 0, c.own(m.ID)
	for d, err := range actor.Stream(ctx, c.sys.Ref(draw.Pick(c.r, "till", "vault")+"@"+c.to), m) {
		if err != nil {
			c.w.books.ends("a stream", o, d, err, due)
			return
		}
		c.w.books.belongs("a stream", o, Deal{o.id, d.Run})
		if d.ID != uint64(n) {
			c.w.books.bad("item %d of a stream is %d", n, d.ID)
		}
		n++
	}
	if n != m.Count {
		c.w.books.bad("a stream of %d items has ended after %d", m.Count, n)
	}
}

func (c *client) bring() {
	m := Bring{ID: c.id()}
	ctx, cancel, due := c.within(false)
	defer cancel()
	up, err := actor.Open(ctx, c.sys.Ref(draw.Pick(c.r, "till", "vault")+"@"+c.to), m)
	for n := 0; err == nil && n < 30; n++ {
		err = up.Send(ctx, Deal{uint64(n), m.ID})
		if draw.Chance(c.r, 0.1) {
			time.Sleep(20 * time.Millisecond)
		}
	}
	var d Deal
	if err == nil {
		d, err = up.CloseAndReceive(ctx)
	}
	c.w.books.ends("an upload", c.own(m.ID), d, err, due)
}

// queue pushes, pulls and acks. What is in a queue that all may use can be pulled by anybody.
func (c *client) queue() {
	name := draw.Pick(c.r, "line", "bin")
	q := c.sys.Ref(name + "@" + c.to)
	ctx, cancel, _ := c.within(false)
	defer cancel()
	o := c.own(c.id())
	if err := actor.Push(ctx, q, Crate{ID: o.id}); err != nil {
		c.w.books.excused("a push", o, err)
	}
	got, err := actor.Pull[Crate](ctx, q, actor.Wait(0), actor.Max(1+c.r.IntN(3)))
	if err != nil {
		c.w.books.excused("a pull", o, err)
	}
	time.Sleep(draw.Span(c.r, 0, 100*time.Millisecond))
	for _, d := range got {
		if d.Message.On != name {
			c.w.books.bad("%v is in %s", d.Message, name)
		}
		if err := d.Ack(ctx); err != nil {
			c.w.books.excused("an ack", o, err)
		}
	}
}

// stranger sends a request to a hostile node, which may answer anything, in time or not.
func (c *client) stranger() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	due := time.Now().Add(time.Second)
	_, _ = actor.Call(ctx, c.sys.Ref("till@"+draw.Pick(c.r, hostiles...)), Deed{ID: c.id()})
	if late := time.Since(due); late > time.Second {
		c.w.books.bad("a call of a stranger ended %v late", late)
	}
}
