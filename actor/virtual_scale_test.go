package actor_test

// What many virtual actors cost.

import (
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	states "github.com/tandem-go/tandem/state/memory"
)

// scaleKind is a virtual kind whose actors answer, and stay.
var scaleKind = actor.Define("counter", func() *counter { return new(counter) },
	actor.Answer((*counter).where), actor.Answer((*counter).total), actor.Handle((*counter).bump)).With(actor.Virtual())

// activate makes n calls, each of an actor of its own, whose ids are numbers.
func activate(t testing.TB, sys *actor.System, kind *actor.Kind, n int) {
	t.Helper()
	for i := range n {
		if _, err := actor.Call(t.Context(), sys.Virtual(kind, strconv.Itoa(i)), total{}); err != nil {
			t.Fatal(err)
		}
	}
}

// settled is the memory that is in use when nothing is garbage any more, and the clean-ups have run that the garbage
// collector has found.
func settled() int {
	for last := heap(); ; {
		runtime.GC()
		if now := heap(); now > last-4096 {
			return now
		} else {
			last = now
		}
	}
}

func activationMemory(t testing.TB, kind *actor.Kind, cfg actor.Config, n int) float64 {
	cfg.Kinds, cfg.Logger = []*actor.Kind{kind}, quiet
	sys := newSystem(t, cfg)
	activate(t, sys, kind, 1)
	before := settled()
	activate(t, sys, kind, n)
	each := float64(settled()-before) / float64(n)
	if st := sys.Stats().Virtual; st.Begun != uint64(n) {
		t.Errorf("%d activations of %d", st.Begun, n)
	}
	return each
}

// An activation of a virtual actor that is idle takes little memory: its state and its name are in it, an entry in
// the table of actors, and what its node remembers of where it is.
func TestActivationMemory(t *testing.T) {
	const n = 100_000
	t.Log(activationMemory(t, scaleKind, actor.Config{}, n))
	t.Log(activationMemory(t, scaleKind.With(actor.Idle(time.Hour)), actor.Config{}, n))
	t.Log(activationMemory(t, storedScaleKind, actor.Config{States: states.New(states.Config{})}, n))
}

type keptCounter struct{ N int }

func (k *keptCounter) total(*actor.Context, total) (int, error) { k.N++; return k.N, nil }

var storedScaleKind = actor.Define("counter", func() *keptCounter { return new(keptCounter) }, actor.Answer((*keptCounter).total)).
	With(actor.Virtual(), actor.Stored(func(k *keptCounter) *keptCounter { return k }))
