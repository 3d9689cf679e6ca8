package main

import (
	"fmt"
	"time"
)

// result is what a scenario came to.
type result struct {
	scenario string
	rows     []row
	best     string // the fastest peer; empty if there is none
}

// row is what one peer came to in one scenario: medians over the rounds. Its JSON form
// is the bench's output.
type row struct {
	Scenario string             `json:"scenario"`
	Peer     string             `json:"peer"`
	Role     role               `json:"role"`
	OpsPerS  float64            `json:"ops_per_s"`
	P50      float64            `json:"p50_us"`
	P99      float64            `json:"p99_us"`
	Allocs   float64            `json:"allocs"` // per operation, client and server together, as the next two
	Bytes    float64            `json:"bytes"`
	CPU      float64            `json:"cpu_s_per_mop"` // CPU seconds per million operations
	VsBest   float64            `json:"vs_best,omitempty"`
	VsRaw    float64            `json:"vs_raw,omitempty"`
	Rounds   int                `json:"rounds"`
	Sent     uint64             `json:"sent"`
	Executed uint64             `json:"executed"`
	Errors   uint64             `json:"errors"`
	Err      string             `json:"error,omitempty"` // the first
	Values   map[string]float64 `json:"values,omitempty"`
	Note     string             `json:"note,omitempty"`

	rounds series
}

// series is what each round found.
type series struct {
	ops, p50, p99, allocs, bytes, cpu []float64
	values                            map[string][]float64
}

// add takes in one measurement. One that took no time counts for its errors only.
func (r *row) add(s sample) {
	r.Sent += s.sent
	r.Executed += s.executed
	r.Errors += s.errors
	if r.Err == "" && s.err != nil {
		r.Err = s.err.Error()
	}
	if s.ops == 0 || s.elapsed == 0 {
		return
	}
	n := float64(s.ops)
	us := func(d time.Duration) float64 { return float64(d) / 1e3 }
	v := &r.rounds
	v.ops = append(v.ops, n/s.elapsed.Seconds())
	v.p50 = append(v.p50, us(s.lat.quantile(0.50)))
	v.p99 = append(v.p99, us(s.lat.quantile(0.99)))
	v.allocs = append(v.allocs, float64(s.allocs)/n)
	v.bytes = append(v.bytes, float64(s.bytes)/n)
	v.cpu = append(v.cpu, s.cpu.Seconds()/n*1e6)
	for name, x := range s.values {
		if v.values == nil {
			v.values = map[string][]float64{}
		}
		v.values[name] = append(v.values[name], x)
	}
}

// fail takes note of an error outside of a measurement.
func (r *row) fail(err error) {
	r.Errors++
	if r.Err == "" {
		r.Err = err.Error()
	}
}

// finish makes the medians.
func (r *row) finish() {
	v := &r.rounds
	r.Rounds = len(v.ops)
	r.OpsPerS, r.P50, r.P99 = median(v.ops), median(v.p50), median(v.p99)
	r.Allocs, r.Bytes, r.CPU = median(v.allocs), median(v.bytes), median(v.cpu)
	for name, x := range v.values {
		if r.Values == nil {
			r.Values = map[string]float64{}
		}
		r.Values[name] = median(x)
	}
	switch {
	case r.Errors > 0:
	case r.Rounds == 0:
		r.fail(fmt.Errorf("nothing was measured"))
	case r.Sent != r.Executed:
		r.fail(fmt.Errorf("sent %d, executed %d", r.Sent, r.Executed))
	}
}

// compare finds the best peer and the ratios of all rows to it and to the raw limit.
func (s *result) compare() {
	var best, raw *row
	for i := range s.rows {
		switch r := &s.rows[i]; {
		case r.Role == rival && (best == nil || r.OpsPerS > best.OpsPerS):
			best = r
		case r.Role == limit && (raw == nil || r.OpsPerS > raw.OpsPerS):
			raw = r
		}
	}
	if best != nil {
		s.best = best.Peer
	}
	for i := range s.rows {
		r := &s.rows[i]
		if best != nil {
			r.VsBest = pairedRatio(r.rounds.ops, best.rounds.ops)
		}
		if raw != nil {
			r.VsRaw = pairedRatio(r.rounds.ops, raw.rounds.ops)
		}
	}
}

// row returns the row of a peer, or nil.
func (s *result) row(peer string) *row {
	for i := range s.rows {
		if s.rows[i].Peer == peer {
			return &s.rows[i]
		}
	}
	return nil
}
