package linear

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
)

var (
	seeds = flag.Int("linear.seeds", 100, "how many histories to check")
	from  = flag.Uint64("linear.from", 1, "the seed of the first of them")
	seed  = flag.Uint64("linear.seed", 0, "check this seed alone")
	tries = flag.Int("linear.tries", 1, "run every seed so many times, or until it fails")
)

// checkLimit bounds the check of one history, in real time.
const checkLimit = time.Minute

// caller is a goroutine of the application on one node.
type caller struct {
	w    *world
	no   int
	r    *rand.Rand
	home *node
	n    uint64
	seen map[string]uint64 // what the register of that key held, the last time that the caller knew
}

// run does operations on registers while there are faults.
func (c *caller) run() {
	for range c.w.plan.ops {
		time.Sleep(min(time.Duration(c.r.ExpFloat64()*float64(c.w.plan.pace)), time.Until(c.w.end)))
		l, key := c.home.live(), c.w.register(c.r)
		if key == "" || !time.Now().Before(c.w.end) {
			return
		}
		if l == nil {
			continue
		}
		c.do(l, key)
	}
}

// register draws one of the first registers that have only a few dubious operations.
func (w *world) register(r *rand.Rand) string {
	var open []string
	for _, k := range w.keys {
		if w.hist.dubious(k) < dubious && len(open) < active {
			open = append(open, k)
		}
	}
	if len(open) == 0 {
		return ""
	}
	return pick(r, open...)
}

// do does one operation, and enters it into the history.
func (c *caller) do(l *life, key string) {
	c.n++
	own := uint64(c.no+1)<<32 | c.n<<12 // no other operation writes it
	m := Op{Verb: pick(c.r, read, read, read, write, write, swap, swap, fetchAdd, fetchAdd, fetchAdd), A: own}
	switch m.Verb {
	case read:
		m.A = 0
	case swap:
		m.A, m.B = c.seen[key], own
	case fetchAdd:
		m.A = c.r.Uint64() >> 16 // no sum of some is another one
	}
	if chance(c.r, 0.3) {
		m.Work = span(c.r, 0, 5*time.Millisecond)
	}
	if chance(c.r, 0.3) {
		m.Rest = span(c.r, 0, 20*time.Millisecond)
	}
	if x := c.r.Float64(); x < 0.01 {
		m.End = 2
	} else if x < 0.05 {
		m.End = 1
	}
	ctx, cancel := context.WithTimeout(context.Background(), pick(c.r, span(c.r, 0, 20*time.Millisecond), span(c.r, 20*time.Millisecond, 500*time.Millisecond),
		span(c.r, 100*time.Millisecond, 2*time.Second), 10*time.Second))
	defer cancel()
	if chance(c.r, 0.1) {
		defer time.AfterFunc(span(c.r, 0, 30*time.Millisecond), cancel).Stop()
	}
	var opts []rpc.Option
	if chance(c.r, 0.3) {
		opts = append(opts, rpc.Hedge(span(c.r, 0, 50*time.Millisecond)))
	}
	if m.Verb == read { // harmless if it runs twice
		opts = append(opts, rpc.Idempotent())
	}
	c.finish(l, ctx, key, m, opts)
}

func (c *caller) finish(l *life, ctx context.Context, key string, m Op, opts []rpc.Option) error {
	call := c.w.hist.tick()
	result, err := actor.Call(ctx, l.sys.Ref(key), m, opts...)
	if c.w.disk.isDead(l) { // and so is the caller: nobody was told
		err = rpc.Errorf(rpc.Unavailable, rpc.Unknown, "the caller's process was killed")
	}
	c.w.hist.end(c.no, input{key, m}, call, result, err)
	if err == nil {
		after, _ := m.apply(result.Value)
		if m.Verb != swap || result.Swapped {
			c.seen[key] = after
		}
		if m.Verb == swap && result.Swapped {
			c.seen[key] = m.B
		}
	}
	return err
}

