package sim

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/transport"
)

// What honest nodes and hostile ones send each other. A Deal bears the number of the run of
// a handler that made it: nobody can guess it, so it shows whose it is.
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

// owned is an operation of one principal. Whoever repeats another one's has its own.
type owned struct {
	principal string
	id        uint64
}

// feat is one run of a handler.
type feat struct {
	owned
	on string
}

// books is the truth about a run with hostile peers.
type books struct {
	start     time.Time
	cheat     string // what is recorded wrongly, on purpose
	talks     bool   // there is to be a transcript
	impostors bool   // on the bus, somebody may answer for another node

	mu       sync.Mutex // guards what follows
	r        *rand.Rand
	runs     map[uint64]feat
	counts   map[owned]int
	requests map[string]owned // by the session and number, or the key, at its node
	grants   map[string]bool  // all that were given out, in hex
	lines    map[string]int   // the latest N, by principal, actor and line
	never    map[owned]error  // those that are said never to run
	script   []string
	wrong    []string
	calls    int            // of honest principals
	served   map[string]int // runs, by principal
	refused  int            // honest calls for which there was no room
	heard    int            // envelopes that came to hostile peers
	over     bool           // the honest nodes are through
}

func newBooks(r *rand.Rand) *books {
	return &books{start: time.Now(), r: r, runs: map[uint64]feat{}, counts: map[owned]int{}, requests: map[string]owned{}, grants: map[string]bool{},
		lines: map[string]int{}, never: map[owned]error{}, served: map[string]int{}}
}

// maxWrong bounds what is kept of one run: the first says most.
const maxWrong = 20

func (b *books) bad(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.badLocked(format, args...)
}

func (b *books) badLocked(format string, args ...any) {
	if len(b.wrong) < maxWrong {
		b.wrong = append(b.wrong, fmt.Sprintf("%v: ", time.Since(b.start))+fmt.Sprintf(format, args...))
	}
}

func (b *books) note(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.script = append(b.script, fmt.Sprintf("%12v ", time.Since(b.start))+fmt.Sprintf(format, args...))
}

// isHonest reports whether a principal is one of the honest nodes.
func isHonest(principal string) bool {
	return principal == rpc.NodePrincipal("ann") || principal == rpc.NodePrincipal("shop")
}

// begins notes that a handler begins, and returns the number of the run.
func (b *books) begins(ctx *actor.Context, id uint64) uint64 {
	o := owned{ctx.Principal(), id}
	at := ctx.Self().Name()
	request, _, err := actor.Completion(ctx, Deal{})
	if b.talks {
		b.note("%s runs %d of %s as request %s", ctx.Self(), id, ctx.Principal(), request)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent(ctx)
	if err != nil {
		b.badLocked("the name of %v: %v", o, err)
	}
	// One-way messages have no name of their own: theirs is the session's.
	if grant, told := strings.CutSuffix(request, strings.Repeat("0", 16)); !told || !b.grants[grant] {
		request += " at " + ctx.System().Name() // each node has keys of its own
		if was, known := b.requests[request]; known {
			b.badLocked("request %s of %v runs twice, first as %v", request, o, was)
		}
		b.requests[request] = o
	}
	b.entered(o, at)
	n := b.r.Uint64() >> 2
	if b.cheat == "the number of a run is another one's" && isHonest(o.principal) {
		for other := range b.runs {
			return other
		}
	}
	b.runs[n] = feat{o, at}
	return n
}

// gave notes that a grant is given out.
func (b *books) gave(g transport.Grant) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.grants[hex.EncodeToString(g[:])] = true
}

// sent checks that an actor that is named as the sender is one of the sender's node. b.mu is
// held.
func (b *books) sent(ctx *actor.Context) {
	if s := ctx.Sender(); !s.IsZero() && rpc.NodePrincipal(s.Node()) != ctx.Principal() {
		b.badLocked("a message of %s says that it is from %v", ctx.Principal(), s)
	}
}

