package main

import "fmt"

// judgement is a target held against an advised way.
type judgement struct {
	what    string
	got     float64
	most    float64 // or least
	atLeast bool
	met     bool
}

func (j judgement) String() string {
	verdict, sign := "met   ", "≤"
	if !j.met {
		verdict = "MISSED"
	}
	if j.atLeast {
		sign = "≥"
	}
	return fmt.Sprintf("%s %s: %s, to be %s %g", verdict, j.what, digits(j.got), sign, j.most)
}

// The targets under overload.
const (
	leastGoodput    = 0.9 // of the peak
	mostP99         = 2   // times that at 0.8 of the capacity
	mostRefusal     = 5   // ms, p99
	mostHeap        = 64  // MiB more than at 0.8 of the capacity
	measuredAgainst = 0.8
)

// judge holds the advised ways against the targets, at loads above 1.
func judge(marks []mark) (all []judgement) {
	for _, m := range marks {
		if m.Load <= 1 || !isAdvised(m) {
			continue
		}
		base, peak := m, m.Capacity
		for _, o := range marks {
			if o.Strain == m.Strain && o.Road == m.Road && o.Way == m.Way {
				peak = max(peak, o.Goodput)
				if o.Load == measuredAgainst {
					base = o
				}
			}
		}
		what := fmt.Sprintf("%s over %s, %s, at %g ×: ", m.Strain, m.Road, m.Way, m.Load)
		add := func(name string, got, most float64, atLeast bool) {
			all = append(all, judgement{what + name, got, most, atLeast, got <= most != atLeast || got == most})
		}
		add("goodput to the peak", m.Goodput/peak, leastGoodput, true)
		add("p99 of accepted to that at 0.8 ×", m.P99/base.P99, mostP99, false)
		add("p99 of refusals, ms", m.Refused99, mostRefusal, false)
		add("heap above that at 0.8 ×, MiB", m.Heap-base.Heap, mostHeap, false)
	}
	return all
}

func isAdvised(m mark) bool {
	for _, s := range strains() {
		for _, w := range s.ways {
			if s.name == m.Strain && w.name == m.Way {
				return w.advised
			}
		}
	}
	return false
}
