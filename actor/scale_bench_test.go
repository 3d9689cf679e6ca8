package actor_test

// What watches, lists and restarts cost when there are many.

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/inspect"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/supervise"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

var manyActors = flag.Int("actors", 100_000, "how many actors are watched in BenchmarkWatches, and listed in BenchmarkListing")

// hearing counts the ends that it hears of.
type hearing struct{ n *atomic.Int64 }

func (h *hearing) Terminated(*actor.Context, actor.Terminated) error { h.n.Add(1); return nil }
func (h *hearing) Run(ctx *actor.Context, m Run) (string, error)     { return m.F(ctx) }

// BenchmarkWatches has one actor watch many, of its own node or of another one over TCP. Then they end: one by
// one, with their node that says so, or with their node without a goodbye.
func BenchmarkWatches(b *testing.B) {
	for _, row := range []struct {
		name  string
		local bool
		end   func(b *testing.B, w *watchWorld)
	}{
		{"local/stopped", true, stopEach},
		{"tcp/stopped", false, stopEach},
		{"tcp/node-leaves", false, func(b *testing.B, w *watchWorld) {
			if err := w.there.Shutdown(context.Background()); err != nil {
				b.Error(err)
			}
		}},
		{"memory/node-dies", false, func(b *testing.B, w *watchWorld) {
			w.net.Partition("", "b", "")
			w.net.Reset("", "b", "")
			if err := w.reg.Evict(context.Background(), "b", w.there.Epoch()); err != nil {
				b.Error(err)
			}
		}},
	} {
		b.Run(row.name, func(b *testing.B) {
			for b.Loop() {
				watches(b, row.name, row.local, row.end)
			}
		})
	}
}

// watchWorld is the two nodes of BenchmarkWatches, and the names of the actors that are watched.
type watchWorld struct {
	reg   *static.Registry
	net   *memnet.Network
	there *actor.System
	names []string
}

func stopEach(b *testing.B, w *watchWorld) {
	for _, name := range w.names {
		if err := w.there.StopNow(context.Background(), w.there.Ref(name)); err != nil {
			b.Fatal(err)
		}
	}
}