// last reads every register that was used, from every node, after the faults are over.
func (w *world) last() {
	for i, n := range w.nodes {
		c := &caller{w: w, no: w.plan.callers + i, seen: map[string]uint64{}}
		for _, key := range w.keys {
			if !w.hist.used(key) {
				continue
			}
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			err := c.finish(n.live(), ctx, key, Op{}, nil)
			if rpc.CodeOf(err) == rpc.OutcomeUnknown { // this is how it learns that a node was started anew
				err = c.finish(n.live(), ctx, key, Op{}, nil)
			}
			if err != nil {
				w.bad("reading %s from %s after the last fault: %v", key, n.name, err)
			}
			cancel()
		}
	}
}

// outcome is the result of a run.
type outcome struct {
	plan  plan
	ops   []porcupine.Operation
	tally tally
	wrong []string // beside the history
}

// run makes the history of one seed in a bubble of its own.
func run(t *testing.T, seed uint64, c *cheat) (o outcome) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(seed, c)
		w.end = time.Now().Add(w.plan.length)
		for _, n := range w.nodes {
			w.start(n)
		}
		for i := range w.plan.callers {
			c := &caller{w: w, no: i, r: w.rng(fmt.Sprintf("caller %d", i)), home: w.nodes[i%len(w.nodes)], seen: map[string]uint64{}}
			w.callers.Go(c.run)
		}
		w.inject()
		w.calm()
		w.callers.Wait()
		w.last()
		time.Sleep(3 * w.plan.lease) // late copies come out, and must not show
		w.last()
		w.shutdown()
		close(w.wrong)
		for text := range w.wrong {
			o.wrong = append(o.wrong, text)
		}
		o.plan, o.ops, o.tally = w.plan, w.hist.ops, w.hist.tally
	})
	return o
}

// again returns the command that runs a seed again.
func again(seed uint64) string {
	return fmt.Sprintf("go test ./test/linear -run Linearizable -linear.seed %d -linear.tries 100 -artifacts", seed)
}

// TestLinearizable checks many histories, two at a time for each processor.
func TestLinearizable(t *testing.T) {
	first, count := *from, *seeds
	if *seed != 0 {
		first, count = *seed, 1
	}
	if testing.Short() {
		count = min(count, 60)
	}
	var mu sync.Mutex // guards what follows
	next, failed := first, 0
	var sum tally
	var slowest time.Duration
	take := func() (uint64, bool) {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1, next <= first+uint64(count) && failed < 5
	}
	check := func(t *testing.T, s uint64) bool {
		o := run(t, s, &cheat{})
		began := time.Now()
		result, info := porcupine.CheckOperationsVerbose(model, o.ops, checkLimit)
		took := time.Since(began)
		mu.Lock()
		defer mu.Unlock()
		slowest = max(slowest, took)
		sum.ops, sum.ok, sum.notRun, sum.hasRun, sum.unknown = sum.ops+o.tally.ops, sum.ok+o.tally.ok, sum.notRun+o.tally.notRun, sum.hasRun+o.tally.hasRun, sum.unknown+o.tally.unknown
		for _, text := range o.wrong {
			t.Errorf("seed %d: %s\n\t%s", s, text, again(s))
		}
		if result != porcupine.Ok {
			picture := filepath.Join(t.ArtifactDir(), fmt.Sprintf("seed-%d.html", s))
			err := porcupine.VisualizePath(model, info, picture)
			what := "is not linearizable"
			if result == porcupine.Unknown {
				what = fmt.Sprintf("could not be checked in %v", checkLimit)
			}
			t.Errorf("seed %d: the history %s\n\tplan %+v\n\tpicture (kept by -artifacts): %s %v\n\t%s", s, what, o.plan, picture, err, again(s))
		}
		if result != porcupine.Ok || len(o.wrong) > 0 {
			failed++
			return false
		}
		return true
	}
	t.Run("workers", func(t *testing.T) {
		for range min(runtime.GOMAXPROCS(0), count) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for s, more := take(); more; s, more = take() {
					for range *tries {
						if !check(t, s) {
							break
						}
					}
				}
			})
		}
	})
	t.Logf("%d histories: %d operations, %d ok, %d not run, %d ran, %d unknown; slowest check %v", count, sum.ops, sum.ok, sum.notRun, sum.hasRun, sum.unknown, slowest)
	if sum.ok*2 < sum.ops {
		t.Errorf("%d of %d operations succeeded: such histories show little", sum.ok, sum.ops)
	}
}
