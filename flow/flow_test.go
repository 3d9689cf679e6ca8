package flow_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/flow"
	"github.com/tandem-go/tandem/inspect"
	reminders "github.com/tandem-go/tandem/reminder/memory"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/state/memory"
	"github.com/tandem-go/tandem/test/bubble"
)

// calls counts what steps have done.
type calls struct {
	mu sync.Mutex
	of map[string]int
}

func (c *calls) add(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[string]int{}
	}
	c.of[name]++
	return c.of[name]
}

func (c *calls) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprint(c.of)
}

// stores are what flows are kept in.
type stores struct {
	states    *memory.Store
	reminders *reminders.Store
}

func newStores() stores {
	return stores{memory.New(memory.Config{}), reminders.New(reminders.Config{})}
}

func (s stores) start(t *testing.T, kinds ...*actor.Kind) *actor.System {
	t.Helper()
	sys, err := actor.NewSystem(actor.Config{Kinds: kinds, States: s.states, Reminders: s.reminders, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return sys
}

func shut(t *testing.T, sys *actor.System) {
	t.Helper()
	if err := sys.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A flow runs its steps once, waits for times and signals without a goroutine or an activation, and goes on where it was
// after each restart of everything.
func TestFlow(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var did calls
		trip := flow.Define("trip", func(f *flow.Flow, n int) (string, error) {
			did.add("run")
			a, err := flow.Step(f, "double", func(context.Context) (int, error) { did.add("double"); return 2 * n, nil })
			if err != nil {
				return "", err
			}
			if err := flow.Sleep(f, "nap", 10*time.Second); err != nil {
				return "", err
			}
			if err := flow.Sleep(f, "night", 8*time.Hour); err != nil {
				return "", err
			}
			b, err := flow.Await[string](f, "go")
			if err != nil {
				return "", err
			}
			_, err = flow.Step(f, "fails", func(context.Context) (int, error) { did.add("fails"); return 0, errBroken })
			if !errors.Is(err, errBroken) {
				return "", fmt.Errorf("the step's error: %w", err)
			}
			return fmt.Sprint(a, " ", b, " ", f.ID()), nil
		})
		kept := newStores()
		sys := kept.start(t, trip.Kind())
		began := time.Now()
		for range 3 {
			ok(t, trip.Start(t.Context(), sys, "x", 21))
		}
		time.Sleep(5 * time.Second)
		shut(t, sys) // in the nap
		sys = kept.start(t, trip.Kind())
		time.Sleep(5 * time.Minute)
		for a := range sys.Actors(inspect.Filter{Kind: "trip"}) {
			t.Errorf("it sleeps, and is active: %+v", a)
		}
		shut(t, sys) // in the night
		time.Sleep(3 * time.Hour)
		sys = kept.start(t, trip.Kind())
		time.Sleep(6 * time.Hour)
		if got := did.String(); !strings.Contains(got, "double:1") || strings.Contains(got, "fails") {
			t.Errorf("it has done %s", got)
		}
		ok(t, trip.Signal(t.Context(), sys, "x", "go", "ahead"))
		ok(t, trip.Signal(t.Context(), sys, "x", "go", "back")) // too late
		out, err := trip.Result(t.Context(), sys, "x")
		if out != "42 ahead x" || err != nil {
			t.Errorf("%q, %v", out, err)
		}
		if took := time.Since(began); took > 10*time.Hour {
			t.Errorf("it took %v", took)
		}
		shut(t, sys)
		sys = kept.start(t, trip.Kind())
		if out, err := trip.Result(t.Context(), sys, "x"); out != "42 ahead x" || err != nil {
			t.Errorf("later: %q, %v", out, err)
		}
		if err := trip.Signal(t.Context(), sys, "x", "go", "home"); !errors.Is(err, flow.ErrOver) {
			t.Errorf("a signal after the end: %v", err)
		}
		ok(t, trip.Start(t.Context(), sys, "x", 1))
		time.Sleep(time.Hour)
		if got := did.String(); !strings.Contains(got, "double:1") || !strings.Contains(got, "fails:1") {
			t.Errorf("it has done %s", got)
		}
		if list, err := sys.Reminders(t.Context(), sys.Virtual(trip.Kind(), "x")); len(list) > 0 || err != nil {
			t.Errorf("%d reminders are left, %v", len(list), err)
		}
		shut(t, sys)
	})
}

var errBroken error = rpc.NewError("flow.broken", "it is broken")

// How a flow ends, and what is wrong with one, is told.
func TestEnds(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		ends := flow.Define("ends", func(f *flow.Flow, how string) (string, error) {
			switch how {
			case "error":
				return "", errBroken
			case "panic":
				panic("no")
			case "twice":
				for range 2 {
					if _, err := flow.Step(f, "s", func(context.Context) (int, error) { return 1, nil }); err != nil {
						return "", err
					}
				}
			case "changed":
				if _, err := flow.Step(f, "s", func(context.Context) (string, error) { return "text", nil }); err != nil {
					return "", err
				}
				if err := flow.Sleep(f, "night", time.Hour); err != nil { // after which it is run again
					return "", err
				}
			case "large":
				return strings.Repeat("x", 2<<20), nil
			case "large step":
				_, err := flow.Step(f, "s", func(context.Context) (string, error) { return strings.Repeat("x", 2<<20), nil })
				return "", err
			}
			return how + f.Key("s"), nil
		})
		kept := newStores()
		sys := kept.start(t, ends.Kind())
		for how, want := range map[string]string{
			"well": "", "error": errBroken.Error(), "panic": "panicked: no", "twice": "two steps of the flow have one name", "large": "the output", "large step": "larger than the store takes",
		} {
			ok(t, ends.Start(t.Context(), sys, strings.ReplaceAll(how, " ", "_"), how))
			out, err := ends.Result(t.Context(), sys, strings.ReplaceAll(how, " ", "_"))
			if want == "" && (err != nil || out != `well"s" of "well"`) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s: %q, %v", how, out, err)
			}
			switch {
			case how == "error" && !errors.Is(err, errBroken), how == "twice" && !errors.Is(err, flow.ErrTwice):
				t.Errorf("%s: %v", how, err)
			}
		}
		if _, err := ends.Result(t.Context(), sys, "none"); !errors.Is(err, flow.ErrUnknown) {
			t.Errorf("the result of none: %v", err)
		}
		if err := ends.Signal(t.Context(), sys, "none", "s", 1); !errors.Is(err, flow.ErrUnknown) {
			t.Errorf("a signal to none: %v", err)
		}
		if err := ends.Start(t.Context(), sys, "bad id", "well"); rpc.CodeOf(err) != rpc.Invalid && err == nil {
			t.Errorf("a bad id: %v", err)
		}
		ok(t, ends.Start(t.Context(), sys, "changed", "changed"))
		time.Sleep(time.Minute)
		shut(t, sys)
		other := flow.Define("ends", func(f *flow.Flow, _ string) (string, error) {
			_, err := flow.Step(f, "s", func(context.Context) ([]int, error) { return nil, nil })
			return "", err
		})
		sys = kept.start(t, other.Kind())
		if _, err := other.Result(t.Context(), sys, "changed"); !strings.Contains(fmt.Sprint(err), "the record of a step is of another type") {
			t.Errorf("a step of another type: %v", err)
		}
		shut(t, sys)
	})
}

