// Package host contains what all parts of a node share: its clock, its log, its events, and
// the goroutines that end with the node.
package host

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// eventQueue is how many events may wait for OnEvent.
const eventQueue = 256

// Config describes a Host. All fields are required.
type Config struct {
	Name      string // the node's name
	Logger    *slog.Logger
	OnEvent   func(rpc.Event) // called from one goroutine; when it is too slow, events are dropped and counted
	Heartbeat time.Duration   // how often Tick is called
	Random    func() float64  // returns uniform numbers in [0, 1)
}

// Host is what the parts of one node share. All methods may be called concurrently.
type Host struct {
	Config
	start  time.Time
	ctx    context.Context // ends when Stop is called
	stop   context.CancelFunc
	ticked atomic.Int64 // node clock at the last Tick, at most one heartbeat ago
	events chan rpc.Event
	lost   atomic.Uint64 // number of events that were dropped
	owned  sync.WaitGroup
}

// New returns a Host whose clock starts now.
func New(cfg Config) *Host {
	h := &Host{Config: cfg, start: time.Now(), events: make(chan rpc.Event, eventQueue)}
	h.ctx, h.stop = context.WithCancel(context.Background())
	return h
}

// Context returns a context that ends when the node closes.
func (h *Host) Context() context.Context { return h.ctx }

// Go runs f in a goroutine that Wait waits for.
func (h *Host) Go(f func()) { h.owned.Go(f) }

// Stop ends the Context.
func (h *Host) Stop() { h.stop() }

// Wait returns when all goroutines that were started by Go have ended.
func (h *Host) Wait() { h.owned.Wait() }

// Now returns the node's clock: the time since the node started, which does not jump when the
// wall clock is set.
func (h *Host) Now() time.Duration { return time.Since(h.start) }

// At returns the time at which the node's clock shows d.
func (h *Host) At(d time.Duration) time.Time { return h.start.Add(d) }

// Since returns what the node's clock shows at t.
func (h *Host) Since(t time.Time) time.Duration { return t.Sub(h.start) }

// Tick returns the clock and stores it for Ticked.
func (h *Host) Tick() time.Duration {
	now := h.Now()
	h.ticked.Store(int64(now))
	return now
}

// Ticked returns the clock as of the last Tick, which costs less than reading the clock.
func (h *Host) Ticked() time.Duration { return time.Duration(h.ticked.Load()) }

// Passed reports whether the clock has reached at. It reads the clock only if the last Tick is
// not enough to tell.
func (h *Host) Passed(at time.Duration) bool {
	if at-h.Ticked() > 4*h.Heartbeat {
		return false
	}
	return h.Now() >= at
}

// Event queues e for OnEvent. It never blocks, and may be called under any lock.
func (h *Host) Event(e rpc.Event) {
	e.Time = time.Now()
	select {
	case h.events <- e:
	default:
		h.lost.Add(1)
	}
}

// EventsLost returns how many events were dropped because OnEvent was too slow.
func (h *Host) EventsLost() uint64 { return h.lost.Load() }

// Report calls OnEvent with each event until the Context ends. The node runs it in a goroutine
// of its own, so that the application's code runs under no lock of the node.
func (h *Host) Report() {
	for {
		select {
		case e := <-h.events:
			h.OnEvent(e)
		case <-h.ctx.Done():
			return
		}
	}
}

// Jitter returns the pause before the n-th attempt (the first is 0) at something that failed.
func (h *Host) Jitter(n int) time.Duration { return backoff(n, h.Random()) }

// backoff returns the pause before the n-th attempt (the first is 0) at something that
// failed: full jitter over a range that doubles from 50 ms to 2 s. random is uniform in [0, 1).
func backoff(n int, random float64) time.Duration {
	if n <= 0 {
		return 0
	}
	high := min(50*time.Millisecond<<min(n, 10), 2*time.Second)
	return time.Duration(random * float64(high))
}

// LinePad separates fields that are read all the time from fields that change all the time. If
// they were on one cache line, each change would make the other processors load it again.
type LinePad [64]byte
