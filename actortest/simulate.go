package actortest

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/test/bubble"
)

// The environment variables that change what Simulate runs.
const (
	SeedVariable  = "ACTORTEST_SEED"  // one seed alone, with its transcript
	SeedsVariable = "ACTORTEST_SEEDS" // so many seeds as it says, instead of those that the test asks for
)

// patience is how much real time a seed may take before Simulate says which one it is.
const patience = 2 * time.Minute

// Simulate runs many seeds of a simulation, 1, 2 and so on, each in a bubble of its own. describe
// says what is simulated: which nodes there are and what they host, what callers do, and what
// must be true in the end. Then the World starts, and everything else in it is drawn from the
// seed: who calls whom and when, and which nodes and roads fail in which way.
//
//	actortest.Simulate(t, 200, func(w *actortest.World) {
//		w.Cluster(actortest.ClusterConfig{Setup: spawnTill})
//		var paid, perhaps atomic.Int64
//		w.Callers(4, func(c *actortest.Caller) {
//			_, err := actortest.Call(c, "till@n0", Pay{Amount: 1})
//			...
//		})
//		w.Invariant("no payment is lost", func() error { ... })
//	})
//
// The first seed that fails ends the test, and the failure says how to run it again in any
// process: with the environment variable ACTORTEST_SEED. What a seed draws is the same in every
// run. It does not determine which of two goroutines that are ready at the same moment goes
// first; so a failure that depends on that may need several attempts (go test -count). To have
// as little as possible of that, the program has one processor while Simulate runs.
//
// These judges are always there:
//
//   - ran once: no operation runs twice, over all nodes and their starts;
//   - verdict true: what rpc.Ran says of the error of a call is true then and in the end;
//   - order: one-way messages of one caller to one actor are handled in order;
//   - no silence: each operation ends by its deadline, and after the last fault each node
//     answers each other node soon;
//   - nothing leaked: in the end nothing is outstanding, all systems shut down in time, and no
//     goroutine is left.
//
// They see the operations of callers (Call, Ask and Tell of this package) at actors that Node.Spawn
// has started.
func Simulate(t *testing.T, seeds int, describe func(w *World)) {
	t.Helper()
	if inBubble() {
		t.Fatalf("actortest: Simulate makes bubbles of its own, and is called in one")
	}
	if seeds < 1 {
		t.Fatalf("actortest: a simulation of %d seeds", seeds)
	}
	seeds = int(number(t, SeedsVariable, uint64(seeds)))
	first, last := uint64(1), uint64(seeds)
	one := number(t, SeedVariable, 0)
	if one != 0 {
		first, last = one, one
	}
	for seed := first; seed <= last; seed++ {
		w := simulate(t, seed, one != 0, describe)
		if one != 0 && len(w.script) > 0 {
			t.Logf("seed %d:\n%s", seed, strings.Join(w.script, "\n"))
		}
		if len(w.wrong) > 0 {
			t.Fatalf("actortest: seed %d, with %s:\n\t%s\n%s", seed, w.counts, strings.Join(w.wrong, "\n\t"), again(t, seed))
		}
	}
}

// simulate runs one seed.
func simulate(t *testing.T, seed uint64, loud bool, describe func(w *World)) *World {
	t.Helper()
	stop := time.AfterFunc(patience, func() {
		fmt.Fprintf(os.Stderr, "actortest: seed %d has run for %v\n%s\n", seed, patience, again(t, seed))
	})
	defer stop.Stop()
	defer func() {
		if r := recover(); r != nil { // also if a goroutine is left in the bubble
			fmt.Fprintf(os.Stderr, "actortest: seed %d: %v\n%s\n", seed, r, again(t, seed))
			panic(r)
		}
	}()
	w := &World{t: t, seed: seed}
	bubble.OneProcessor(t, func(t *testing.T) { w.run(t, loud, describe) })
	return w
}

// number reads a number from the environment; without the variable it returns otherwise.
func number(t *testing.T, variable string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || n == 0 {
		t.Fatalf("actortest: %s=%q: there is no such seed; want a number from 1", variable, text)
	}
	return n
}

// again is the command that runs a seed again.
func again(t *testing.T, seed uint64) string {
	name := "^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$"
	return fmt.Sprintf("again: %s=%d go test -run '%s' -v .", SeedVariable, seed, name)
}
