package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tandem-go/tandem/actor"
)

const mixedNote = "one ask of 64 MiB after the other; the figures are those of the small asks"

func mixedScenario() scenario {
	start := func(large bool) func(*env) (rig, error) {
		return func(*env) (rig, error) { return newMixed(large) }
	}
	return scenario{
		name:  "mixed-large",
		about: "small asks of 4 callers over one TCP link, with 64 MiB at a time beside them, and alone",
		peers: []peer{
			{name: "tandem", role: ours, note: mixedNote, start: start(true)},
			{name: "tandem-alone", role: variant, start: start(false)},
		},
	}
}

// mixed is a rig of small asks to one actor beside large ones to another.
type mixed struct {
	small   asks
	far     actor.Ref // gets the large ones
	data    []byte    // of a large one; nil for none
	counted *tally    // counts both
}

const mixedCallers = 4

func newMixed(large bool) (rig, error) {
	n, err := overTCP()
	if err != nil {
		return nil, err
	}
	r, err := n.asks(mixedCallers, 64)
	if err != nil {
		return nil, err
	}
	m := &mixed{small: *r.(*asks), counted: n.asked}
	m.small.every = 1 // beside large ones there are few
	if large {
		if m.far, err = n.spawn("large"); err != nil {
			return nil, err
		}
		m.data = make([]byte, 64<<20)
	}
	return m, nil
}

func (m *mixed) close() { m.small.close() }

// minMixed is a few times what 64 MiB take.
const minMixed = 500 * time.Millisecond

func (m *mixed) measure(d time.Duration) sample {
	d = max(d, minMixed)
	if m.data == nil {
		return m.small.measure(d)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	before := m.counted.n.Load()
	var (
		sent  uint64
		err   error
		ended sync.WaitGroup
	)
	start := time.Now()
	ended.Go(func() {
		for ctx.Err() == nil && err == nil {
			sent++
			err = m.push()
		}
	})
	out := m.small.measure(d)
	cancel()
	ended.Wait()
	out.sent += sent
	out.executed = m.counted.n.Load() - before
	out.values = map[string]float64{"large_mib_per_s": float64(sent) * 64 / time.Since(start).Seconds()}
	if err != nil {
		out.errors++
		out.err = err
	}
	return out
}

// push sends 64 MiB.
func (m *mixed) push() error {
	got, err := actor.Call(context.Background(), m.far, bulk{Data: m.data})
	if err == nil && got != len(m.data) {
		err = fmt.Errorf("of %d bytes %d came", len(m.data), got)
	}
	return err
}
