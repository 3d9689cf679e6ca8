package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

const mixedNote = "messages over 1 MiB are refused so far: 64 MiB go as asks of 992 KiB, all sent at once, again and again; " +
	"the figures are those of the small asks"

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
	far     actor.Ref // gets the large ones; zero for none
	pieces  [][]byte
	counted *tally // counts both
}

const mixedCallers = 4

func newMixed(large bool) (rig, error) {
	n, err := overTCP()
	if err != nil {
		return nil, err
	}
	r, err := n.asks(mixedCallers)
	if err != nil {
		return nil, err
	}
	m := &mixed{small: *r.(*asks), counted: n.asked}
	m.small.every = 1 // beside large ones there are few
	if large {
		if m.far, err = n.spawn("large"); err != nil {
			return nil, err
		}
		const piece, all = rpc.DefaultMaxBody - 64, 64 << 20
		data := make([]byte, piece)
		for left := all; left > 0; left -= piece {
			m.pieces = append(m.pieces, data[:min(piece, left)])
		}
	}
	return m, nil
}

func (m *mixed) close() { m.small.close() }

// minMixed is a few times what 64 MiB take.
const minMixed = 500 * time.Millisecond

func (m *mixed) measure(d time.Duration) sample {
	d = max(d, minMixed)
	if m.pieces == nil {
		return m.small.measure(d)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	before := m.counted.n.Load()
	var (
		sent  uint64
		bytes int
		err   error
		ended sync.WaitGroup
	)
	start := time.Now()
	ended.Go(func() {
		for ctx.Err() == nil && err == nil {
			var n int
			n, err = m.push()
			sent += uint64(len(m.pieces))
			bytes += n
		}
	})
	out := m.small.measure(d)
	cancel()
	ended.Wait()
	out.sent += sent
	out.executed = m.counted.n.Load() - before
	out.values = map[string]float64{"large_mib_per_s": float64(bytes) / (1 << 20) / time.Since(start).Seconds()}
	if err != nil {
		out.errors++
		out.err = err
	}
	return out
}

// push sends 64 MiB and returns how many bytes the other side had.
func (m *mixed) push() (n int, err error) {
	replies := make([]*rpc.Future[int], len(m.pieces))
	for i, p := range m.pieces {
		replies[i] = actor.Ask(context.Background(), m.far, bulk{Data: p})
	}
	for i, f := range replies {
		got, err := f.Await(context.Background())
		if err == nil && got != len(m.pieces[i]) {
			err = fmt.Errorf("of %d bytes %d came", len(m.pieces[i]), got)
		}
		if err != nil {
			return n, err
		}
		n += got
	}
	return n, nil
}
