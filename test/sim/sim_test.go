package sim

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/simulation"
	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/test/bubble"
)

var (
	seeds   = flag.Int("sim.seeds", 75, "how many seeds to run")
	from    = flag.Uint64("sim.from", 1, "the first of them")
	seed    = flag.Uint64("sim.seed", 0, "run this seed alone, with its transcript under -v")
	tries   = flag.Int("sim.tries", 1, "run every seed so many times, or until it fails")
	terms   = flag.Int("sim.terms", 15, "how many terms of a service to run")
	oneTerm = flag.Uint64("sim.term", 0, "run this term alone, with its transcript under -v")
	planted = flag.Int("sim.planted", 6, "try one in so many of the broken promises that the checks have to find: 1 for all")
	wire    = flag.Bool("sim.wire", false, "show every envelope in the transcript")
)

// result is the result of a run.
type result struct {
	plan   plan
	tally  tally
	faults map[string]int
	wrong  []string
	script []string
	print  string
	calm   time.Duration // from the last fault until every node had answered every other
	length time.Duration // virtual
}

// run simulates one seed in a bubble of its own.
func run(t *testing.T, seed uint64, c cheat, silent bool) (res result) {
	defer watch(seed)()
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprintf(os.Stderr, "seed %d: %v\n%s", seed, r, again(seed))
			panic(r)
		}
	}()
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(seed, c, silent, *wire)
		w.Settle()
		for _, n := range w.Nodes {
			_ = w.Start(n) // see allUp
		}
		for i := range w.plan.Callers {
			w.callers.Go(w.newCaller(i).run)
		}
		w.usePatterns()
		w.useLives()
		w.Inject()
		w.Calm()
		if !w.AllUp() {
			panic(strings.Join(w.truth.Wrong(), "\n"))
		}
		if w.plan.Window > 0 { // slow requests may fill it
			w.callers.Wait()
		}
		res.calm = w.alive()
		w.callers.Wait()
		w.endLives()
		w.leave()
		w.drain()
		time.Sleep(100*time.Second + 3*w.plan.Lease + 2*w.plan.KeyLife + 2*w.plan.Patterns.TokenLife) // late copies come out, sessions of dead clients end
		w.atRest()
		w.lives.close()
		w.End()
		w.judgePatterns()
		w.lives.judge(w)
		w.posts.judge(w)
		w.truth.Judge(w.plan.inOrder(), w.plan.mixed(), w.mayDrop)
		res.plan, res.tally, res.faults, res.length = w.plan, w.tally(), w.Counts, w.truth.Now()
		res.wrong, res.script, res.print = w.truth.Wrong(), w.truth.Script(), w.truth.Print()
	})
	return res
}

// alive checks that every node answers every other soon after the last fault.
func (w *world) alive() time.Duration {
	calm, limit := time.Now(), simulation.CalmLimit
	if w.plan.MaxSessions > 0 { // those of the dead take up room until their lease and what runs for them have ended
		limit += w.plan.Lease + 90*time.Second
	}
	w.Answering(limit, func(ctx context.Context, from *simulation.Life, to *simulation.Node) error {
		n, err := actor.Call(ctx, from.Sys.Ref("probe@"+to.Name), Ping{N: 7})
		if err == nil && n != 7 {
			err = fmt.Errorf("it answers %d", n)
		}
		return err
	})
	return time.Since(calm)
}

// atRest checks that nothing is left when nothing is outstanding: in memory, and in stores in
// which the time of all keys is over.
func (w *world) atRest() {
	forgotten := (w.plan.Keys == 0 || w.plan.KeyLife > 0) && (!w.plan.Patterns.Jobs || w.plan.Patterns.TokenLife > 0)
	for _, n := range w.Nodes {
		st := n.Live().Sys.Stats().RPC
		if st.Outstanding != 0 || st.Records != 0 || st.HeldBytes > w.posts.remembers(w, n.Name) && forgotten {
			w.truth.Bad("%s at rest: %d outstanding, %d records, %d bytes kept", n.Name, st.Outstanding, st.Records, st.HeldBytes)
		}
		if n.Disk != nil && w.plan.KeyLife > 0 && (!w.plan.Patterns.Jobs || w.plan.Patterns.TokenLife > 0) {
			for c := range n.Disk.Ledger().All() {
				if c.Op != ledger.Opened {
					w.truth.Bad("%s at rest: its store still has %v %v of %v", n.Name, c.Op, c.ID, c.Time.Sub(w.truth.Start))
				}
			}
		}
	}
}

