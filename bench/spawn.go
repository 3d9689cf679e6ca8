package main

import (
	"fmt"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	proto "github.com/asynkron/protoactor-go/actor"

	"github.com/tandem-go/tandem/actor"
)

// Names of what scenario spawn measures beside its speed.
const (
	bytesPerActor = "bytes_per_idle_actor"
	actorsAlive   = "actors"
)

func spawnScenario() scenario {
	return scenario{
		name:  "spawn",
		about: "actors started one after another under names of their own; then what an idle one holds of the heap",
		peers: []peer{
			{name: "tandem", role: ours, start: func(e *env) (rig, error) { return spawns{e.actors, spawnTandem}, nil }},
			{name: "protoactor", role: rival, note: "each has run its Started message", start: func(e *env) (rig, error) { return spawns{e.actors, spawnProto}, nil }},
		},
	}
}

// spawns is a rig that starts n actors in a fresh system and drops it.
type spawns struct {
	n     int
	spawn func(n int) (crowd, error)
}

// crowd is a system with many actors.
type crowd interface {
	alive() int
	close()
}

func (s spawns) close() {}

// measure starts all of them, however long it takes.
func (s spawns) measure(time.Duration) (out sample) {
	before := heap()
	costs := costsNow()
	start := time.Now()
	c, err := s.spawn(s.n)
	if err != nil {
		return sample{errors: 1, err: err}
	}
	out.elapsed = time.Since(start)
	out.costs = costsNow().minus(costs)
	out.ops, out.sent, out.executed = uint64(s.n), uint64(s.n), uint64(c.alive())
	out.values = map[string]float64{actorsAlive: float64(c.alive()), bytesPerActor: float64(heap()-before) / float64(s.n)}
	c.close()
	return out
}

// heap is what is reachable, with the goroutines' stacks.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what the first only found finalizable
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

type tandemCrowd struct{ *actor.System }

func (c tandemCrowd) alive() int { return c.Stats().Actors }
func (c tandemCrowd) close()     { down(c.System)() }

func spawnTandem(n int) (crowd, error) {
	sys, err := actor.NewSystem(actor.Config{Logger: quiet})
	if err != nil {
		return nil, err
	}
	kind := actor.Define("bench.idle", func() *sink { return &sink{} }, actor.Handle((*sink).pointer))
	for i := range n {
		if _, err := sys.Spawn("a"+strconv.Itoa(i), kind); err != nil {
			return nil, err
		}
	}
	return tandemCrowd{sys}, nil
}

type protoCrowd struct {
	*proto.ActorSystem
	started *atomic.Int64
}

func (c protoCrowd) alive() int { return int(c.started.Load()) }
func (c protoCrowd) close()     { c.Shutdown() }

func spawnProto(n int) (crowd, error) {
	c := protoCrowd{protoSystem(), new(atomic.Int64)}
	props := proto.PropsFromProducer(func() proto.Actor { return &protoIdle{started: c.started} })
	for i := range n {
		if _, err := c.Root.SpawnNamed(props, "a"+strconv.Itoa(i)); err != nil {
			return nil, err
		}
	}
	for end := time.Now().Add(timeout); c.alive() < n; runtime.Gosched() {
		if time.Now().After(end) {
			return nil, fmt.Errorf("%d of %d actors have started", c.alive(), n)
		}
	}
	return c, nil
}

type protoIdle struct{ started *atomic.Int64 }

func (p *protoIdle) Receive(c proto.Context) {
	if _, ok := c.Message().(*proto.Started); ok {
		p.started.Add(1)
	}
}
