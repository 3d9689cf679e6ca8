package main

import (
	"fmt"
	"runtime"
	"syscall"
	"time"
)

// effort is how long and how often to measure.
type effort struct {
	rounds int
	each   time.Duration // one measurement
	warm   time.Duration // before the first
	actors int           // to spawn in scenario spawn
}

var (
	quick = effort{rounds: 3, each: 150 * time.Millisecond, warm: 50 * time.Millisecond, actors: 100_000}
	full  = effort{rounds: 7, each: 700 * time.Millisecond, warm: 300 * time.Millisecond, actors: 1_000_000}
)

// costs are what a measurement took from the process: client and server together.
type costs struct {
	cpu    time.Duration
	allocs uint64
	bytes  uint64
}

// measureAll measures a scenario: all its peers are started, and then measured in turns, each
// round beginning with another one. So what disturbs the machine for a while disturbs
// all of them.
func measureAll(s scenario, e *env, f effort) result {
	res := result{scenario: s.name, rows: make([]row, len(s.peers))}
	rigs := make([]rig, len(s.peers))
	for i, p := range s.peers {
		res.rows[i] = row{Scenario: s.name, Peer: p.name, Role: p.role, Note: p.note}
		var err error
		if rigs[i], err = p.start(e); err != nil {
			res.rows[i].fail(fmt.Errorf("did not start: %w", err))
			continue
		}
		defer rigs[i].close()
	}
	for round := -1; round < f.rounds; round++ { // the first only warms up
		for turn := range rigs {
			i := (turn + round + len(rigs)) % len(rigs)
			if rigs[i] == nil {
				continue
			}
			d := f.each
			if round < 0 {
				d = f.warm
			}
			runtime.GC()
			got := withCosts(func() sample { return rigs[i].measure(d) })
			if round < 0 {
				got = sample{sent: got.sent, executed: got.executed, errors: got.errors, err: got.err}
			}
			res.rows[i].add(got)
		}
	}
	for i := range res.rows {
		res.rows[i].finish()
	}
	res.compare()
	return res
}

// withCosts notes what measure took, unless measure itself did.
func withCosts(measure func() sample) sample {
	before := costsNow()
	s := measure()
	if s.costs == (costs{}) {
		s.costs = costsNow().minus(before)
	}
	return s
}

// costsNow returns what the process has used since it started.
func costsNow() costs {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it has no other cause than wrong arguments
	}
	return costs{cpu: time.Duration(u.Utime.Nano() + u.Stime.Nano()), allocs: m.Mallocs, bytes: m.TotalAlloc}
}

func (c costs) minus(b costs) costs {
	return costs{cpu: c.cpu - b.cpu, allocs: c.allocs - b.allocs, bytes: c.bytes - b.bytes}
}
