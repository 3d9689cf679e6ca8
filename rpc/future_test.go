package rpc

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/test/bubble"
)

func decided[R any](v R, err error) *Future[R] {
	p := NewPromise[R](nil)
	p.Resolve(v, err)
	return p.Future()
}

func TestFutureIsDecidedOnce(t *testing.T) {
	p := NewPromise[int](nil)
	if !p.Resolve(1, nil) || p.Resolve(2, io.EOF) {
		t.Fatal("the first Resolve counts, and no other")
	}
	p.Complete(nil, io.EOF)
	if v, err := p.Future().Await(t.Context()); v != 1 || err != nil {
		t.Fatalf("got %d, %v", v, err)
	}
}

func TestFutureResultBeatsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		if v, err := decided(7, nil).Await(ctx); v != 7 || err != nil {
			t.Fatalf("got %d, %v: an available result beats a cancelled context", v, err)
		}
	}
}

// Whatever way one waits, it ends with its context or time-out and leaves the
// future as it was; later waits get the result.
func TestFutureWaitEnds(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var pool Waiters
		p := NewPromise[string](nil)
		f := p.Future()
		for _, waiters := range []*Waiters{nil, &pool} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			began := time.Now()
			if f.Wait(waiters, ctx.Done(), nil) {
				t.Error("decided by nobody")
			}
			if f.Wait(waiters, nil, time.After(time.Second)) {
				t.Error("decided by nobody")
			}
			if took := time.Since(began); took != 2*time.Second {
				t.Errorf("waited %v, want 2s", took)
			}
			cancel()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := f.Await(ctx); CodeOf(err) != Expired || Ran(err) != Unknown {
			t.Errorf("await: %v", err)
		}
		p.Resolve("x", nil)
		if v, err := f.Await(ctx); v != "x" || err != nil {
			t.Errorf("got %q, %v", v, err)
		}
	})
}

// Any number of goroutines wait in every way there is; all get the one result, and
// the reply is decoded once, by one of them.
func TestFutureManyWaiters(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var decodings, ends atomic.Int32
		p := NewPromise(func(r *Reply) (string, error) {
			decodings.Add(1)
			return string(r.Body), nil
		})
		p.OnEnd(func() { ends.Add(1) })
		f := p.Future()
		var pool Waiters
		var got atomic.Int32
		want := func(v string, err error) {
			if v != "x" || err != nil {
				t.Errorf("got %q, %v", v, err)
			}
			got.Add(1)
		}
		for i := range 30 {
			switch i % 3 {
			case 0:
				go func() { want(f.Await(t.Context())) }()
			case 1:
				go func() {
					if f.Wait(&pool, nil, nil) {
						want(f.Await(context.Background()))
					}
				}()
			case 2:
				f.Then(want)
			}
		}
		synctest.Wait()
		select {
		case <-f.Done():
			t.Fatal("done before it was decided")
		default:
		}
		p.Complete(&Reply{Body: []byte("x")}, nil)
		f.Then(want)
		<-f.Done()
		synctest.Wait()
		if got.Load() != 31 || decodings.Load() != 1 || ends.Load() != 1 {
			t.Errorf("%d results, %d decodings, %d ends", got.Load(), decodings.Load(), ends.Load())
		}
		late := false
		p.OnEnd(func() { late = true })
		if !late {
			t.Error("OnEnd after the end was not called")
		}
	})
}