// entered checks that one of o may run. b.mu is held.
func (b *books) entered(o owned, at string) {
	if b.counts[o]++; b.cheat == "each runs twice" {
		b.counts[o]++
	}
	b.served[o.principal]++
	if closed(at) && !isHonest(o.principal) {
		b.badLocked("%s has served %s", at, o.principal)
	}
	if !isHonest(o.principal) {
		return
	}
	if b.counts[o] > 1 {
		b.badLocked("%v has run %d times", o, b.counts[o])
	}
	if err := b.never[o]; err != nil {
		b.badLocked("%v runs, and it was said that it never would: %v", o, err)
	}
}

// closed reports whether none but the honest may use an actor.
func closed(name string) bool { return name == "vault" || name == "line" }

// follows checks that a one-way message comes after those before it.
func (b *books) follows(ctx *actor.Context, m Word) {
	o := owned{ctx.Principal(), m.ID}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent(ctx)
	b.entered(o, ctx.Self().Name())
	line := o.principal + " " + ctx.Self().String() + " " + m.Line
	if last := b.lines[line]; isHonest(o.principal) && m.N <= last {
		b.badLocked("one-way message %d of %s comes after %d", m.N, line, last)
	}
	b.lines[line] = m.N
}

// ends checks what the caller of o was told, whose operation was to end by due.
func (b *books) ends(what string, o owned, d Deal, err error, due time.Time) {
	if late := time.Since(due); late > time.Second {
		b.bad("%s %v ended %v late", what, o, late)
	}
	if err == nil {
		b.belongs(what, o, d)
	} else {
		b.failed(what, o, err)
	}
}

// belongs checks that d is the answer to o.
func (b *books) belongs(what string, o owned, d Deal) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	if b.cheat == "answers are crossed" {
		d.ID++
	}
	if run, ran := b.runs[d.Run]; !ran || run.owned != o || d.ID != o.id {
		b.badLocked("%s: %v got the answer %v of %v", what, o, d, run)
	}
}

// failed checks an error of o's.
func (b *books) failed(what string, o owned, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	ran := b.counts[o]
	switch verdict := rpc.Ran(err); {
	case verdict == rpc.NotRun && ran > 0 && !strings.Contains(what, "key"):
		b.badLocked("%s: %v is said not to have run, and has: %v", what, o, err)
	case verdict == rpc.HasRun && ran == 0:
		b.badLocked("%s: %v is said to have run, and has not: %v", what, o, err)
	case verdict == rpc.NotRun && !strings.Contains(what, "key"): // whose other attempt may run
		b.never[o] = err
	}
	b.excusedLocked(what, o, err)
}

// excused checks that an error is none that another principal can bring about.
func (b *books) excused(what string, o owned, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.excusedLocked(what, o, err)
}

func (b *books) excusedLocked(what string, o owned, err error) {
	switch rpc.CodeOf(err) {
	case rpc.Canceled, rpc.Expired: // as it was asked to
	case rpc.Overloaded:
		b.refused++
	case rpc.Denied: // where somebody else may answer in the node's name, and is found out
		if !b.impostors || !errors.Is(err, transport.ErrIdentity) {
			b.badLocked("%s: %v was denied: %v", what, o, err)
		}
	default:
		b.badLocked("%s: %v was ended: %v", what, o, err)
	}
}

// sees checks that what a hostile peer gets was made for it.
func (b *books) sees(principal, what string, d Deal) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if run, ran := b.runs[d.Run]; !ran || run.principal != principal {
		b.badLocked("%s got a %s with what belongs to %v", principal, what, run)
	}
}

// booth is an actor that all may use, or only the honest.
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

// shelf is a queue.
type shelf struct{ o *actor.Offer[Crate] }

func (s *shelf) put(ctx *actor.Context, m actor.Enqueue[Crate]) (actor.Enqueued, error) {
	m.Item.On = ctx.Self().Name()
	err := s.o.Push(ctx, m.Item)
	if rpc.CodeOf(err) == rpc.Overloaded {
		_ = actor.Defer[actor.Enqueued](ctx).Refuse(rpc.Overloaded, err)
	}
	return actor.Enqueued{}, nil
}

func (s *shelf) take(ctx *actor.Context, m actor.Dequeue[Crate]) (actor.Dequeued[Crate], error) {
	return s.o.Answer(ctx, m)
}

func (s *shelf) manage(ctx *actor.Context, m actor.Oversee[Crate]) (actor.Dequeued[Crate], error) {
	return s.o.Oversee(ctx, m)
}

