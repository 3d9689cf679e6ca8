package account

import (
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/internal/engine/host"
	"github.com/tandem-go/tandem/rpc"
)

// A principal that is alone may have half, two may have a third each, and whatever they hold, a
// third one finds as much room as is left free.
func TestShares(t *testing.T) {
	a := New(host.New(host.Config{}), 1200, 0, 16)
	fill := func(s *Share) (n int) {
		for s.Hold(1) {
			n++
		}
		return n
	}
	x, y, z := a.Share("x"), a.Share("y"), a.Share("z")
	if n := fill(x); n != 600 {
		t.Errorf("one alone holds %d", n)
	}
	if n := fill(y); n != 300 {
		t.Errorf("the second holds %d", n)
	}
	if n := fill(z); n != 150 {
		t.Errorf("the third holds %d", n)
	}
	x.Free(600)
	if n := fill(y); n != 75+150 { // (1200-150)/2
		t.Errorf("the second holds %d more once the first has left", n)
	}
	y.Free(525)
	z.Free(150)
	if a.Held() != 0 {
		t.Errorf("%d bytes are counted, and nothing is there", a.Held())
	}
	for !x.HoldLarge(450) || x.HoldLarge(1) {
		t.Fatal("large ones: want 450, so that a quarter of all is left free")
	}
	if !x.Hold(150) || x.Hold(1) {
		t.Error("beside large ones there is room for small ones")
	}
}

// Concurrent holds never exceed a limit, and all of what is freed is free again.
func TestSharesConcurrently(t *testing.T) {
	a := New(host.New(host.Config{}), 1<<20, 0, 16)
	var owned sync.WaitGroup
	for i := range 8 {
		s := a.Share(string(rune('a' + i%3)))
		owned.Go(func() {
			for range 2000 {
				held := 0
				for s.Hold(1000) {
					held += 1000
				}
				if s.Used() < 0 || a.Held() > 1<<20+8*1000 { // those that are about to be refused
					t.Error("over the limit")
				}
				s.Free(held)
			}
			s.Leave()
		})
	}
	owned.Wait()
	if a.Held() != 0 {
		t.Errorf("%d bytes are counted", a.Held())
	}
	a.Sweep(0)
	if len(a.shares) != 0 {
		t.Errorf("%d shares are left", len(a.shares))
	}
}

// A share is kept until nobody uses it, it holds nothing, and its recent opens do not matter
// any more.
func TestSharesAreForgotten(t *testing.T) {
	a := New(host.New(host.Config{}), 1000, 0, 16)
	s := a.Share("x")
	s.Hold(10)
	for range a.openBurst {
		if !s.AllowOpen(0) {
			t.Fatal("within the burst")
		}
	}
	if s.AllowOpen(0) || !s.AllowOpen(time.Second) || s.AllowOpen(time.Second) {
		t.Error("beyond the burst there is one for each second")
	}
	s.Leave()
	a.Sweep(time.Second)
	if a.Share("x") != s {
		t.Error("forgotten with bytes and opens")
	}
	s.Leave()
	s.Free(10)
	a.Sweep(2 * time.Second)
	if a.Share("x") != s {
		t.Error("forgotten with opens: who comes again would have all anew")
	}
	s.Leave()
	a.Sweep(time.Minute + 10*time.Second)
	if len(a.shares) != 0 {
		t.Error("not forgotten")
	}
}

// A principal's sessions leave some for others.
func TestSessionShares(t *testing.T) {
	a := New(host.New(host.Config{}), 1000, 0, 16)
	x, y := a.Share("x"), a.Share("y")
	fill := func(s *Share) (n int) {
		for s.OpenSession() == nil {
			n++
		}
		return n
	}
	if n := fill(x); n != 12 {
		t.Errorf("one alone has %d", n)
	}
	if n := fill(y); n != 3 {
		t.Errorf("the second has %d", n)
	}
	x.CloseSession()
	if n := fill(y) + fill(x); n != 1 {
		t.Errorf("%d fit where one was closed", n)
	}
	if err := y.OpenSession(); err == nil || err.Code != rpc.Overloaded || err.Verdict != rpc.NotRun {
		t.Errorf("when all that it may have are taken: %v", err)
	}
}

// When all sessions are taken, nobody gets one.
func TestAllSessionsTaken(t *testing.T) {
	a := New(host.New(host.Config{}), 1000, 0, 2)
	for _, name := range []string{"x", "y"} {
		if err := a.Share(name).OpenSession(); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Share("z").OpenSession(); err == nil || err.Code != rpc.Overloaded || err.Verdict != rpc.NotRun {
		t.Errorf("when all are taken: %v", err)
	}
}
