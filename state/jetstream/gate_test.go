package jetstream

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// Commits enter while there is room for them, in order; one that is larger than all enters alone.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(3, 100)
		ctx, cancel := context.WithCancel(t.Context())
		var entered []int
		var mu sync.Mutex
		enter := func(size int) {
			go func() {
				if g.enter(ctx, size) == nil {
					mu.Lock()
					entered = append(entered, size)
					mu.Unlock()
				}
			}()
			synctest.Wait()
		}
		want := func(sizes ...int) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			slices.Sort(entered) // those that enter at once are noted in any order
			slices.Sort(sizes)
			if !slices.Equal(entered, sizes) {
				t.Fatalf("entered %v, want %v", entered, sizes)
			}
		}
		enter(60)
		enter(50) // waits for bytes
		enter(10) // would fit, and waits for its turn
		want(60)
		g.leave(60)
		want(60, 50, 10)
		enter(1)
		enter(2) // waits for a place
		want(60, 50, 10, 1)
		g.leave(50)
		want(60, 50, 10, 1, 2)
		enter(500)
		g.leave(10)
		g.leave(1)
		want(60, 50, 10, 1, 2)
		g.leave(2)
		want(60, 50, 10, 1, 2, 500)
		enter(1)
		want(60, 50, 10, 1, 2, 500)
		cancel()
		synctest.Wait()
		g.leave(500)
		if g.enter(t.Context(), 100) != nil || len(g.waiting) != 0 {
			t.Errorf("%+v", g)
		}
		g.leave(100)
		if g.commits != 3 || g.bytes != 100 {
			t.Errorf("%+v", g)
		}
	})
}

// Under many callers, some of which give up, the bounds hold and nothing leaks.
func TestGateCrowd(t *testing.T) {
	g := newGate(4, 100)
	var commits, bytes atomic.Int64
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			size := 1 + i%70
			for n := range 200 {
				ctx, cancel := context.WithCancel(t.Context())
				if n%3 == i%3 {
					go cancel()
				}
				if g.enter(ctx, size) == nil {
					if commits.Add(1) > 4 || bytes.Add(int64(size)) > 100 {
						t.Error("too many")
					}
					bytes.Add(-int64(size))
					commits.Add(-1)
					g.leave(size)
				}
				cancel()
			}
		})
	}
	all.Wait()
	if g.commits != 4 || g.bytes != 100 || len(g.waiting) != 0 {
		t.Errorf("%+v", g)
	}
}
