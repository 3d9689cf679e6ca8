package main

import (
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

func TestSchedule(t *testing.T) {
	s, again := newSchedule(1000, 7), newSchedule(1000, 7)
	var last time.Duration
	for range 100_000 {
		at := s.next()
		if at < last || at != again.next() {
			t.Fatalf("%v after %v", at, last)
		}
		last = at
	}
	if got := 100_000 / last.Seconds(); math.Abs(got-1000) > 20 {
		t.Errorf("%v a second, want 1000", got)
	}
}

// One server that takes 10 ms, two slots: what is offered beyond comes back at once, and
// what is served was at most one turn behind.
func TestOpenLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := make(chan struct{}, 1)
		serve := func(uint64) error {
			server <- struct{}{}
			time.Sleep(10 * time.Millisecond)
			<-server
			return nil
		}
		f := openLoop{rate: 1000, d: 10 * time.Second, slots: 2, seed: 1, ask: serve}.run()
		if f.ok+f.refused != f.offered || f.unsure != 0 || math.Abs(f.goodput()-100) > 2 {
			t.Errorf("offered %d, ok %d, refused %d, unsure %d; %v a second", f.offered, f.ok, f.refused, f.unsure, f.goodput())
		}
		if p := f.accepted.quantile(1); p > 21*time.Millisecond {
			t.Errorf("served after %v", p)
		}
		if p := f.refusals.quantile(1); p > time.Microsecond {
			t.Errorf("refused after %v", p)
		}
		closed := openLoop{d: 10 * time.Second, slots: 2, ask: serve}.run()
		if math.Abs(closed.goodput()-100) > 1 || closed.refused != 0 {
			t.Errorf("closed loop: %v a second, %d refused", closed.goodput(), closed.refused)
		}
	})
}

func TestOpenLoopOutcomes(t *testing.T) {
	lost := errors.New("lost")
	f := openLoop{rate: 10_000, d: 30 * time.Millisecond, slots: 1000, ask: func(n uint64) error {
		switch n % 3 {
		case 0:
			return rpc.Errorf(rpc.Overloaded, rpc.NotRun, "full")
		case 1:
			return lost
		}
		return nil
	}}.run()
	if f.ok == 0 || f.refused == 0 || f.unsure == 0 || f.ok+f.refused+f.unsure != f.offered || f.err != lost {
		t.Errorf("offered %d, ok %d, refused %d, unsure %d (%v)", f.offered, f.ok, f.refused, f.unsure, f.err)
	}
	if f.heapPeak == 0 || f.peak == 0 {
		t.Errorf("%d bytes, %d goroutines", f.heapPeak, f.peak)
	}
}

func TestMiddle(t *testing.T) {
	m := middle([]mark{{Way: "w", Load: 2, P99: 3, Goodput: 10}, {P99: 1, Goodput: 30}, {P99: 2, Goodput: 20}})
	if m.Way != "w" || m.Load != 2 || m.P99 != 2 || m.Goodput != 20 {
		t.Errorf("%+v", m)
	}
}

func TestJudge(t *testing.T) {
	var s strain
	var w way
	for _, s = range strains() {
		for _, w = range s.ways {
			if w.advised {
				break
			}
		}
		if !w.advised {
			t.Errorf("%s: no way is advised", s.name)
		}
	}
	m := mark{Strain: s.name, Road: "TCP", Way: w.name, Capacity: 100}
	at := func(load, goodput, p99, refused, heap float64) mark {
		m.Load, m.Goodput, m.P99, m.Refused99, m.Heap = load, goodput, p99, refused, heap
		return m
	}
	for _, c := range []struct {
		marks  []mark
		missed string
	}{
		{[]mark{at(0.8, 80, 10, 0, 50), at(2, 95, 20, 5, 60)}, ""},
		{[]mark{at(0.8, 80, 10, 0, 50), at(2, 80, 20, 5, 60)}, "goodput"},
		{[]mark{at(0.8, 80, 10, 0, 50), at(1, 110, 10, 0, 50), at(2, 95, 20, 5, 60)}, "goodput"},
		{[]mark{at(0.8, 80, 10, 0, 50), at(2, 95, 21, 5, 60)}, "p99 of accepted"},
		{[]mark{at(0.8, 80, 10, 0, 50), at(2, 95, 20, 6, 60)}, "p99 of refusals"},
		{[]mark{at(0.8, 80, 10, 0, 50), at(2, 95, 20, 5, 200)}, "heap"},
	} {
		var missed []string
		for _, j := range judge(c.marks) {
			if !j.met {
				missed = append(missed, j.String())
			}
		}
		if got := strings.Join(missed, "; "); (c.missed == "") != (got == "") || !strings.Contains(got, c.missed) || len(missed) > 1 {
			t.Errorf("missed %q, want %q", got, c.missed)
		}
	}
}