func watches(b *testing.B, name string, local bool, end func(*testing.B, *watchWorld)) {
	w := &watchWorld{reg: static.New(), net: memnet.New(memnet.Config{Seed: 1})}
	start := func(node string) *actor.System {
		road := overTCP()
		if strings.HasPrefix(name, "memory/") {
			road = w.net.Transport("direct", true)
		}
		return newSystem(b, actor.Config{Name: node, Registry: w.reg, Logger: quiet, Transports: []transport.Transport{road}})
	}
	here := start("a")
	there := here
	if !local {
		there = start("b")
	}
	w.there = there
	names, refs := make([]string, *manyActors), make([]actor.Ref, *manyActors)
	for i := range names {
		names[i] = fmt.Sprint("x", i)
		spawn(b, there, names[i], PuppetKind)
		refs[i] = here.Ref(names[i] + "@" + there.Name())
	}
	var heard atomic.Int64
	kind := actor.Define("test.hearing", func() *hearing { return &hearing{&heard} }, actor.Handle((*hearing).Terminated), actor.Answer((*hearing).Run))
	by := spawn(b, here, "by", kind)
	before, begun := heap(), time.Now()
	if _, err := actor.Call(b.Context(), by, run(func(ctx *actor.Context) (string, error) {
		for _, r := range refs {
			if err := ctx.Watch(r); err != nil {
				return "", err
			}
		}
		return "", nil
	})); err != nil {
		b.Fatal(err)
	}
	last := refs[len(refs)-1]
	for watched := false; !watched; { // until the other node has the last one
		a, err := here.Inspect(b.Context(), last)
		if err != nil {
			b.Fatal(err)
		}
		watched = a.Watchers == 1
	}
	n := float64(len(refs))
	b.ReportMetric(float64(time.Since(begun).Nanoseconds())/n, "ns/watch")
	b.ReportMetric(float64(heap()-before)/n, "B/watch")
	sent := func() uint64 {
		h, t := here.Stats(), there.Stats()
		return h.Handled + t.Handled + h.RPC.Requests + t.RPC.Requests + h.RPC.Tells + t.RPC.Tells
	}
	time.Sleep(time.Second) // the acks of the watches
	idle := sent()
	time.Sleep(3 * time.Second)
	b.ReportMetric(float64(sent()-idle)/3, "idle-msgs/s")
	w.names = names
	begun = time.Now()
	end(b, w)
	awaitCount(&heard, int64(len(refs)))
	b.ReportMetric(float64(time.Since(begun).Milliseconds()), "ms/all-ended")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkListing lists many actors, again and again, while one sender sends one-way messages to one of them, and
// reports how long the sender has had to wait at most for one send.
func BenchmarkListing(b *testing.B) {
	sys := newSystem(b, actor.Config{Logger: quiet})
	for i := range *manyActors {
		spawn(b, sys, fmt.Sprint("x", i), PuppetKind)
	}
	to := sys.Ref("x0")
	nothing := note(func(*actor.Context) {})
	for _, row := range []struct {
		name string
		list func() int
	}{
		{"none", func() int { time.Sleep(100 * time.Millisecond); return *manyActors }},
		{"all", func() (n int) {
			for range sys.Actors(inspect.Filter{}) {
				n++
			}
			return n
		}},
		{"by-prefix", func() (n int) {
			for range sys.Actors(inspect.Filter{Prefix: "x"}) {
				n++
			}
			return n
		}},
	} {
		b.Run(row.name, func(b *testing.B) {
			var stop atomic.Bool
			gaps := make(chan []time.Duration)
			go func() {
				var all []time.Duration
				for last := time.Now(); !stop.Load(); {
					if err := actor.Tell(context.Background(), to, nothing); err != nil {
						b.Error(err)
						break
					}
					now := time.Now()
					if len(all) < cap(all) || len(all) < 20_000_000 {
						all = append(all, now.Sub(last))
					}
					last = now
				}
				gaps <- all
			}()
			for b.Loop() {
				if n := row.list(); n < *manyActors {
					b.Fatalf("%d actors are listed", n)
				}
			}
			stop.Store(true)
			all := <-gaps
			slices.Sort(all)
			at := func(q float64) float64 { return float64(all[int(q*float64(len(all)-1))].Nanoseconds()) / 1e3 }
			b.ReportMetric(at(0.5), "p50-µs")
			b.ReportMetric(at(0.9999), "p99.99-µs")
			b.ReportMetric(at(1), "max-µs")
			b.ReportMetric(float64(len(all))/b.Elapsed().Seconds(), "tells/s")
		})
	}
}

// logSize counts the lines and the bytes of a log.
type logSize struct{ lines, bytes atomic.Int64 }

func (l *logSize) Write(p []byte) (int, error) {
	l.lines.Add(1)
	l.bytes.Add(int64(len(p)))
	return len(p), nil
}

// BenchmarkRestarts sends messages that panic to an actor until it has stopped, which takes some 10 seconds with the
// default strategy; and to one that is restarted without a back-off, 10,000 times at most.
func BenchmarkRestarts(b *testing.B) {
	for _, row := range []struct {
		name string
		s    supervise.Strategy
	}{
		{"default", supervise.Strategy{}},
		{"no-back-off", supervise.Strategy{Max: supervise.MaxRestarts, Window: time.Hour, Backoff: 1, MaxBackoff: 1}},
	} {
		b.Run(row.name, func(b *testing.B) {
			for b.Loop() {
				var size logSize
				sys := newSystem(b, actor.Config{Logger: slog.New(slog.NewTextHandler(&size, nil))})
				x := spawn(b, sys, "x", PuppetKind.With(actor.Supervise(row.s)))
				events := sys.Events(b.Context(), actor.ActorStopped)
				begun, stop := time.Now(), make(chan struct{})
				go func() {
					for {
						select {
						case <-stop:
							return
						default:
							_ = actor.Tell(context.Background(), x, crash())
						}
					}
				}()
				<-events
				took := time.Since(begun)
				close(stop)
				restarts := float64(sys.Stats().Panics - 1)
				b.ReportMetric(restarts, "restarts")
				b.ReportMetric(restarts/took.Seconds(), "restarts/s")
				b.ReportMetric(float64(size.lines.Load()), "log-lines")
				b.ReportMetric(float64(size.bytes.Load()), "log-bytes")
			}
		})
	}
}
