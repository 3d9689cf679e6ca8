package scale

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/placement/memory"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// where asks an actor on which node it is.
type where struct{ actor.Returns[string] }

func (where) WireName() string { return "scale.where" }

// resident is the state of an actor that says where it is, and stays for ever.
type resident struct{}

func (resident) where(ctx *actor.Context, _ where) (string, error) { return ctx.System().Name(), nil }

var residentKind = actor.Define("resident", func() resident { return resident{} }, actor.Answer(resident.where)).With(actor.Virtual())

// world is a cluster. One goroutine at a time changes it.
type world struct {
	t      testing.TB
	net    *memnet.Network
	claims *memory.Claims
	leases *leases
	live   []*actor.System
}

func newWorld(t testing.TB) *world {
	return &world{t: t, net: memnet.New(memnet.Config{Seed: 1}), claims: memory.New(),
		leases: &leases{Registry: static.New(), end: map[string]*time.Timer{}}}
}

// start starts a node.
func (w *world) start(name string) *actor.System {
	sys, err := actor.NewSystem(actor.Config{Name: name, Registry: view{w.leases, new(atomic.Bool)}, Claims: w.claims, Kinds: []*actor.Kind{residentKind},
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Transports: []transport.Transport{w.net.Transport("direct", true)}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.live = append(w.live, sys)
	return sys
}

// leave shuts a node down.
func (w *world) leave(i int) {
	sys := w.live[i]
	w.live = append(w.live[:i:i], w.live[i+1:]...)
	if err := sys.Shutdown(context.Background()); err != nil {
		w.t.Errorf("shutdown of %s: %v", sys.Name(), err)
	}
}

// die cuts a node off from everything, as if its process had gone: its links break, and its lease runs out.
func (w *world) die(i int) {
	sys := w.live[i]
	w.live = append(w.live[:i:i], w.live[i+1:]...)
	w.leases.cut(sys.Name())
	w.net.Partition("", sys.Name(), "")
	w.net.Reset("", sys.Name(), "")
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	_ = sys.Shutdown(gone) // it reaches nobody
}

// close shuts all nodes down.
func (w *world) close() {
	var all sync.WaitGroup
	for _, sys := range w.live {
		all.Go(func() {
			if err := sys.Shutdown(context.Background()); err != nil {
				w.t.Errorf("shutdown of %s: %v", sys.Name(), err)
			}
		})
	}
	all.Wait()
}

// ask asks a node where an actor is.
func ask(from *actor.System, id string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return actor.Call(ctx, from.Virtual(residentKind, id), where{})
}

// moved is how often attempts have found another node to have the actor.
func (w *world) moved() (n uint64) {
	for _, sys := range w.live {
		n += sys.Stats().Virtual.Moved
	}
	return n
}

// span measures what happens from its beginning on.
type span struct {
	w        *world
	fake     time.Time
	wall     time.Duration
	cpu      time.Duration
	frames   uint64
	registry uint64
}

func (w *world) begin() span {
	return span{w, time.Now(), wall(), cpu(), w.net.Frames(), w.leases.calls.Load()}
}

// report logs what has happened, for each of n things.
func (s span) report(what string, n int) {
	each := func(v float64) float64 { return v / float64(n) }
	s.w.t.Logf("%s, %d: fake time %v; for each wall %.1f µs, CPU %.1f µs, %.3f frames, %.4f calls of the registry", what, n, time.Since(s.fake),
		each(float64((wall()-s.wall).Nanoseconds())/1e3), each(float64((cpu()-s.cpu).Nanoseconds())/1e3), each(float64(s.sent())), each(float64(s.w.leases.calls.Load()-s.registry)))
}

// sent is how many frames were sent.
func (s span) sent() uint64 { return s.w.net.Frames() - s.frames }

// wall is the time outside of bubbles.
func wall() time.Duration {
	var tv syscall.Timeval
	_ = syscall.Gettimeofday(&tv)
	return time.Duration(tv.Nano())
}

// cpu is the processor time of this process.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// heap is the memory in use, with the stacks.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// leases is a registry in memory with leases. It counts the calls that a service would have to answer.
type leases struct {
	*static.Registry
	calls atomic.Uint64

	mu    sync.Mutex // guards what follows
	end   map[string]*time.Timer
	views map[string]view
}

const leaseTime = 15 * time.Second

// view is the registry as one node sees it, which may be cut off.
type view struct {
	*leases
	away *atomic.Bool
}

// reach counts a call. It fails if the view is cut off.
func (v view) reach() error {
	if v.away.Load() {
		return fmt.Errorf("the registry is away")
	}
	v.calls.Add(1)
	return nil
}

// cut cuts off the view of a node.
func (l *leases) cut(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.views[name].away.Store(true)
}

// extend begins the lease of a node anew.
func (v view) extend(name, epoch string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.views == nil {
		v.leases.views = map[string]view{}
	}
	v.views[name] = v
	if old := v.end[name]; old != nil {
		old.Stop()
	}
	v.end[name] = time.AfterFunc(leaseTime, func() { _ = v.Registry.Evict(context.Background(), name, epoch) })
}

func (v view) Lease() time.Duration { return leaseTime }

func (v view) Register(ctx context.Context, n registry.Node) error {
	err := v.reach()
	if err == nil {
		if err = v.Registry.Register(ctx, n); err == nil {
			v.extend(n.Name, n.Epoch)
		}
	}
	return err
}

func (v view) Update(ctx context.Context, n registry.Node) error {
	if err := v.reach(); err != nil {
		return err
	}
	return v.Registry.Update(ctx, n)
}

func (v view) Renew(ctx context.Context, name, epoch string) error {
	err := v.reach()
	if err == nil {
		if err = v.Registry.Renew(ctx, name, epoch); err == nil {
			v.extend(name, epoch)
		}
	}
	return err
}

func (v view) Deregister(ctx context.Context, name, epoch string, last []byte) error {
	if err := v.reach(); err != nil {
		return err
	}
	v.mu.Lock()
	if old := v.end[name]; old != nil {
		old.Stop()
		delete(v.end, name)
	}
	v.mu.Unlock()
	return v.Registry.Deregister(ctx, name, epoch, last)
}

func (v view) Refresh(context.Context, string) error { return v.reach() }
