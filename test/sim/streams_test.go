package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/draw"
	"github.com/tandem-go/tandem/rpc"
)

// Flow is answered with a stream, Load receives a stream, and Chat sends back what it receives.
// Their ID is the ground truth.
type (
	Flow struct {
		actor.Streams[Drop]
		ID    uint64
		Count int
		Pace  time.Duration
		Pad   int
		End   int // 0: properly; 1: an error; 2: a panic
	}
	Load struct {
		actor.Collects[Drop, Tally]
		ID   uint64
		Pace time.Duration
	}
	Chat struct {
		actor.Converses[Drop, Drop]
		ID uint64
	}
)

// Drop is an item of a stream, Tally the result of a Load.
type (
	Drop struct {
		ID  uint64
		N   int
		Pad []byte
	}
	Tally struct {
		ID    uint64
		Count int
	}
)

type tap struct{ w *world }

func (w *world) tapKind() *actor.Kind {
	return actor.Define("sim.tap", func() *tap { return &tap{w} },
		actor.Produce((*tap).flow), actor.Collect((*tap).load), actor.Converse((*tap).chat))
}

func (p *tap) flow(ctx *actor.Context, m Flow) (iter.Seq2[Drop, error], error) {
	f := p.w.streams.opens(p.w, m.ID)
	return func(yield func(Drop, error) bool) {
		defer p.w.streams.closes(p.w, f)
		for n := range m.Count {
			work(ctx, m.Pace, true)
			at := n
			if p.w.cheats("an item is doubled") && n == 2 {
				at = 1
			}
			if !yield(Drop{m.ID, at, make([]byte, m.Pad)}, nil) {
				return
			}
			p.w.streams.yielded(p.w, f, m.Pad)
		}
		switch m.End {
		case 1:
			yield(Drop{}, errAsked)
			return
		case 2:
			panic("a panic was asked for")
		}
		p.w.streams.done(f)
	}, nil
}

func (p *tap) load(ctx *actor.Context, m Load, in iter.Seq2[Drop, error]) (func() (Tally, error), error) {
	f := p.w.streams.opens(p.w, m.ID)
	return func() (Tally, error) {
		defer p.w.streams.closes(p.w, f)
		n := 0
		for d, err := range in {
			if err != nil {
				return Tally{}, err
			}
			p.w.streams.follows(p.w, "the collector of", m.ID, d, n)
			n++
			work(ctx, m.Pace, true)
		}
		p.w.streams.whole(p.w, f, n)
		return Tally{m.ID, n}, nil
	}, nil
}

func (p *tap) chat(ctx *actor.Context, m Chat, in iter.Seq2[Drop, error]) (iter.Seq2[Drop, error], error) {
	f := p.w.streams.opens(p.w, m.ID)
	return func(yield func(Drop, error) bool) {
		defer p.w.streams.closes(p.w, f)
		n := 0
		for d, err := range in {
			if err != nil {
				yield(d, err)
				return
			}
			p.w.streams.follows(p.w, "the other side of", m.ID, d, n)
			n++
			if !yield(d, nil) {
				return
			}
		}
		p.w.streams.whole(p.w, f, n)
		p.w.streams.done(f)
	}, nil
}

// flow is what is known of a stream.
type flow struct {
	id     uint64
	runs   int
	out    int           // items that its producer is rid of
	in     int           // items that its reader has taken
	remote bool          // the reader is on another node
	sent   int           // items sent to it
	closed bool          // the sender has said that it was all
	whole  bool          // the producer came to its end
	left   time.Duration // when its reader was through; 0: not yet
	over   bool          // the producer has returned
	ended  time.Duration // then: when
	never  error         // it was said never to be opened
}

// streamsTruth knows what became of streams.
type streamsTruth struct {
	mu  sync.Mutex // guards what follows
	all map[uint64]*flow
}

func (t *streamsTruth) of(id uint64) *flow {
	if t.all == nil {
		t.all = map[uint64]*flow{}
	}
	if t.all[id] == nil {
		t.all[id] = &flow{id: id}
	}
	return t.all[id]
}

func (t *streamsTruth) opens(w *world, id uint64) *flow {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.of(id)
	if f.runs++; f.runs > 1 || w.cheats("a stream is opened twice") {
		w.truth.Bad("stream %x was opened %d times", id, f.runs)
	}
	w.truth.Note("  stream %x is open", id)
	return f
}

func (t *streamsTruth) closes(w *world, f *flow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w.cheats("a producer goes on") {
		return
	}
	f.over, f.ended = true, w.truth.Now()
	w.truth.Note("  stream %x is over at its producer", f.id)
}

func (t *streamsTruth) done(f *flow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.whole = true
}

// ahead is how many items a producer may be ahead of its reader: two batches in flight, one
// that is being gathered, and one that is being read.
func ahead(pad int) int { return 4*((64<<10)/max(pad, 64)+1) + 2 }