// A result and the end of the wait at the same moment: the token of a reused waiter
// must never reach another future.
func TestFutureRace(t *testing.T) {
	var pool Waiters
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 2000 {
				p := NewPromise[int](nil)
				f := p.Future()
				stop := make(chan struct{})
				go func() { p.Resolve(g*10000+i, nil) }()
				go close(stop)
				f.Wait(&pool, stop, nil)
				if v, err := f.Await(context.Background()); v != g*10000+i || err != nil {
					t.Errorf("got %d, %v", v, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// Futures in one bubble leave nothing behind that a future in another would trip on.
func TestFutureInSeveralBubbles(t *testing.T) {
	for range 3 {
		bubble.Test(t, func(t *testing.T) {
			p := NewPromise[int](nil)
			go p.Resolve(1, nil)
			if v, err := p.Future().Await(t.Context()); v != 1 || err != nil {
				t.Errorf("got %d, %v", v, err)
			}
		})
	}
}

func TestAll(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		a, b := NewPromise[int](nil), NewPromise[int](nil)
		f := All(a.Future(), decided(2, nil), b.Future())
		b.Resolve(3, nil)
		synctest.Wait()
		if f.isDecided() {
			t.Error("decided before all are")
		}
		a.Resolve(1, nil)
		if v, err := f.Await(t.Context()); err != nil || !slices.Equal(v, []int{1, 2, 3}) {
			t.Errorf("all: %v, %v", v, err)
		}
		never := NewPromise[int](nil)
		if v, err := All(never.Future(), decided(0, io.EOF)).Await(t.Context()); v != nil || err != io.EOF {
			t.Errorf("one failed: %v, %v", v, err)
		}
		if v, err := All[int]().Await(t.Context()); len(v) != 0 || err != nil {
			t.Errorf("none: %v, %v", v, err)
		}
	})
}

func TestAny(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		never := NewPromise[int](nil)
		if v, err := Any(never.Future(), decided(0, io.EOF), decided(2, nil)).Await(t.Context()); v != 2 || err != nil {
			t.Errorf("any: %d, %v", v, err)
		}
		if _, err := Any(decided(0, io.EOF), decided(0, io.EOF)).Await(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("all failed: %v", err)
		}
		if _, err := Any[int]().Await(t.Context()); CodeOf(err) != Invalid || Ran(err) != NotRun {
			t.Errorf("none: %v", err)
		}
	})
}

// giver counts how often it is given up.
type giver struct{ given atomic.Int32 }

func (g *giver) GiveUp(Code, string) { g.given.Add(1) }

// The losers are cancelled, and all if the combination is.
func TestLosersAreCancelled(t *testing.T) {
	for _, row := range []struct {
		name    string
		combine func(fs ...*Future[int]) interface{ Cancel() }
		decide  func(first *Promise[int])
		losers  int32
	}{
		{"All, one failed", func(fs ...*Future[int]) interface{ Cancel() } { return All(fs...) }, func(p *Promise[int]) { p.Resolve(0, io.EOF) }, 1},
		{"All, one is there", func(fs ...*Future[int]) interface{ Cancel() } { return All(fs...) }, func(p *Promise[int]) { p.Resolve(1, nil) }, 0},
		{"Any, one is there", func(fs ...*Future[int]) interface{ Cancel() } { return Any(fs...) }, func(p *Promise[int]) { p.Resolve(1, nil) }, 1},
		{"Any, one failed", func(fs ...*Future[int]) interface{ Cancel() } { return Any(fs...) }, func(p *Promise[int]) { p.Resolve(0, io.EOF) }, 0},
		{"Race, one failed", func(fs ...*Future[int]) interface{ Cancel() } { return Race(fs...) }, func(p *Promise[int]) { p.Resolve(0, io.EOF) }, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				ps, gs := [3]*Promise[int]{}, [3]giver{}
				for i := range ps {
					ps[i] = NewPromise[int](nil)
					ps[i].Of(&gs[i])
				}
				f := row.combine(ps[0].Future(), ps[1].Future(), ps[2].Future())
				row.decide(ps[0])
				synctest.Wait()
				for i := range gs {
					want := row.losers
					if i == 0 {
						want = 0
					}
					if got := gs[i].given.Load(); got != want {
						t.Errorf("%d was given up %d times, want %d", i, got, want)
					}
				}
				f.Cancel()
				if row.losers == 0 && gs[1].given.Load() != 1 {
					t.Error("cancelling the combination cancelled nothing")
				}
			})
		})
	}
}

func TestRaceOfFutures(t *testing.T) {
	never := NewPromise[int](nil)
	if _, err := Race(never.Future(), decided(0, io.EOF)).Await(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("race: %v", err)
	}
	if _, err := Race[int]().Await(t.Context()); CodeOf(err) != Invalid {
		t.Errorf("none: %v", err)
	}
}
