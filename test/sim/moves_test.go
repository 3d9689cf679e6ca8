package sim

import (
	"flag"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tandem-go/tandem/rpc"
)

var (
	moves   = flag.Int("sim.moves", 25, "how many seeds to run with virtual and stored actors")
	oneMove = flag.Uint64("sim.move", 0, "run this one of them alone, with its transcript under -v")
)

// moveAgain returns the command that runs a seed again.
func moveAgain(seed uint64) string {
	return fmt.Sprintf("\tgo test ./test/sim -run Moves -sim.move %d -sim.tries 100 -v\n", seed)
}

// TestMoves has virtual and stored actors move between nodes that die, are cut off from each other and from
// what they share, and come back, while all of them are asked.
func TestMoves(t *testing.T) {
	first, count := *from, *moves
	if *oneMove != 0 {
		first, count = *oneMove, 1
	}
	var mu sync.Mutex // guards what follows
	next, failed := first, 0
	ops, ok, unknown, commits, begun := 0, 0, 0, 0, uint64(0)
	changed, rung, twice := 0, 0, 0 // reminders; firings that were handled, and that were handed out again
	faults := map[string]int{}
	take := func() (uint64, bool) {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1, next <= first+uint64(count) && failed < 5
	}
	t.Run("workers", func(t *testing.T) {
		for range min(runtime.GOMAXPROCS(0), count) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for s, more := take(); more; s, more = take() {
					for range *tries {
						res := move(t, s, "", *oneMove == 0 || !testing.Verbose())
						mu.Lock()
						for _, d := range res.hist.Deeds {
							ops++
							if d.Err == nil {
								ok++
							} else if rpc.Ran(d.Err) == rpc.Unknown {
								unknown++
							}
						}
						c, n, again := res.hist.firings()
						changed, rung, twice = changed+c, rung+n, twice+again
						commits, begun = commits+len(res.hist.Commits), begun+res.begun
						for f, n := range res.faults {
							faults[f] += n
						}
						mu.Unlock()
						if *oneMove != 0 && (len(res.wrong) > 0 || *tries == 1) {
							t.Log("\n" + strings.Join(res.script, "\n"))
						}
						if len(res.wrong) > 0 {
							mu.Lock()
							failed++
							mu.Unlock()
							t.Errorf("seed %d:\n\t%s\n%s", s, strings.Join(res.wrong, "\n\t"), moveAgain(s))
							break
						}
					}
				}
			})
		}
	})
	t.Logf("%d seeds: %d operations, %d ok, %d unknown; %d activations, %d commits", count, ops, ok, unknown, begun, commits)
	t.Logf("%d changes of reminders, %d firings handled, %d of them handed out more than once", changed, rung, twice)
	var kinds []string
	for _, f := range slices.Sorted(maps.Keys(faults)) {
		kinds = append(kinds, fmt.Sprintf("%s %d", f, faults[f]))
	}
	t.Logf("faults: %s", strings.Join(kinds, ", "))
	if count > 10 && rung < 10*count {
		t.Errorf("only %d firings were handled", rung)
	}
	if count > 10 && ok*2 < ops {
		t.Errorf("%d of %d operations succeeded: a stalled system is no safe one", ok, ops)
	}
}
