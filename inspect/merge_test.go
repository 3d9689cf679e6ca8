package inspect_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/inspect"
)

var noon = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

func step(node string, side inspect.Side, request string, what inspect.What, at time.Duration) inspect.Step {
	s := inspect.Step{Node: node, Side: side, Request: request, What: what}
	if at >= 0 {
		s.Time = noon.Add(at)
	}
	return s
}

// life is one request from a to b, and one from b to c in its course. Clocks of b and c are off.
func life(b, c time.Duration) (steps []inspect.Step, want string) {
	const ms = time.Millisecond
	steps = []inspect.Step{
		step("a", inspect.Client, "1", inspect.Asked, 10*ms),
		step("a", inspect.Client, "1", inspect.Sent, 11*ms),
		step("b", inspect.Server, "1", inspect.Received, 13*ms+b),
		step("b", inspect.Server, "1", inspect.Started, -1),
		step("b", inspect.Client, "2", inspect.Asked, 15*ms+b),
		step("b", inspect.Client, "2", inspect.Sent, 16*ms+b),
		step("c", inspect.Server, "2", inspect.Received, 18*ms+c),
		step("c", inspect.Server, "2", inspect.Decided, 20*ms+c),
		step("b", inspect.Client, "2", inspect.Answered, 22*ms+b),
		step("b", inspect.Server, "1", inspect.Decided, 23*ms+b),
		step("a", inspect.Client, "1", inspect.Answered, 25*ms),
	}
	return steps, told(steps)
}

func told(steps []inspect.Step) string {
	var all []string
	for _, s := range steps {
		all = append(all, fmt.Sprint(s.Node, s.Request, " ", s.What))
	}
	return strings.Join(all, ", ")
}

// Steps of several nodes get into one order, that of causes, however much their clocks are off and in whatever order
// the nodes are asked.
func TestMerge(t *testing.T) {
	offs := []time.Duration{0, time.Second, -5 * time.Second, 24 * time.Hour}
	for _, b := range offs {
		for _, c := range offs {
			steps, want := life(48*time.Hour+b, 48*time.Hour+c) // so that no time is before noon
			for i := range steps {
				if steps[i].Node == "a" {
					steps[i].Time = steps[i].Time.Add(48 * time.Hour)
				}
			}
			for seed := range uint64(20) {
				byNode := slices.Clone(steps)
				names := []string{"a", "b", "c"}
				rand.New(rand.NewPCG(seed, 1)).Shuffle(3, func(i, j int) { names[i], names[j] = names[j], names[i] })
				slices.SortStableFunc(byNode, func(x, y inspect.Step) int { return slices.Index(names, x.Node) - slices.Index(names, y.Node) })
				if got := told(inspect.Merge(byNode)); got != want {
					t.Fatalf("b is off by %v, c by %v, %v:\n%s, want\n%s", b, c, names, got, want)
				}
			}
		}
	}
}

// Clocks that contradict themselves still give an order with each node's own order in it.
func TestMergeOfClocksThatWereSet(t *testing.T) {
	steps, _ := life(time.Hour, 2*time.Hour)
	for i := range steps {
		if steps[i].What == inspect.Decided {
			steps[i].Time = steps[i].Time.Add(-90 * time.Minute)
		}
	}
	merged := inspect.Merge(steps)
	if len(merged) != len(steps) {
		t.Fatalf("%d steps, want %d", len(merged), len(steps))
	}
	for _, request := range []string{"1", "2"} {
		for _, node := range []string{"a", "b", "c"} {
			of := func(all []inspect.Step) string {
				return told(slices.DeleteFunc(slices.Clone(all), func(s inspect.Step) bool { return s.Node != node || s.Request != request }))
			}
			if of(merged) != of(steps) {
				t.Errorf("%s, want %s", of(merged), of(steps))
			}
		}
	}
}

// A filter lets through what matches all that it has.
func TestRequestFilter(t *testing.T) {
	r := inspect.Request{Target: "orders/7", Type: "order", Peer: "b", Side: inspect.Client, Unusual: true, Code: "overloaded", First: noon, Last: noon.Add(time.Second)}
	for _, f := range []inspect.RequestFilter{{}, {Target: "orders/"}, {Type: "order"}, {Peer: "b"}, {Side: inspect.Client}, {Unusual: true}, {Code: "overloaded"}, {Slower: time.Second}} {
		if !f.Match(r) {
			t.Errorf("%+v", f)
		}
	}
	for _, f := range []inspect.RequestFilter{{Target: "orders/8"}, {Type: "o"}, {Peer: "c"}, {Side: inspect.Server}, {Code: "denied"}, {Slower: time.Second + 1}} {
		if f.Match(r) {
			t.Errorf("%+v", f)
		}
	}
	r.Unusual = false
	if (inspect.RequestFilter{Unusual: true}).Match(r) {
		t.Error("an ordinary one")
	}
}
