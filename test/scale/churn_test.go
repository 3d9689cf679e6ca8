package scale

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/test/bubble"
)

var manyNodes = flag.Int("scale.nodes", 200, "how many nodes the cluster of TestChurn has")

const (
	actorsPerCaller = 5
	calmRounds      = 3 // in which every caller is right, until all counts as right
)

// TestChurn has a large cluster in which each node calls a few virtual actors, anywhere, every second. One node in ten
// goes at once: half of them leave, half of them die without a word, and as many new ones join. It says how
// long it takes until every call succeeds, at the first node that is asked.
func TestChurn(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w, n := newWorld(t), *manyNodes
		before, s := heap(), w.begin()
		for i := range n {
			w.start(fmt.Sprint("n", i))
		}
		synctest.Wait()
		s.report("starts", n)
		defer w.close()
		t.Logf("memory of a node that knows the others: %d B", (heap()-before)/uint64(n))
		alone := w.rest("without links", n)
		if alone > 0.01 {
			t.Errorf("%.2f frames a second and node", alone)
		}

		s = w.begin()
		if wrong := w.round(); wrong > 0 {
			t.Errorf("%d calls have failed", wrong)
		}
		s.report("first calls", n*actorsPerCaller)
		w.settle("at first", n)
		t.Logf("memory of a node that calls %d actors: %d B", actorsPerCaller, (heap()-before)/uint64(n))
		w.rest("with links", n)

		s = w.begin()
		r := rand.New(rand.NewPCG(1, 1))
		for i := range n / 10 {
			at := r.IntN(len(w.live))
			if i%2 == 0 {
				w.leave(at)
			} else {
				w.die(at)
			}
			w.start(fmt.Sprint("m", i))
		}
		s.report("nodes have gone, and as many have come", n/10)
		w.settle("after that", n)
		w.rest("with links, after that", n)
	})
}

// round has every node call its actors at the same time. It returns how many calls have failed.
func (w *world) round() (wrong int) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, from := range w.live {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(len(from.Name())), hash(from.Name())))
			for range actorsPerCaller {
				if _, err := ask(from, strconv.Itoa(r.IntN(len(w.live)*actorsPerCaller))); err != nil {
					mu.Lock()
					wrong++
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	return wrong
}

func hash(s string) (h uint64) {
	for _, c := range s {
		h = h*31 + uint64(c)
	}
	return h
}

// settle has calls made every second until all are right in a few rounds: none fails, and none is told that its actor
// is elsewhere.
func (w *world) settle(what string, n int) {
	s := w.begin()
	wrong, moved, rounds := 0, w.moved(), 0
	var took time.Duration
	for calm := 0; calm < calmRounds; rounds++ {
		if rounds == 100 {
			w.t.Fatalf("%s: not every caller is right after %v", what, time.Since(s.fake))
		}
		bad, before := w.round(), moved
		moved = w.moved()
		if wrong += bad; bad > 0 || moved != before {
			calm, took = 0, time.Since(s.fake)
		} else {
			calm++
		}
		time.Sleep(time.Second)
	}
	seconds := time.Since(s.fake).Seconds()
	w.t.Logf("%s: every caller is right after %v; %d calls have failed; %.2f frames and %.2f calls of the registry a second and node; CPU %v", what, took, wrong,
		float64(s.sent())/seconds/float64(n), float64(w.leases.calls.Load()-s.registry)/seconds/float64(n), cpu()-s.cpu)
}

// rest returns how many frames each node sends in a second in which nobody calls anybody.
func (w *world) rest(what string, n int) float64 {
	const seconds = 30
	time.Sleep(10 * time.Second) // until what was before is over
	s := w.begin()
	time.Sleep(seconds * time.Second)
	frames := float64(s.sent()) / seconds / float64(n)
	w.t.Logf("at rest, %s: %.2f frames and %.2f calls of the registry a second and node; CPU %.1f ms a second", what, frames,
		float64(w.leases.calls.Load()-s.registry)/seconds/float64(n), float64((cpu()-s.cpu).Milliseconds())/seconds)
	return frames
}
