package actor_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/inspect"
)

// With everything real, twelve actors are kept active on three nodes: when they come up, and when one has left. No actor has
// two activations at a time.
func TestKeepActiveOnNATS(t *testing.T) {
	var mu sync.Mutex
	at, changed := map[string][]string{}, make(chan struct{}, 1000) // where the activations of each are
	kind := counterKind
	for i := range 12 {
		kind = kind.With(actor.KeepActive(fmt.Sprint("k", i)))
	}
	url := natsURL(t)
	sys := map[string]*actor.System{}
	for _, name := range []string{"a", "b", "c"} {
		sys[name] = startOnNATS(t, url, name, kind)
		events := sys[name].Events(t.Context(), actor.KeptActive, actor.KeptInactive)
		go func() { // it ends with the system
			for range events {
				changed <- struct{}{}
			}
		}()
	}
	// spread waits until all are active, and returns where.
	spread := func() map[string]int {
		t.Helper()
		for deadline := time.After(30 * time.Second); ; {
			mu.Lock()
			clear(at)
			n, nodes := 0, map[string]int{}
			for name, s := range sys {
				for a := range s.Actors(inspect.Filter{Kind: kind.Name(), Stage: inspect.Working}) {
					at[a.Name] = append(at[a.Name], name)
					n, nodes[name] = n+1, nodes[name]+1
				}
			}
			distinct := len(at)
			mu.Unlock()
			if n == 12 && distinct == 12 {
				return nodes
			}
			select {
			case <-changed:
			case <-time.After(20 * time.Millisecond): // an event comes before the list has it
			case <-deadline:
				t.Fatalf("active: %v", at)
			}
		}
	}
	t.Logf("at first: %v", spread())
	began := time.Now()
	if err := sys["a"].Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	delete(sys, "a")
	t.Logf("a has left: %v", spread())
	t.Logf("after %v", time.Since(began))
	sys["a"] = startOnNATS(t, url, "a", kind)
	for _, name := range []string{"b", "c"} {
		if err := sys[name].Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		delete(sys, name)
	}
	if nodes := spread(); nodes["a"] != 12 {
		t.Errorf("they are at %v", nodes)
	}
}