func (t *streamsTruth) yielded(w *world, f *flow, pad int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.out++
	most := ahead(pad)
	if w.cheats("a producer runs ahead") {
		most = 2
	}
	if f.remote && f.out > f.in+most {
		w.truth.Bad("stream %x is %d items before its reader, and may be %d", f.id, f.out-f.in, most)
	}
}

// follows checks that an item is the next one of its stream.
func (t *streamsTruth) follows(w *world, who string, id uint64, d Drop, n int) {
	if d.ID != id || d.N != n {
		w.truth.Bad("%s stream %x got item %d of %x, and wanted %d", who, id, d.N, d.ID, n)
	}
}

// whole checks that a reader that was told the end of a stream has got all of it.
func (t *streamsTruth) whole(w *world, f *flow, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w.cheats("the end of an upload comes early") {
		n--
	}
	if !f.closed || n != f.sent {
		w.truth.Bad("stream %x came to its end after %d items, and its sender had sent %d (and closed it: %v)", f.id, n, f.sent, f.closed)
	}
}

// leaves notes that a reader is done, with an error or not.
func (t *streamsTruth) leaves(w *world, f *flow, opened bool, err error) {
	w.typed(fmt.Sprintf("stream %x", f.id), err)
	w.truth.Note("  stream %x is over at its reader: %v", f.id, err)
	t.mu.Lock()
	defer t.mu.Unlock()
	f.left = w.truth.Now()
	switch verdict := rpc.Ran(err); {
	case w.cheats("a stream is called refused") && err != nil, err != nil && !opened && verdict == rpc.NotRun:
		f.never = err
	case err != nil && (opened || verdict == rpc.HasRun) && f.runs == 0:
		w.truth.Bad("stream %x was opened by nobody, and is said to have run: %v", f.id, err)
	case err != nil && opened && verdict != rpc.HasRun:
		w.truth.Bad("stream %x was open, and ended with a verdict of %v: %v", f.id, verdict, err)
	}
}

// stream opens one of the three.
func (u *user) stream() {
	to := u.target()
	v := &user{w: u.w, r: u.w.RNG(fmt.Sprintf("stream %x", u.id())), no: u.no, ids: u.ids, home: u.home, life: u.life}
	id := v.no<<32 | v.ids
	t := &u.w.streams
	t.mu.Lock()
	f := t.of(id)
	f.remote = to != u.home
	t.mu.Unlock()
	use := draw.Pick(u.r, (*user).read, (*user).read, (*user).upload, (*user).talk)
	u.w.callers.Go(func() { use(v, f, v.life.Sys.Ref("tap@"+to.Name)) })
}

// read reads a stream, slowly or not, to its end or not.
func (u *user) read(f *flow, ref actor.Ref) {
	m := Flow{ID: f.id, Count: u.r.IntN(100), Pace: draw.Pick(u.r, 0, draw.Span(u.r, 0, 100*time.Millisecond)), Pad: draw.Pick(u.r, 0, 100, 8<<10), End: draw.Pick(u.r, 0, 0, 0, 1, 2)}
	slow := draw.Pick(u.r, 0, 0, draw.Span(u.r, 0, 300*time.Millisecond))
	until := draw.Pick(u.r, -1, -1, u.r.IntN(m.Count+1))
	ctx, stop := u.open()
	var due time.Duration
	if draw.Chance(u.r, 0.3) {
		ctx2, cancel, at := u.brief(0, 20*time.Second)
		defer cancel()
		ctx, due = ctx2, at
	}
	n, ended := 0, false
	var last error
	for d, err := range actor.Stream(ctx, ref, m) {
		if ended {
			u.w.truth.Bad("stream %x went on after its end", f.id)
		}
		if last = err; err != nil {
			ended = true
			continue
		}
		if u.w.cheats("an item is left out") && n == 1 {
			d.N++
		}
		u.w.streams.follows(u.w, "the reader of", f.id, d, n)
		n++
		u.w.streams.mu.Lock()
		f.in = n
		u.w.streams.mu.Unlock()
		if n == until {
			break
		}
		time.Sleep(slow)
	}
	if u.w.cheats("a stream hangs") && due == 0 {
		<-ctx.Done()
	}
	if !stop() {
		u.w.truth.Bad("stream %x did not end for %v after the last fault", f.id, patience)
	}
	if due > 0 {
		u.w.inTime(fmt.Sprintf("stream %x", f.id), due+slow)
	}
	if u.w.cheats("a cut stream is called ended") {
		last = nil
	}
	u.w.streams.leaves(u.w, f, n > 0, last)
	u.w.streams.mu.Lock()
	defer u.w.streams.mu.Unlock()
	if last == nil && n != until && (n != m.Count || !f.whole) {
		u.w.truth.Bad("stream %x came to its end after %d items of %d", f.id, n, m.Count)
	}
}