// watch reports a seed whose run does not end.
func watch(seed uint64) (stop func()) {
	t := time.AfterFunc(2*time.Minute, func() { fmt.Fprintf(os.Stderr, "seed %d has run for two minutes\n%s", seed, again(seed)) })
	return func() { t.Stop() }
}

// again returns the command that runs a seed again.
func again(seed uint64) string {
	return fmt.Sprintf("\tgo test ./test/sim -run Seeds -sim.seed %d -sim.tries 100 -v\n", seed)
}

// TestSeeds runs many seeds, two at a time for each processor.
func TestSeeds(t *testing.T) {
	first, count := *from, *seeds
	if *seed != 0 {
		first, count = *seed, 1
	}
	if testing.Short() {
		count = min(count, 160)
	}
	var mu sync.Mutex // guards what follows
	next, failed, sum, faults := first, 0, tally{}, map[string]int{}
	var slowest, virtual time.Duration
	take := func() (uint64, bool) {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1, next <= first+uint64(count) && failed < 10
	}
	t.Run("workers", func(t *testing.T) {
		for range min(runtime.GOMAXPROCS(0), count) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for s, more := take(); more; s, more = take() {
					for range *tries {
						res := run(t, s, cheat{}, *seed == 0 || !testing.Verbose())
						mu.Lock()
						sum.add(res.tally)
						for f, n := range res.faults {
							faults[f] += n
						}
						slowest, virtual = max(slowest, res.calm), virtual+res.length
						mu.Unlock()
						if *seed != 0 && (len(res.wrong) > 0 || *tries == 1) {
							t.Log("\n" + strings.Join(res.script, "\n"))
						}
						if len(res.wrong) > 0 {
							mu.Lock()
							failed++
							mu.Unlock()
							t.Errorf("seed %d:\n\t%s\n%s", s, strings.Join(res.wrong, "\n\t"), again(s))
							break
						}
					}
				}
			})
		}
	})
	t.Logf("%d seeds, %v of virtual time: %d operations, %d ok, %d not run, %d ran, %d unknown; slowest recovery %v", count, virtual.Round(time.Second),
		sum.ops, sum.ok, sum.notRun, sum.hasRun, sum.unknown, slowest)
	t.Logf("%d operations with a key, %d refused for another one under it", sum.keyed, sum.reused)
	l := sum.lost
	t.Logf("under way to durable actors that were lost, with stores that do not fail: %d replies, %d not run, %d unknown (%d that had started, %d that had not), %d given up by their callers",
		l.known, l.notRun, l.started+l.unstarted, l.started, l.unstarted, l.gaveUp)
	var kinds []string
	for _, f := range slices.Sorted(maps.Keys(faults)) {
		kinds = append(kinds, fmt.Sprintf("%s %d", f, faults[f]))
	}
	t.Logf("faults: %s", strings.Join(kinds, ", "))
	if count > 50 && sum.ok*3 < sum.ops {
		t.Errorf("%d of %d operations succeeded: a stalled system is no safe one", sum.ok, sum.ops)
	}
}

func (t *tally) add(o tally) {
	t.ops, t.ok, t.notRun, t.hasRun, t.unknown, t.ran = t.ops+o.ops, t.ok+o.ok, t.notRun+o.notRun, t.hasRun+o.hasRun, t.unknown+o.unknown, t.ran+o.ran
	t.keyed, t.reused = t.keyed+o.keyed, t.reused+o.reused
	a, b := &t.lost, o.lost
	a.known, a.notRun, a.started, a.unstarted, a.gaveUp = a.known+b.known, a.notRun+b.notRun, a.started+b.started, a.unstarted+b.unstarted, a.gaveUp+b.gaveUp
}
