package actor_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
)

// keeping is a kind that hands out the contexts of what it is asked, and looks at none.
func keeping(to chan<- keptContext) *actor.Kind {
	return actor.Define("test.keeping", func() int { return 0 },
		actor.Answer(func(_ int, ctx *actor.Context, m Hours) (int, error) {
			to <- keptContext{ctx, m.N}
			return m.N, nil
		}))
}

// A context that nobody looked at while its handler ran has ended all the same.
func TestKeptContextLookedAtLater(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		kept := make(chan keptContext, 3)
		to := bind(spawn(t, b, "x", keeping(kept)))
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		for range 3 {
			if _, err := actor.Call(ctx, to, Hours{N: 1}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if at, ok := (<-kept).Deadline(); ok {
			t.Errorf("deadline %v of a request that is over", at)
		}
		if (<-kept).Err() == nil {
			t.Error("it has not ended")
		}
		ran := make(chan struct{})
		(<-kept).AfterFunc(func() { close(ran) })
		<-ran
	})
}

// Goroutines that look at contexts while the handlers return find the deadline of that
// request or none, and each context ends.
func TestKeptContextsFromElsewhere(t *testing.T) {
	const requests = 200
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		kept := make(chan keptContext)
		to := bind(spawn(t, b, "x", keeping(kept)))
		var looking sync.WaitGroup
		for range 4 {
			looking.Go(func() {
				for k := range kept {
					for _, look := range []func(){
						func() { <-k.Done() },
						func() {
							over := make(chan struct{})
							k.AfterFunc(func() { close(over) })
							<-over
						},
						func() {
							ctx, cancel := context.WithCancel(k.Context)
							defer cancel()
							<-ctx.Done()
						},
						func() { k.Value("none"); _, _ = k.Sender(), k.Trace() },
						func() {
							for range 20 {
								if n := hoursLeft(k); n != 0 && n != k.hours {
									t.Errorf("the context of a request of %d h says %d h", k.hours, n)
								}
							}
						},
					} {
						looking.Go(look)
					}
				}
			})
		}
		var asking sync.WaitGroup
		for caller := range 4 {
			asking.Go(func() {
				for i := range requests / 4 {
					n := 1 + 4*i + caller
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n)*time.Hour)
					if _, err := actor.Call(ctx, to, Hours{N: n}); err != nil {
						t.Error(err)
					}
					cancel()
				}
			})
		}
		asking.Wait()
		close(kept)
		looking.Wait()
	})
}
