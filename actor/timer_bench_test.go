package actor_test

import (
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
)

// Ringing counts the ticks that it gets down.
type Ringing struct{ left *sync.WaitGroup }

func (k *Ringing) Ring(*actor.Context, Ring) error               { k.left.Done(); return nil }
func (k *Ringing) Run(ctx *actor.Context, m Run) (string, error) { return m.F(ctx) }
func ringingKind(left *sync.WaitGroup, opts ...actor.KindOption) *actor.Kind {
	return actor.Define("test.ringing", func() *Ringing { return &Ringing{left} }, actor.Handle((*Ringing).Ring), actor.Answer((*Ringing).Run)).With(opts...)
}

// contexts starts n actors and returns a context of each.
func contexts(b *testing.B, sys *actor.System, kind *actor.Kind, n int) []*actor.Context {
	all := make([]*actor.Context, n)
	for i := range all {
		if _, err := actor.Call(b.Context(), spawn(b, sys, "", kind), run(func(ctx *actor.Context) (string, error) { all[i] = ctx; return "", nil })); err != nil {
			b.Fatal(err)
		}
	}
	return all
}

// BenchmarkTimers sets a million timers, of one actor and of as many actors, and cancels them.
func BenchmarkTimers(b *testing.B) {
	const n = 1_000_000
	for name, actors := range map[string]int{"of-1-actor": 1, "of-1M-actors": n} {
		b.Run(name, func(b *testing.B) {
			sys := newSystem(b, actor.Config{Logger: quiet})
			ctxs := contexts(b, sys, ringingKind(new(sync.WaitGroup)), actors)
			timers := make([]actor.Timer, n)
			for b.Loop() {
				before, began := heap(), time.Now()
				for i := range timers {
					timers[i], _ = actor.After(ctxs[i%actors], time.Hour+time.Duration(i%1000)*time.Second, Ring{})
				}
				b.ReportMetric(float64(time.Since(began).Nanoseconds())/n, "ns/set")
				b.ReportMetric(float64(heap()-before)/n, "B/timer")
				began = time.Now()
				for _, t := range timers {
					t.Cancel()
				}
				b.ReportMetric(float64(time.Since(began).Nanoseconds())/n, "ns/cancel")
			}
		})
	}
}

// BenchmarkTicks is the cost of a tick, from the clock to the end of the handler, with a million
// timers that wait.
func BenchmarkTicks(b *testing.B) {
	for name, actors := range map[string]int{"of-1-actor": 1, "of-1000-actors": 1000} {
		b.Run(name, func(b *testing.B) {
			var left sync.WaitGroup
			sys := newSystem(b, actor.Config{Logger: quiet})
			ctxs := contexts(b, sys, ringingKind(&left), actors)
			for i := range 1_000_000 {
				_, _ = actor.After(ctxs[i%actors], time.Hour, Ring{})
			}
			left.Add(b.N)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				_, _ = actor.After(ctxs[i%actors], 1, Ring{})
			}
			left.Wait()
		})
	}
}