// spawn starts the actors of an honest node.
func (b *books) spawn(sys *actor.System) error {
	booths := actor.Define("sim.booth", func() *booth { return &booth{b} }, actor.Answer((*booth).deed), actor.Handle((*booth).word),
		actor.Produce((*booth).haul), actor.Collect((*booth).bring))
	shelves := actor.Define("sim.shelf", func() *shelf { return &shelf{actor.NewOffer[Crate](queue.Config{Capacity: 1 << 12})} },
		actor.Answer((*shelf).put), actor.Answer((*shelf).take), actor.Answer((*shelf).manage))
	for name, kind := range map[string]*actor.Kind{"till": booths, "vault": booths, "line": shelves, "bin": shelves} {
		if _, err := sys.Spawn(name, kind); err != nil {
			return err
		}
	}
	return nil
}

var packs = codec.Msgpack(codec.Limits{})

// pack encodes what is known to be good.
func pack(v any) []byte {
	b, err := packs.Append(nil, v)
	if err != nil {
		panic(err)
	}
	return b
}

// unbatch reads the items of a stream's batch.
func unbatch(b []byte) (all []Deal) {
	for len(b) > 0 {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return all
		}
		var d Deal
		if packs.Decode(b[size:size+int(n)], &d) == nil {
			all = append(all, d)
		}
		b = b[size+int(n):]
	}
	return all
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

// within draws a context for an operation, and when it ends at the latest.
func (c *client) within(may bool) (context.Context, context.CancelFunc, time.Time) {
	d := 30 * time.Second
	if may && chance(c.r, 0.1) {
		d = span(c.r, 0, 50*time.Millisecond)
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
	m = Deed{ID: c.id(), Work: pick(c.r, 0, 0, span(c.r, 0, 50*time.Millisecond))}
	if chance(c.r, 0.3) {
		m.Next, m.NextID = pick(c.r, "till", "vault")+"@"+c.sys.Name(), c.id()
	}
	return pick(c.r, "till", "vault") + "@" + c.to, m
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
	to := c.sys.Ref(pick(c.r, "till", "vault") + "@" + c.to)
	for range 1 + c.r.IntN(10) {
		m := Word{ID: c.id(), Line: c.line, N: c.n + 1}
		c.n++
		var opts []rpc.Option
		if chance(c.r, 0.2) {
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
	m := Haul{ID: c.id(), Count: c.r.IntN(40), Pace: pick(c.r, 0, 10*time.Millisecond)}
	ctx, cancel, due := c.within(false)
	defer cancel()
	n, o := 0, c.own(m.ID)
	for d, err := range actor.Stream(ctx, c.sys.Ref(pick(c.r, "till", "vault")+"@"+c.to), m) {
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
	up, err := actor.Open(ctx, c.sys.Ref(pick(c.r, "till", "vault")+"@"+c.to), m)
	for n := 0; err == nil && n < 30; n++ {
		err = up.Send(ctx, Deal{uint64(n), m.ID})
		if chance(c.r, 0.1) {
			time.Sleep(20 * time.Millisecond)
		}
	}
	var d Deal
	if err == nil {
		d, err = up.CloseAndReceive(ctx)
	}
	c.w.books.ends("an upload", c.own(m.ID), d, err, due)
}

// queue pushes, pulls and acks. What is in a queue that all may use anybody may get.
func (c *client) queue() {
	name := pick(c.r, "line", "bin")
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
	time.Sleep(span(c.r, 0, 100*time.Millisecond))
	for _, d := range got {
		if d.Message.On != name {
			c.w.books.bad("%v is in %s", d.Message, name)
		}
		if err := d.Ack(ctx); err != nil {
			c.w.books.excused("an ack", o, err)
		}
	}
}

// stranger asks a hostile node, which may answer with what it likes, in time or not.
func (c *client) stranger() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	due := time.Now().Add(time.Second)
	_, _ = actor.Call(ctx, c.sys.Ref("till@"+pick(c.r, hostiles...)), Deed{ID: c.id()})
	if late := time.Since(due); late > time.Second {
		c.w.books.bad("a call of a stranger ended %v late", late)
	}
}