// upload sends a stream.
func (u *user) upload(f *flow, ref actor.Ref) {
	ctx, cancel, due := u.brief(10*time.Millisecond, 20*time.Second)
	defer cancel()
	up, err := actor.Open(ctx, ref, Load{ID: f.id, Pace: draw.Pick(u.r, 0, draw.Span(u.r, 0, 50*time.Millisecond))})
	if err != nil {
		u.w.inTime("the opening of a stream", due)
		u.w.streams.leaves(u.w, f, false, err)
		return
	}
	if err := u.send(f, u.r.IntN(100), func(d Drop) error { return up.Send(ctx, d) }); err != nil || draw.Chance(u.r, 0.2) {
		up.Cancel()
		if errors.Is(err, actor.ErrStreamOver) || rpc.Ran(err) == rpc.NotRun { // why, its result says; or that of the item alone
			err = nil
		}
		u.w.streams.leaves(u.w, f, true, err)
		return
	}
	u.w.streams.mu.Lock()
	f.closed = true
	u.w.streams.mu.Unlock()
	tally, err := up.CloseAndReceive(ctx)
	u.w.inTime(fmt.Sprintf("stream %x", f.id), due)
	u.w.streams.leaves(u.w, f, true, err)
	if u.w.cheats("a tally is another one") {
		tally.ID++
	}
	if err == nil && (tally.ID != f.id || tally.Count != f.sent) {
		u.w.truth.Bad("stream %x, of %d items, was answered with %+v", f.id, f.sent, tally)
	}
}

func (u *user) send(f *flow, n int, send func(Drop) error) error {
	pace, pad := draw.Pick(u.r, 0, 0, draw.Span(u.r, 0, 50*time.Millisecond)), draw.Pick(u.r, 0, 100, 8<<10)
	for i := range n {
		if err := send(Drop{f.id, i, make([]byte, pad)}); err != nil {
			return err
		}
		u.w.streams.mu.Lock()
		f.sent++
		u.w.streams.mu.Unlock()
		time.Sleep(pace)
	}
	return nil
}

// talk sends and reads at the same time.
func (u *user) talk(f *flow, ref actor.Ref) {
	ctx, cancel, due := u.brief(10*time.Millisecond, 20*time.Second)
	defer cancel()
	d, err := actor.Talk(ctx, ref, Chat{ID: f.id})
	if err != nil {
		u.w.inTime("the opening of a stream", due)
		u.w.streams.leaves(u.w, f, false, err)
		return
	}
	var sender sync.WaitGroup
	count, until := u.r.IntN(100), -1
	if draw.Chance(u.r, 0.3) {
		until = u.r.IntN(count + 1)
	}
	v := &user{w: u.w, r: u.w.RNG(fmt.Sprintf("sender %x", f.id))}
	sender.Go(func() {
		if v.send(f, count, func(x Drop) error { return d.Send(ctx, x) }) == nil {
			u.w.streams.mu.Lock()
			f.closed = true
			u.w.streams.mu.Unlock()
			_ = d.CloseSend(ctx)
		}
	})
	n, last := 0, io.EOF
	for x, err := range d.Items() {
		if last = err; err != nil {
			break
		}
		last = io.EOF
		u.w.streams.follows(u.w, "the caller of", f.id, x, n)
		if n++; n == until {
			break
		}
	}
	u.w.inTime(fmt.Sprintf("stream %x", f.id), due)
	sender.Wait()
	if last == io.EOF {
		last = nil
	}
	u.w.streams.leaves(u.w, f, true, last)
	u.w.streams.mu.Lock()
	defer u.w.streams.mu.Unlock()
	if last == nil && n != until && (n != count || !f.whole) {
		u.w.truth.Bad("stream %x came to its end after %d items of %d", f.id, n, count)
	}
}

// leave checks, on a network without faults, that a stream's producer ends soon after the
// stream was left.
func (w *world) leave() {
	if !w.plan.Patterns.Streams || w.plan.MaxSessions > 0 {
		return
	}
	for i, to := range w.Nodes {
		u := w.newUser(70 + i)
		u.home = w.Nodes[(i+1)%len(w.Nodes)]
		u.life = u.home.Live()
		id := u.id()
		for _, err := range actor.Stream(context.Background(), u.life.Sys.Ref("tap@"+to.Name), Flow{ID: id, Count: 1 << 20, Pace: 10 * time.Millisecond}) {
			if err != nil {
				w.truth.Bad("a stream of %s, after the last fault: %v", to.Name, err)
			}
			break
		}
		time.Sleep(5 * time.Second)
		w.streams.mu.Lock()
		if f := w.streams.of(id); f.runs > 0 && !f.over {
			w.truth.Bad("stream %x was left, and its producer goes on", id)
		}
		w.streams.mu.Unlock()
	}
}

func (t *streamsTruth) judge(w *world) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, f := range t.all {
		switch {
		case f.runs > 0 && !f.over:
			w.truth.Bad("the producer of stream %x never ended", id)
		case f.runs > 0 && f.never != nil:
			w.truth.Bad("stream %x was opened, and said never to be: %v", id, f.never)
		}
	}
}
