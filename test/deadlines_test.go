package test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
)

type patient struct{}

// Wait is a message that is answered at once.
type Wait struct{ actor.Returns[int] }

// Farewell is a one-way message.
type Farewell struct{}

func (*patient) wait(*actor.Context, Wait) (int, error) { return 7, nil }
func (*patient) note(*actor.Context, Farewell) error    { return nil }

// A deadline near the end of time works like no deadline, on every road and within a node.
func TestDeadlinesNearTheEndOfTime(t *testing.T) {
	kind := actor.Define("test.patient", func() *patient { return new(patient) }, actor.Answer((*patient).wait), actor.Handle((*patient).note))
	for name, r := range map[string]roads{"direct": direct, "bus": bus} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, r, kind)
			if _, err := w.server.Spawn("it", kind); err != nil {
				t.Fatal(err)
			}
			if _, err := w.server.Spawn("jobs", actor.QueueKind[int]("test.jobs", queue.Config{})); err != nil {
				t.Fatal(err)
			}
			farOff, cancel := context.WithTimeout(t.Context(), math.MaxInt64)
			defer cancel()
			year9999, cancel := context.WithDeadline(t.Context(), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC))
			defer cancel()
			for what, ctx := range map[string]context.Context{"the longest timeout": farOff, "the year 9999": year9999} {
				for where, it := range map[string]actor.Ref{"there": w.client.Ref("it@server"), "here": w.server.Ref("it@server")} {
					if got, err := actor.Call(ctx, it, Wait{}); got != 7 || err != nil {
						t.Errorf("Call %s with %s: %v, %v", where, what, got, err)
					}
					if got, err := actor.Ask(ctx, it, Wait{}).Await(ctx); got != 7 || err != nil {
						t.Errorf("Ask %s with %s: %v, %v", where, what, got, err)
					}
					if err := actor.Tell(ctx, it, Farewell{}, rpc.Acked()); err != nil {
						t.Errorf("Tell %s with %s: %v", where, what, err)
					}
					tok, err := actor.Submit(ctx, it, Wait{})
					if err != nil {
						t.Errorf("Submit %s with %s: %v", where, what, err)
						continue
					}
					if got, err := tok.Await(ctx); got != 7 || err != nil {
						t.Errorf("Await %s with %s: %v, %v", where, what, got, err)
					}
				}
				jobs := w.client.Ref("jobs@server")
				if err := actor.Push(ctx, jobs, 1); err != nil {
					t.Errorf("Push with %s: %v", what, err)
				}
				if got, err := actor.Pull[int](ctx, jobs, actor.Wait(math.MaxInt64)); len(got) != 1 || err != nil {
					t.Errorf("Pull with %s: %v, %v", what, got, err)
				}
			}
		})
	}
}
