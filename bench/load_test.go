package main

import (
	"errors"
	"sync"
	"testing"
	"time"
)

func TestAsks(t *testing.T) {
	got, failing := new(tally), errors.New("refused")
	failed := make(chan struct{})
	once := sync.OnceFunc(func() { close(failed) })
	a := &asks{callers: 3, executed: got, stop: func() {}, do: func(caller int) error {
		got.add()
		if caller == 2 {
			once()
			return failing
		}
		<-failed // or the others might take all the time there is
		return nil
	}}
	s := a.measure(time.Millisecond)
	if s.sent != s.executed || s.ops+s.errors != s.sent || s.errors == 0 || s.err != failing || s.lat.n == 0 {
		t.Errorf("sent %d, executed %d, ops %d, errors %d (%v), timed %d", s.sent, s.executed, s.ops, s.errors, s.err, s.lat.n)
	}
}

func TestTells(t *testing.T) {
	ch, got := make(chan int, 8), newArrivals()
	rig := &tells{producers: 2, burst: 1000, arrived: got, stop: drained(ch, got), do: func(int) error { ch <- 1; return nil }}
	defer rig.close()
	for range 2 {
		if s := rig.measure(time.Millisecond); s.sent != s.executed || s.sent == 0 || s.sent%1000 != 0 || s.errors != 0 {
			t.Errorf("sent %d, executed %d, errors %d", s.sent, s.executed, s.errors)
		}
	}
}

func TestArrivalsBeyondTheTarget(t *testing.T) {
	a := newArrivals()
	a.target.Store(2)
	for range 3 {
		a.add()
	}
	<-a.done
	if n := a.over.Load(); n != 1 {
		t.Errorf("%d beyond the target, want 1", n)
	}
}
