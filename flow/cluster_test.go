package flow_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/actortest"
	"github.com/tandem-go/tandem/flow"
)

// Nodes are killed one after another, and started again, while flows run on all of them. Each flow comes to its end, with the
// result that was recorded of each step.
func TestNodesAreKilled(t *testing.T) {
	actortest.Bubble(t, func(t *testing.T) {
		const flows, steps = 6, 30
		var did calls
		count := flow.Define("count", func(f *flow.Flow, n int) (string, error) {
			seen := ""
			for i := range n {
				v, err := flow.Step(f, fmt.Sprint(i), func(ctx context.Context) (string, error) {
					select {
					case <-time.After(time.Second):
						return fmt.Sprint(i, "/", did.add(fmt.Sprint(f.ID(), ".", i)), " "), nil
					case <-ctx.Done():
						return "", ctx.Err()
					}
				})
				if err != nil {
					return "", err
				}
				seen += v
			}
			return seen, nil
		})
		kept := newStores()
		c := actortest.NewCluster(t, actortest.ClusterConfig{Nodes: 3, Kinds: []*actor.Kind{count.Kind()}, Config: func(_ *actortest.Node, cfg *actor.Config) {
			cfg.States, cfg.Reminders = kept.states, kept.reminders
		}})
		for i := range flows {
			ok(t, count.Start(t.Context(), c.Node(0).System(), fmt.Sprint(i), steps))
		}
		for i := range 6 {
			time.Sleep(time.Duration(1300+i*777) * time.Millisecond)
			n := c.Node(i % 3)
			n.Kill()
			time.Sleep(actortest.KilledLease + time.Duration(i)*time.Second)
			n.Start()
		}
		for i := range flows {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
			seen, err := count.Result(ctx, c.Node(0).System(), fmt.Sprint(i))
			cancel()
			if err != nil {
				t.Fatalf("flow %d: %v", i, err)
			}
			want, twice := "", 0
			for k := range steps {
				n := 1
				if _, err := fmt.Sscanf(seen[len(want):], fmt.Sprint(k, "/%d "), &n); err != nil {
					t.Fatalf("flow %d: %q at step %d", i, seen, k)
				}
				if n > 1 { // its node was killed between the end of the step and its record
					twice++
				}
				want += fmt.Sprint(k, "/", n, " ")
			}
			if want != seen || twice > 6 {
				t.Errorf("flow %d: %q", i, seen)
			}
		}
	})
}
