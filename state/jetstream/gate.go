package jetstream

import (
	"context"
	"sync"
)

// gate bounds how many commits are under way, and their bytes. Those that wait enter in order.
type gate struct {
	mu      sync.Mutex // guards what follows
	commits int        // how many more may enter
	bytes   int        // and with how many bytes; negative while one larger than all is inside
	most    int
	waiting []*waiter
}

type waiter struct {
	size    int
	entered chan struct{} // closed, under the lock, when it has entered
}

func newGate(commits, bytes int) *gate { return &gate{commits: commits, bytes: bytes, most: bytes} }

// tryEnter is enter for one that does not wait: it returns false if it would have to.
func (g *gate) tryEnter(size int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.passes(size)
}

// passes has a commit enter if none waits and there is room.
func (g *gate) passes(size int) bool {
	if len(g.waiting) > 0 || !g.fits(size) {
		return false
	}
	g.take(size)
	return true
}

// enter waits until a commit of size bytes may be made. After nil, leave must be called.
func (g *gate) enter(ctx context.Context, size int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	g.mu.Lock()
	if g.passes(size) {
		g.mu.Unlock()
		return nil
	}
	w := &waiter{size, make(chan struct{})}
	g.waiting = append(g.waiting, w)
	g.mu.Unlock()
	select {
	case <-w.entered:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, other := range g.waiting {
		if other == w {
			g.waiting = append(g.waiting[:i], g.waiting[i+1:]...)
			g.admit() // it may have held up a smaller one
			return ctx.Err()
		}
	}
	return nil // it has entered meanwhile
}

// leave ends a commit of size bytes.
func (g *gate) leave(size int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.commits++
	g.bytes += size
	g.admit()
}

// fits reports whether a commit may enter. One that is larger than all bytes may if it is alone.
func (g *gate) fits(size int) bool {
	return g.commits > 0 && (size <= g.bytes || g.bytes == g.most)
}

func (g *gate) take(size int) {
	g.commits--
	g.bytes -= size
}

// admit lets those in front enter.
func (g *gate) admit() {
	for len(g.waiting) > 0 && g.fits(g.waiting[0].size) {
		w := g.waiting[0]
		g.waiting[0] = nil
		g.waiting = g.waiting[1:]
		g.take(w.size)
		close(w.entered)
	}
}
