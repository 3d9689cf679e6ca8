package scale

import (
	"flag"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/test/bubble"
)

var manyActors = flag.Int("scale.actors", 5000, "how many virtual actors there are on each of three nodes in TestActivations")

// TestActivations has many virtual actors on three nodes. They are found from every node, cost nothing while
// they are idle, and are elsewhere when their node has died.
func TestActivations(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w, n := newWorld(t), 3**manyActors
		for _, name := range []string{"a", "b", "c"} {
			w.start(name)
		}
		synctest.Wait()
		defer w.close()
		for i := range 100 { // so that all links are open
			for _, from := range w.live {
				w.askFor(from, i)
			}
		}
		few := w.idleHour()
		before := heap()

		s, at := w.begin(), make([]string, n)
		w.each(n, func(from *actor.System, i int) {
			at[i] = w.askFor(from, i)
		})
		s.report("first calls", n)
		t.Logf("memory of each, with its claim and what the three nodes know of it: %d B", (heap()-before)/uint64(n))
		var begun uint64
		for _, sys := range w.live {
			st := sys.Stats().Virtual
			if begun += st.Begun; st.Begun < uint64(n/4) || st.Failed > 0 || st.Moved > 0 {
				t.Errorf("%s: %+v", sys.Name(), st)
			}
		}
		if begun != uint64(n) {
			t.Errorf("%d activations of %d actors", begun, n)
		}

		s = w.begin()
		for turn := range w.live { // from each node
			w.each(n, func(_ *actor.System, i int) {
				from := w.live[(i+turn)%3]
				if got := w.askFor(from, i); got != at[i] {
					t.Errorf("%d is on %s, and on %s as %s sees it", i, at[i], got, from.Name())
				}
			})
		}
		s.report("later calls", 3*n)

		if many := w.idleHour(); many > few+few/100 { // of when the hour begins a few depend
			t.Errorf("%d frames in an hour while %d actors are idle, and %d while 100 are", many, n, few)
		}

		lost := 0
		for i := range n {
			if at[i] == "c" {
				lost++
			}
		}
		s = w.begin()
		w.die(2)
		w.each(n, func(from *actor.System, i int) {
			if got := w.askFor(from, i); got == "c" || at[i] != "c" && got != at[i] {
				t.Errorf("%d was on %s, and is on %s", i, at[i], got)
			}
		})
		s.report("calls of all when a node had died, of which there were "+strconv.Itoa(lost), n)
	})
}

// idleHour returns how many frames are sent in an hour in which nobody calls anybody.
func (w *world) idleHour() uint64 {
	time.Sleep(time.Minute) // until what the calls have left is over
	s := w.begin()
	time.Sleep(time.Hour)
	w.t.Logf("an hour at rest: %.2f frames a second and node, %d calls of the registry", float64(s.sent())/3600/float64(len(w.live)), w.leases.calls.Load()-s.registry)
	return s.sent()
}

// each calls fn for each of n numbers, in a few goroutines for each node.
func (w *world) each(n int, fn func(from *actor.System, i int)) {
	const callers = 16
	var all sync.WaitGroup
	for k := range callers * len(w.live) {
		all.Go(func() {
			for i := k; i < n; i += callers * len(w.live) {
				fn(w.live[k%len(w.live)], i)
			}
		})
	}
	all.Wait()
}

func (w *world) askFor(from *actor.System, i int) string {
	node, err := ask(from, strconv.Itoa(i))
	if err != nil {
		w.t.Errorf("%d, from %s: %v", i, from.Name(), err)
	}
	return node
}
