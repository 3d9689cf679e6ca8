package main

import (
	"fmt"
	"math"
)

// A target is a bound on something that a scenario measures.
type target struct {
	scenario string
	text     string
	value    func(*result) (float64, error)
	atLeast  float64
	atMost   float64 // if not 0, instead of atLeast
	fullOnly bool    // a quick run cannot tell
}

// targets are those of the project; each is a ratio within one run, save where the text
// says otherwise.
var targets = []target{
	{scenario: "local-tell-1", text: "tandem ≥ 2 × best peer", value: overBest("tandem"), atLeast: 2},
	{scenario: "local-tell-1", text: "tandem ≥ 1.7 × chan", value: over("tandem", "chan"), atLeast: 1.7},
	{scenario: "local-tell-1", text: "tandem by value ≥ 1.2 × chan", value: over("tandem-value", "chan"), atLeast: 1.2},
	{scenario: "local-tell-8", text: "tandem ≥ 1.2 × best peer", value: overBest("tandem"), atLeast: 1.2},
	{scenario: "local-tell-8", text: "tandem ≥ 0.9 × chan", value: over("tandem", "chan"), atLeast: 0.9},
	{scenario: "local-ask-1", text: "tandem ≥ 1.5 × best peer", value: overBest("tandem"), atLeast: 1.5},
	{scenario: "local-ask-1", text: "tandem ≥ 0.55 × chan-pair", value: over("tandem", "chan-pair"), atLeast: 0.55},
	{scenario: "local-ask-64", text: "tandem ≥ 1.4 × best peer", value: overBest("tandem"), atLeast: 1.4},
	{scenario: "local-ask-64", text: "tandem ≥ 0.75 × chan-pair", value: over("tandem", "chan-pair"), atLeast: 0.75},
	{scenario: "tcp-ask-1", text: "tandem p50 ≤ 9 µs (absolute)", value: p50("tandem"), atMost: 9},
	{scenario: "tcp-ask-1", text: "tandem p50 ≤ 1.5 × raw-pingpong's", value: p50Ratio("tandem", "raw-pingpong"), atMost: 1.5},
	{scenario: "tcp-ask-64", text: "tandem ≥ 4 × best peer", value: overBest("tandem"), atLeast: 4},
	{scenario: "tcp-ask-64", text: "tandem ≥ 0.5 × raw", value: over("tandem", "raw-frames"), atLeast: 0.5},
	{scenario: "tcp-ask-64", text: "tandem ≥ 0.7 × raw-actor", value: over("tandem", "raw-actor"), atLeast: 0.7},
	{scenario: "tcp-ask-512", text: "tandem ≥ 4 × best peer", value: overBest("tandem"), atLeast: 4},
	{scenario: "tcp-ask-512", text: "tandem ≥ 0.55 × raw-actor", value: over("tandem", "raw-actor"), atLeast: 0.55},
	{scenario: "tcp-ask-64-1KiB", text: "tandem ≥ 0.6 × raw-actor", value: over("tandem", "raw-actor"), atLeast: 0.6},
	{scenario: "tcp-ask-64-64KiB", text: "tandem ≥ 0.6 × raw-actor", value: over("tandem", "raw-actor"), atLeast: 0.6},
	{scenario: "tcp-ask-64-1MiB", text: "tandem ≥ 0.6 × raw-actor", value: over("tandem", "raw-actor"), atLeast: 0.6},
	{scenario: "tcp-ask-64-actors", text: "tandem with 8 actors ≥ 1.2 × with one", value: over("tandem", "tandem-one"), atLeast: 1.2},
	{scenario: "tcp-ask-64-processes", text: "tandem per CPU second ≥ 0.8 × one process", value: valueRatio("tandem", "tandem-one-process", opsPerCPU), atLeast: 0.8},
	{scenario: "tcp-tell-1", text: "tandem ≥ 4 × best peer", value: overBest("tandem"), atLeast: 4},
	{scenario: "tcp-tell-1", text: "tandem ≥ 0.75 × raw-actor", value: over("tandem", "raw-actor"), atLeast: 0.75},
	{scenario: "nats-ask-64", text: "tandem ≥ 2.2 × nats.go", value: over("tandem", "nats.go"), atLeast: 2.2},
	{scenario: "nats-ask-512", text: "tandem ≥ 2.5 × nats.go", value: over("tandem", "nats.go"), atLeast: 2.5},
	{scenario: "nats-tell-1", text: "tandem ≥ 4 × nats.go", value: over("tandem", "nats.go"), atLeast: 4},
	{scenario: "spawn", text: "tandem ≥ 2 × best peer", value: overBest("tandem"), atLeast: 2},
	{scenario: "spawn", text: "tandem ≤ 400 B per idle actor", value: valueOf("tandem", bytesPerActor), atMost: 400},
	{scenario: "spawn", text: "tandem holds 1 M actors", value: valueOf("tandem", actorsAlive), atLeast: 1e6, fullOnly: true},
	{scenario: "dedup-cost", text: "dedup ≤ 0.05 of an ask's CPU", value: cpuShare("dedup-table", "tandem"), atMost: 0.05},
	{scenario: "mixed-large", text: "p99 of small asks ≤ 5 × that without large ones", value: p99Ratio("tandem", "tandem-alone"), atMost: 5},
}