// Flows run to their ends although everything is restarted all the time, and each step is recorded once.
func TestRestarts(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		const flows, steps = 5, 20
		var did calls
		count := flow.Define("count", func(f *flow.Flow, n int) (int, error) {
			sum := 0
			for i := range n {
				v, err := flow.Step(f, fmt.Sprint(i), func(ctx context.Context) (int, error) {
					select {
					case <-time.After(time.Second):
						return did.add(fmt.Sprint(f.ID(), i)), nil
					case <-ctx.Done():
						return 0, ctx.Err()
					}
				})
				if err != nil {
					return 0, err
				}
				sum += v
			}
			return sum, nil
		})
		kept := newStores()
		sys := kept.start(t, count.Kind())
		for i := range flows {
			ok(t, count.Start(t.Context(), sys, fmt.Sprint(i), steps))
		}
		for i := range 12 {
			time.Sleep(time.Duration(700+i*777) * time.Millisecond)
			shut(t, sys)
			sys = kept.start(t, count.Kind())
		}
		for i := range flows {
			n, err := count.Result(t.Context(), sys, fmt.Sprint(i))
			if n != steps || err != nil { // each step was done once: none was cut off between its end and its record
				t.Errorf("flow %d: %d, %v; %v", i, n, err, did.String())
			}
		}
		synctest.Wait()
		shut(t, sys)
	})
}
