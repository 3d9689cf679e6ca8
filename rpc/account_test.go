package rpc

import (
	"sync"
	"testing"
	"time"
)

// One principal alone has half, two have a third each, and whatever they hold a third one
// finds room for as much as is left free.
func TestShares(t *testing.T) {
	var a account
	a.init(1200, 0, 16)
	fill := func(s *share) (n int) {
		for s.hold(1) {
			n++
		}
		return n
	}
	x, y, z := a.of("x"), a.of("y"), a.of("z")
	if n := fill(x); n != 600 {
		t.Errorf("one alone holds %d", n)
	}
	if n := fill(y); n != 300 {
		t.Errorf("the second holds %d", n)
	}
	if n := fill(z); n != 150 {
		t.Errorf("the third holds %d", n)
	}
	x.free(600)
	if n := fill(y); n != 75+150 { // (1200-150)/2
		t.Errorf("the second holds %d more once the first has left", n)
	}
	y.free(525)
	z.free(150)
	if a.all.Load() != 0 {
		t.Errorf("%d bytes are counted, and nothing is there", a.all.Load())
	}
	for !x.holdLarge(450) || x.holdLarge(1) {
		t.Fatal("large ones: want 450, so that a quarter of all is left free")
	}
	if !x.hold(150) || x.hold(1) {
		t.Error("beside large ones there is room for small ones")
	}
}

// Concurrent holds never exceed a limit, and what is freed is free.
func TestSharesConcurrently(t *testing.T) {
	var a account
	a.init(1<<20, 0, 16)
	var owned sync.WaitGroup
	for i := range 8 {
		s := a.of(string(rune('a' + i%3)))
		owned.Go(func() {
			for range 2000 {
				held := 0
				for s.hold(1000) {
					held += 1000
				}
				if s.used.Load() < 0 || a.all.Load() > 1<<20+8*1000 { // those that are about to be refused
					t.Error("over the limit")
				}
				s.free(held)
			}
			s.leave()
		})
	}
	owned.Wait()
	if a.all.Load() != 0 {
		t.Errorf("%d bytes are counted", a.all.Load())
	}
	a.sweep(0)
	if len(a.shares) != 0 {
		t.Errorf("%d shares are left", len(a.shares))
	}
}

// A share lives until nobody uses it, nothing is held, and its opens are of no account.
func TestSharesAreForgotten(t *testing.T) {
	var a account
	a.init(1000, 0, 16)
	s := a.of("x")
	s.hold(10)
	for range a.openBurst {
		if !s.open(0) {
			t.Fatal("within the burst")
		}
	}
	if s.open(0) || !s.open(time.Second) || s.open(time.Second) {
		t.Error("beyond the burst there is one for each second")
	}
	s.leave()
	a.sweep(time.Second)
	if a.of("x") != s {
		t.Error("forgotten with bytes and opens")
	}
	s.leave()
	s.free(10)
	a.sweep(2 * time.Second)
	if a.of("x") != s {
		t.Error("forgotten with opens: who comes again would have all anew")
	}
	s.leave()
	a.sweep(time.Minute + 10*time.Second)
	if len(a.shares) != 0 {
		t.Error("not forgotten")
	}
}

// A quota of sessions leaves some for others.
func TestSessionShares(t *testing.T) {
	var a account
	a.init(1000, 0, 16)
	x, y, all := a.of("x"), a.of("y"), 0
	fill := func(s *share) int {
		for s.enter(all) == nil {
			s.sessions++
			all++
		}
		return s.sessions
	}
	if n := fill(x); n != 12 {
		t.Errorf("one alone has %d", n)
	}
	if n := fill(y); n != 3 {
		t.Errorf("the second has %d", n)
	}
	x.sessions, y.sessions = 15, 1
	if err := y.enter(16); err == nil || err.Code != Overloaded || err.Verdict != NotRun {
		t.Errorf("when all are taken: %v", err)
	}
}