// check returns every target of the given results that is missed, in words. A target
// that cannot be computed is missed.
func check(results []result, isFull bool) (missed []string) {
	for i := range results {
		res := &results[i]
		for _, t := range targets {
			if t.scenario != res.scenario || t.fullOnly && !isFull {
				continue
			}
			v, err := t.value(res)
			switch {
			case err != nil:
				missed = append(missed, fmt.Sprintf("%s: %s: %v", t.scenario, t.text, err))
			case math.IsNaN(v) || t.atMost > 0 && v > t.atMost || t.atMost == 0 && v < t.atLeast:
				missed = append(missed, fmt.Sprintf("%s: %s: got %.3g", t.scenario, t.text, v))
			}
		}
	}
	return missed
}

// failures returns every error of the given results, in words, and every scenario that
// lacks what the targets need.
func failures(results []result) (failed []string) {
	for _, res := range results {
		for _, r := range res.rows {
			if r.Errors > 0 {
				failed = append(failed, fmt.Sprintf("%s: %s: %d errors: %s", res.scenario, r.Peer, r.Errors, r.Err))
			}
		}
	}
	return failed
}

// overBest is the peer's ops/s to those of the best peer.
func overBest(peer string) func(*result) (float64, error) {
	return func(s *result) (float64, error) {
		if s.best == "" {
			return 0, fmt.Errorf("no peer to compare with")
		}
		return over(peer, s.best)(s)
	}
}

// over is one row's ops/s to another's.
func over(peer, other string) func(*result) (float64, error) {
	return quotient(peer, other, func(v *series) []float64 { return v.ops })
}

// cpuShare is one row's CPU time per operation to another's.
func cpuShare(peer, other string) func(*result) (float64, error) {
	return quotient(peer, other, func(v *series) []float64 { return v.cpu })
}

func p50Ratio(peer, other string) func(*result) (float64, error) {
	return quotient(peer, other, func(v *series) []float64 { return v.p50 })
}

func p99Ratio(peer, other string) func(*result) (float64, error) {
	return quotient(peer, other, func(v *series) []float64 { return v.p99 })
}

// valueRatio is to one row's value of a name what over is to its ops/s.
func valueRatio(peer, other, name string) func(*result) (float64, error) {
	return func(s *result) (float64, error) {
		for _, p := range []string{peer, other} {
			if _, err := valueOf(p, name)(s); err != nil {
				return 0, err
			}
		}
		return quotient(peer, other, func(v *series) []float64 { return v.values[name] })(s)
	}
}

func quotient(peer, other string, of func(*series) []float64) func(*result) (float64, error) {
	return func(s *result) (float64, error) {
		a, err := s.measured(peer)
		if err != nil {
			return 0, err
		}
		b, err := s.measured(other)
		if err != nil {
			return 0, err
		}
		return pairedRatio(of(&a.rounds), of(&b.rounds)), nil
	}
}

func p50(peer string) func(*result) (float64, error) {
	return func(s *result) (float64, error) {
		r, err := s.measured(peer)
		if err != nil {
			return 0, err
		}
		return r.P50, nil
	}
}

func valueOf(peer, name string) func(*result) (float64, error) {
	return func(s *result) (float64, error) {
		r, err := s.measured(peer)
		if err != nil {
			return 0, err
		}
		v, ok := r.Values[name]
		if !ok {
			return 0, fmt.Errorf("%s has no %s", peer, name)
		}
		return v, nil
	}
}

// measured returns the row of a peer that was measured at least once.
func (s *result) measured(peer string) (*row, error) {
	r := s.row(peer)
	switch {
	case r == nil:
		return nil, fmt.Errorf("%s is missing", peer)
	case r.Rounds == 0:
		return nil, fmt.Errorf("%s was not measured", peer)
	}
	return r, nil
}
