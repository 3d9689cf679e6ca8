// The README's table of promises, put to the test on roads with faults, on the clock
// of a bubble.
package main_test

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

type (
	Line struct{ N int }
	Item struct {
		actor.Returns[int]
		N int
	}
)

// Log keeps what ran, in order. Its own lock lets the test read it.
type Log struct {
	mu    sync.Mutex // guards what follows
	lines []int
	items []int
}

func (l *Log) Line(ctx *actor.Context, m Line) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, m.N)
	return nil
}

func (l *Log) Item(ctx *actor.Context, m Item) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.items = append(l.items, m.N)
	return m.N, nil
}

func (l *Log) ran() (lines, items []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines), slices.Clone(l.items)
}

// faulty joins two systems by a direct road and a bus in memory, and spawns a log on b.
func faulty(t *testing.T) (net *memnet.Network, a *actor.System, log *Log) {
	net, log = memnet.New(memnet.Config{Seed: 7}), new(Log)
	reg := static.New()
	start := func(name string) *actor.System {
		sys, err := actor.NewSystem(actor.Config{Name: name, Registry: reg, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
			Transports: []transport.Transport{net.Transport("tcp", true), net.Transport("nats", false)}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := sys.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		})
		return sys
	}
	a, b := start("a"), start("b")
	kind := actor.Define("log", func() *Log { return log }, actor.Handle((*Log).Line), actor.Answer((*Log).Item))
	if _, err := b.Spawn("log", kind); err != nil {
		t.Fatal(err)
	}
	return net, a, log
}

// TestNothingRunsTwice sends over a bus that loses, doubles and reorders, and over a
// direct road whose links are reset time and again.
func TestNothingRunsTwice(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		net, a, log := faulty(t)
		net.SetFaults("nats", "", "", memnet.Faults{MaxDelay: 5 * time.Millisecond, Drop: 0.02, Duplicate: 0.1, Reorder: 0.1})
		net.SetFaults("tcp", "", "", memnet.Faults{MaxDelay: 5 * time.Millisecond})
		ref := a.Ref("log@b")
		const count = 2000
		var resets sync.WaitGroup
		defer resets.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		resets.Go(func() {
			for ctx.Err() == nil {
				time.Sleep(50 * time.Millisecond)
				net.Reset("tcp", "a", "b")
			}
		})
		var futures []*rpc.Future[int]
		for i := range count {
			if err := actor.Tell(t.Context(), ref, Line{i}); err != nil {
				t.Fatal(err)
			}
			futures = append(futures, actor.Ask(t.Context(), ref, Item{N: i}))
			time.Sleep(time.Millisecond)
		}
		for i, f := range futures {
			if n, err := f.Await(t.Context()); n != i || err != nil {
				t.Errorf("request %d: %d, %v", i, n, err)
			}
		}
		lines, items := log.ran()
		if slices.Sort(items); len(items) != count || len(slices.Compact(items)) != count {
			t.Errorf("%d requests ran, want %d, each once", len(items), count)
		}
		if !slices.IsSorted(lines) || len(slices.Compact(slices.Clone(lines))) != len(lines) {
			t.Errorf("one-way messages ran twice or out of order: %v", lines)
		}
		st := a.Stats().RPC
		if st.Resent == 0 || st.RoadChanges < 10 || len(lines) < count/2 {
			t.Errorf("too little happened: %d resent, %d changes of road, %d of %d one-way messages", st.Resent, st.RoadChanges, len(lines), count)
		}
	})
}

// TestNeverSilence cuts both roads while requests are under way.
func TestNeverSilence(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		net, a, _ := faulty(t)
		ref := a.Ref("log@b")
		if _, err := actor.Call(t.Context(), ref, Item{}); err != nil {
			t.Fatal(err)
		}
		net.Partition("", "a", "b")
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := actor.Call(ctx, ref, Item{}); rpc.CodeOf(err) != rpc.Expired || time.Since(start) > 3*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		start = time.Now()
		if _, err := actor.Ask(t.Context(), ref, Item{}).Await(t.Context()); err == nil || time.Since(start) > actor.DefaultTimeout {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		net.Heal("", "a", "b")
	})
}
