package rpc_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/internal/promise"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
)

// future is the public side of p.
func future[R any](p *promise.Promise[R]) *rpc.Future[R] { return (*rpc.Future[R])(p) }

// isDecided reports whether f has its result.
func isDecided[R any](f *rpc.Future[R]) bool {
	select {
	case <-f.Done():
		return true
	default:
		return false
	}
}

func decided[R any](v R, err error) *rpc.Future[R] {
	p := new(promise.Promise[R])
	p.Resolve(v, err)
	return future(p)
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

// If the context of an Await ends, the future stays as it was.
func TestFutureAwaitEnds(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := new(promise.Promise[string])
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := future(p).Await(ctx); rpc.CodeOf(err) != rpc.Expired || rpc.Ran(err) != rpc.Unknown {
			t.Errorf("await: %v", err)
		}
		p.Resolve("x", nil)
		if v, err := future(p).Await(ctx); v != "x" || err != nil {
			t.Errorf("got %q, %v", v, err)
		}
	})
}

func TestAll(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		a, b := new(promise.Promise[int]), new(promise.Promise[int])
		f := rpc.All(future(a), decided(2, nil), future(b))
		b.Resolve(3, nil)
		synctest.Wait()
		if isDecided(f) {
			t.Error("decided before all are")
		}
		a.Resolve(1, nil)
		if v, err := f.Await(t.Context()); err != nil || !slices.Equal(v, []int{1, 2, 3}) {
			t.Errorf("all: %v, %v", v, err)
		}
		never := new(promise.Promise[int])
		if v, err := rpc.All(future(never), decided(0, io.EOF)).Await(t.Context()); v != nil || err != io.EOF {
			t.Errorf("one failed: %v, %v", v, err)
		}
		if v, err := rpc.All[int]().Await(t.Context()); len(v) != 0 || err != nil {
			t.Errorf("none: %v, %v", v, err)
		}
	})
}

func TestAny(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		never := new(promise.Promise[int])
		if v, err := rpc.Any(future(never), decided(0, io.EOF), decided(2, nil)).Await(t.Context()); v != 2 || err != nil {
			t.Errorf("any: %d, %v", v, err)
		}
		if _, err := rpc.Any(decided(0, io.EOF), decided(0, io.EOF)).Await(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("all failed: %v", err)
		}
		if _, err := rpc.Any[int]().Await(t.Context()); rpc.CodeOf(err) != rpc.Invalid || rpc.Ran(err) != rpc.NotRun {
			t.Errorf("none: %v", err)
		}
	})
}

// canceler counts how often it is cancelled.
type canceler struct{ cancelled atomic.Int32 }

func (g *canceler) Cancel() { g.cancelled.Add(1) }

// When one future has won, the others are cancelled. If the combination is cancelled, all of
// them are.
func TestLosersAreCancelled(t *testing.T) {
	for _, row := range []struct {
		name    string
		combine func(fs ...*rpc.Future[int]) interface{ Cancel() }
		decide  func(first *promise.Promise[int])
		losers  int32
	}{
		{"All, one failed", func(fs ...*rpc.Future[int]) interface{ Cancel() } { return rpc.All(fs...) }, func(p *promise.Promise[int]) { p.Resolve(0, io.EOF) }, 1},
		{"All, one is there", func(fs ...*rpc.Future[int]) interface{ Cancel() } { return rpc.All(fs...) }, func(p *promise.Promise[int]) { p.Resolve(1, nil) }, 0},
		{"Any, one is there", func(fs ...*rpc.Future[int]) interface{ Cancel() } { return rpc.Any(fs...) }, func(p *promise.Promise[int]) { p.Resolve(1, nil) }, 1},
		{"Any, one failed", func(fs ...*rpc.Future[int]) interface{ Cancel() } { return rpc.Any(fs...) }, func(p *promise.Promise[int]) { p.Resolve(0, io.EOF) }, 0},
		{"Race, one failed", func(fs ...*rpc.Future[int]) interface{ Cancel() } { return rpc.Race(fs...) }, func(p *promise.Promise[int]) { p.Resolve(0, io.EOF) }, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				ps, gs := [3]*promise.Promise[int]{}, [3]canceler{}
				for i := range ps {
					ps[i] = new(promise.Promise[int])
					ps[i].Of(&gs[i])
				}
				f := row.combine(future(ps[0]), future(ps[1]), future(ps[2]))
				row.decide(ps[0])
				synctest.Wait()
				for i := range gs {
					want := row.losers
					if i == 0 {
						want = 0
					}
					if got := gs[i].cancelled.Load(); got != want {
						t.Errorf("%d was cancelled %d times, want %d", i, got, want)
					}
				}
				f.Cancel()
				if row.losers == 0 && gs[1].cancelled.Load() != 1 {
					t.Error("cancelling the combination cancelled nothing")
				}
			})
		})
	}
}

func TestRaceOfFutures(t *testing.T) {
	never := new(promise.Promise[int])
	if _, err := rpc.Race(future(never), decided(0, io.EOF)).Await(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("race: %v", err)
	}
	if _, err := rpc.Race[int]().Await(t.Context()); rpc.CodeOf(err) != rpc.Invalid {
		t.Errorf("none: %v", err)
	}
}
