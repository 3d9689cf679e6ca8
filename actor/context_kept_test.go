package actor_test

// Contexts that somebody keeps after their handler has returned.

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Hours is sent with a deadline of N hours, and answered with the number of hours that the
// handler found in its context.
type Hours struct {
	actor.Returns[int]
	N int
}

func (Hours) WireName() string { return "test.Hours" }

// Keeper keeps the contexts of its requests.
type Keeper struct{ kept chan<- keptContext }

type keptContext struct {
	*actor.Context
	hours int
}

func (k *Keeper) Hours(ctx *actor.Context, m Hours) (int, error) {
	k.kept <- keptContext{ctx, m.N}
	return hoursLeft(ctx), nil
}

// hoursLeft returns how many hours ctx has until its deadline, and 0 if it has no deadline.
func hoursLeft(ctx context.Context) int {
	at, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return int(time.Until(at).Round(time.Hour) / time.Hour)
}

// A context that is kept ends with its handler. It never shows anything of another request,
// although the memory of the two requests may be the same.
func TestKeptContexts(t *testing.T) {
	const requests = 200
	for _, where := range []string{"same node", "another node"} {
		t.Run(where, func(t *testing.T) {
			world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
				kept := make(chan keptContext, requests)
				kind := actor.Define("test.keeper", func() *Keeper { return &Keeper{kept} }, actor.Answer((*Keeper).Hours))
				ref := spawn(t, b, "keeper", kind)
				if where == "another node" {
					ref = a.Ref("keeper@b")
				}
				var looking sync.WaitGroup
				var all []keptContext
				looking.Go(func() {
					for k := range kept { // while its handler returns
						if n := hoursLeft(k); n != 0 && n != k.hours {
							t.Errorf("the context of a request of %d h says %d h", k.hours, n)
						}
						all = append(all, k)
						for _, k := range all[max(0, len(all)-10):] {
							if n := hoursLeft(k); n != 0 && n != k.hours {
								t.Errorf("the context of a request of %d h says %d h", k.hours, n)
							}
						}
					}
				})
				var asking sync.WaitGroup
				for caller := range 4 {
					asking.Go(func() {
						for i := range requests / 4 {
							want := 1 + 4*i + caller
							ctx, cancel := context.WithTimeout(t.Context(), time.Duration(want)*time.Hour)
							if n, err := actor.Call(ctx, ref, Hours{N: want}); n != want || err != nil {
								t.Errorf("in a handler of %d h: %d h, %v", want, n, err)
							}
							cancel()
						}
					})
				}
				asking.Wait()
				close(kept)
				looking.Wait()
				synctest.Wait() // a caller has its reply before the handler's context ends
				if len(all) != requests {
					t.Fatalf("%d contexts kept", len(all))
				}
				for _, k := range all {
					select {
					case <-k.Done():
					default:
						t.Fatalf("the context of a request of %d h has not ended", k.hours)
					}
					if _, ok := k.Deadline(); ok || k.Err() == nil {
						t.Fatalf("the context of a request of %d h that is over: deadline %v, error %v", k.hours, ok, k.Err())
					}
				}
			})
		})
	}
}

// keeping is a kind whose handler passes its context on to the test, and does not look at it.
func keeping(to chan<- keptContext) *actor.Kind {
	return actor.Define("test.keeping", func() int { return 0 },
		actor.Answer(func(_ int, ctx *actor.Context, m Hours) (int, error) {
			to <- keptContext{ctx, m.N}
			return m.N, nil
		}))
}

// A context that nobody looked at while its handler ran has ended nevertheless.
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

// The context of a request whose answer is deferred lives until the request is answered or
// cancelled, and no longer.
func TestKeptContextOfDeferred(t *testing.T) {
	type put struct {
		*actor.Context
		later *actor.Deferred[int]
	}
	for name, end := range map[string]func(p put, giveUp func()){
		"answered": func(p put, _ func()) { _ = p.later.Answer(1) },
		"failed":   func(p put, _ func()) { _ = p.later.Fail(context.Canceled) },
		"given up": func(_ put, giveUp func()) { giveUp() },
		"expired":  func(put, func()) { time.Sleep(time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
				kept := make(chan put, 1)
				to := bind(spawn(t, b, "x", actor.Define("test.puttingoff", func() int { return 0 },
					actor.Answer(func(_ int, ctx *actor.Context, _ Hours) (int, error) {
						kept <- put{ctx, actor.Defer[int](ctx)}
						return 0, nil
					}))))
				ctx, giveUp := context.WithTimeout(t.Context(), time.Hour)
				defer giveUp()
				f := actor.Ask(ctx, to, Hours{})
				p := <-kept
				other := actor.Ask(ctx, to, Hours{}) // if memory is reused too early, its handler has that of the first
				later := <-kept
				synctest.Wait()
				derived, cancel := context.WithCancel(p.Context)
				defer cancel()
				if derived.Err() != nil || hoursLeft(p) != 1 {
					t.Errorf("before the answer: %v, %d h left", derived.Err(), hoursLeft(p))
				}
				end(p, giveUp)
				_, _ = f.Await(t.Context())
				synctest.Wait()
				if _, ok := p.Deadline(); ok || p.Err() == nil || derived.Err() == nil {
					t.Errorf("afterwards: deadline %v, error %v, derived %v", ok, p.Err(), derived.Err())
				}
				_ = later.later.Answer(2)
				_, _ = other.Await(t.Context())
				runtime.KeepAlive(p.later) // if the Deferred were collected, that would end the request
			})
		})
	}
}
