package actor_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/state"
	statemem "github.com/tandem-go/tandem/state/memory"
)

// A store of records that fails is seen by who asks, and so is that it works again.
func TestHealthOfRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{}
		sys, err := actor.NewSystem(actor.Config{Store: d, Logger: slog.New(slog.DiscardHandler), Kinds: []*actor.Kind{healthKind}})
		if err != nil {
			t.Fatal(err)
		}
		defer sys.Shutdown(t.Context())
		ref, err := sys.Spawn("d", healthKind)
		if err != nil {
			t.Fatal(err)
		}
		submit := func() { // it is recorded before it is begun
			if _, err := actor.Submit(t.Context(), ref, healthWork{}); err != nil {
				t.Log(err)
			}
		}
		if err := sys.Health().Ready(); err != nil {
			t.Error(err)
		}
		d.failing.Store(true)
		d.refusing.Store(true)
		go submit()
		time.Sleep(time.Second)
		if h := sys.Health(); h.Records == nil || !errors.Is(h.Ready(), actor.ErrNotReady) || !errors.Is(h.Ready(), h.Records) {
			t.Errorf("%+v", h)
		}
		d.failing.Store(false)
		time.Sleep(time.Minute)
		if err := sys.Health().Ready(); err != nil {
			t.Error(err)
		}
	})
}

// awayStates cannot be reached while away is set.
type awayStates struct {
	state.Store
	away atomic.Bool
}

func (s *awayStates) Load(ctx context.Context, key state.Key) (state.Record, state.Revision, error) {
	if s.away.Load() {
		return state.Record{}, state.Revision{}, &state.Error{Op: "load", Key: key, Kind: state.ErrUnavailable}
	}
	return s.Store.Load(ctx, key)
}

// A store of states that cannot be reached is seen, until it is used again with success, or was not used for a while.
func TestHealthOfStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		states := &awayStates{Store: statemem.New(statemem.Config{})}
		kind := actor.Define("test.kept", func() *healthActor { return &healthActor{} }, actor.Answer((*healthActor).do)).
			With(actor.Virtual(), actor.Stored(func(a *healthActor) *healthActor { return a }))
		sys, err := actor.NewSystem(actor.Config{States: states, Logger: slog.New(slog.DiscardHandler), Kinds: []*actor.Kind{kind}})
		if err != nil {
			t.Fatal(err)
		}
		defer sys.Shutdown(t.Context())
		call := func(id string) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := actor.Call(ctx, sys.Virtual(kind, id), healthWork{}); (err != nil) != states.away.Load() {
				t.Errorf("%s: %v", id, err)
			}
		}
		for _, mend := range []func(){
			func() { states.away.Store(false); call("b") },
			func() { states.away.Store(false); time.Sleep(actor.StatesMemory + time.Second) },
		} {
			states.away.Store(true)
			call("a")
			if h := sys.Health(); h.States == nil || !errors.Is(h.Ready(), state.ErrUnavailable) {
				t.Errorf("%+v", h)
			}
			if mend(); sys.Health().Ready() != nil {
				t.Error(sys.Health().Ready())
			}
		}
	})
}

type healthWork struct{ actor.Returns[int] }

type healthActor struct{}

func (*healthActor) do(*actor.Context, healthWork) (int, error) { return 1, nil }

var healthKind = actor.Define("test.health", func() *healthActor { return &healthActor{} }, actor.Answer((*healthActor).do)).With(actor.Durable())
