package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
)

// storm is how long and how often to overload.
type storm struct {
	passes int
	each   time.Duration
	find   time.Duration // to find the capacity
}

var (
	quickStorm = storm{passes: 1, each: 300 * time.Millisecond, find: 300 * time.Millisecond}
	fullStorm  = storm{passes: 3, each: 1500 * time.Millisecond, find: time.Second}
)

// mark is what one load came to: medians over the passes. Its JSON form is the raw
// numbers' file. Times are in milliseconds, rates per second.
type mark struct {
	Strain     string  `json:"strain"`
	Road       string  `json:"road"`
	Way        string  `json:"way"`
	Load       float64 `json:"load"` // times the capacity
	Capacity   float64 `json:"capacity"`
	Offered    float64 `json:"offered"`
	Goodput    float64 `json:"goodput"`
	P50        float64 `json:"accepted_p50_ms"`
	P99        float64 `json:"accepted_p99_ms"`
	P999       float64 `json:"accepted_p999_ms"`
	Refused    float64 `json:"refused"` // part of what was offered
	Refused50  float64 `json:"refused_p50_ms"`
	Refused99  float64 `json:"refused_p99_ms"`
	Unsure     float64 `json:"unsure"` // part of what was offered
	Heap       float64 `json:"heap_peak_mib"`
	Goroutines float64 `json:"goroutines_peak"`
}

// flood overloads, prints and records. It reports false if something failed or, with
// -check, a target is missed.
func flood(o options) (ok bool, err error) {
	st := fullStorm
	if !o.isFull {
		st = quickStorm
	}
	e := &env{}
	defer e.close()
	on, begin := thisMachine(), time.Now()
	fmt.Printf("%v; medians of %d passes of %v; open loop, timed from the intended send\n", on, st.passes, st.each)
	var marks []mark
	for _, s := range strains() {
		if o.scenarios != nil && !o.scenarios.MatchString(s.name) {
			continue
		}
		for _, road := range roads {
			some, err := s.over(road, e, st)
			if err != nil {
				return false, fmt.Errorf("%s over %s: %w", s.name, road.name, err)
			}
			marks = append(marks, some...)
			if err := printMarks(os.Stdout, s, road.name, some); err != nil {
				return false, err
			}
		}
	}
	judged := judge(marks)
	fmt.Println()
	missed := 0
	for _, j := range judged {
		fmt.Println(j)
		if !j.met {
			missed++
		}
	}
	fmt.Printf("\n%d missed; %v in all\n", missed, time.Since(begin).Round(time.Second))
	ok = !o.check || missed == 0
	if !o.isFull || o.scenarios != nil {
		return ok, nil
	}
	return ok, floodRecord(on, marks, judged, st).save(o.docs)
}

// A road is a way between two nodes.
type road struct {
	name string
	join func(*env) (*nodes, error)
}

var roads = []road{
	{"TCP", func(*env) (*nodes, error) { return overTCP() }},
	{"NATS", overNATS},
}

// over overloads s on one road, in all ways in turns, pass by pass.
func (s strain) over(r road, e *env, st storm) ([]mark, error) {
	marks := make([][]mark, len(s.ways)*len(loads))
	for pass := range st.passes {
		for i, w := range s.ways {
			both, err := r.join(e)
			if err != nil {
				return nil, err
			}
			t, err := startStress(s, w, both)
			if err != nil {
				both.close()
				return nil, err
			}
			seed := uint64(pass + 1)
			t.run(0, st.find/4, seed) // warms up
			capacity := t.run(0, st.find, seed).goodput()
			for j, load := range loads {
				m := markOf(t.run(load*capacity, st.each, seed))
				m.Strain, m.Road, m.Way, m.Load, m.Capacity = s.name, r.name, w.name, load, capacity
				at := i*len(loads) + j
				marks[at] = append(marks[at], m)
			}
			if err := t.close(); err != nil {
				return nil, fmt.Errorf("%s: %w", w.name, err)
			}
		}
	}
	out := make([]mark, len(marks))
	for i, m := range marks {
		out[i] = middle(m)
	}
	return out, nil
}

func markOf(f *flow) mark {
	ms := func(d time.Duration) float64 { return d.Seconds() * 1e3 }
	part := func(n uint64) float64 { return float64(n) / float64(max(f.offered, 1)) }
	return mark{Offered: float64(f.offered) / f.d.Seconds(), Goodput: f.goodput(),
		P50: ms(f.accepted.quantile(0.5)), P99: ms(f.accepted.quantile(0.99)), P999: ms(f.accepted.quantile(0.999)),
		Refused: part(f.refused), Refused50: ms(f.refusals.quantile(0.5)), Refused99: ms(f.refusals.quantile(0.99)),
		Unsure: part(f.unsure), Heap: float64(f.heapPeak) / (1 << 20), Goroutines: float64(f.peak)}
}

// middle has the medians of several marks of one load.
func middle(all []mark) mark {
	out := all[0]
	for _, field := range []func(*mark) *float64{
		func(m *mark) *float64 { return &m.Capacity }, func(m *mark) *float64 { return &m.Offered }, func(m *mark) *float64 { return &m.Goodput },
		func(m *mark) *float64 { return &m.P50 }, func(m *mark) *float64 { return &m.P99 }, func(m *mark) *float64 { return &m.P999 },
		func(m *mark) *float64 { return &m.Refused }, func(m *mark) *float64 { return &m.Refused50 }, func(m *mark) *float64 { return &m.Refused99 },
		func(m *mark) *float64 { return &m.Unsure }, func(m *mark) *float64 { return &m.Heap }, func(m *mark) *float64 { return &m.Goroutines },
	} {
		var values []float64
		for i := range all {
			values = append(values, *field(&all[i]))
		}
		*field(&out) = median(values)
	}
	return out
}

// printMarks prints what one strain came to over one road.
func printMarks(out io.Writer, s strain, road string, marks []mark) error {
	fmt.Fprintf(out, "\n%s over %s: %s\n", s.name, road, s.about)
	for _, w := range s.ways {
		fmt.Fprintf(out, "  %s: %s\n", w.name, w.about)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tload\toffered/s\tgoodput/s\tof capacity\tp50 ms\tp99 ms\tp99.9 ms\trefused\tp50 ms\tp99 ms\tunsure\theap MiB\tgoroutines\t")
	for _, m := range marks {
		fmt.Fprintf(w, "%s\t%g\t%s\t%s\t%.2f\t%s\t%s\t%s\t%.1f %%\t%s\t%s\t%.1f %%\t%.0f\t%.0f\t\n", m.Way, m.Load, count(m.Offered), count(m.Goodput), m.Goodput/m.Capacity,
			digits(m.P50), digits(m.P99), digits(m.P999), 100*m.Refused, digits(m.Refused50), digits(m.Refused99), 100*m.Unsure, m.Heap, m.Goroutines)
	}
	return w.Flush()
}

// floodRecord is what is left for the documentation.
func floodRecord(on machine, marks []mark, judged []judgement, st storm) record {
	r := record{name: "overload", charts: map[string]chart{}, data: struct {
		Machine machine `json:"machine"`
		Marks   []mark  `json:"marks"`
	}{on, marks}}
	var text strings.Builder
	fmt.Fprintf(&text, "Measured with %v; medians of %d passes of %v.\n", on, st.passes, st.each)
	for _, s := range strains() {
		fmt.Fprintf(&text, "\n**%s**: %s.\n\n", s.name, s.about)
		for _, w := range s.ways {
			fmt.Fprintf(&text, "- *%s*: %s.\n", w.name, w.about)
		}
		text.WriteString("\n")
		for _, m := range []struct {
			name, label string
			linear      bool
			of          func(mark) float64
		}{
			{"goodput", "goodput, as part of the capacity", true, func(m mark) float64 { return m.Goodput / m.Capacity }},
			{"p99", "p99 of accepted, ms", false, func(m mark) float64 { return m.P99 }},
		} {
			name := "overload-" + s.name + "-" + m.name
			r.charts[name] = s.chart(marks, m.label, m.linear, m.of)
			fmt.Fprintf(&text, "![%s, by load](plots/%s.svg)\n", m.label, name)
		}
	}
	text.WriteString("\n| target, for the last way of each | found | |\n|---|---|---|\n")
	for _, j := range judged {
		verdict := "met"
		if !j.met {
			verdict = "missed"
		}
		sign := "≤"
		if j.atLeast {
			sign = "≥"
		}
		fmt.Fprintf(&text, "| %s %s %g | %s | %s |\n", j.what, sign, j.most, digits(j.got), verdict)
	}
	r.text = text.String()
	return r
}

func (s strain) chart(marks []mark, label string, linear bool, of func(mark) float64) chart {
	c := chart{title: s.about, xLabel: "requests offered, as multiple of the capacity", yLabel: label, linearY: linear}
	for _, load := range loads {
		c.ticks = append(c.ticks, tick{load, short(load)})
	}
	for _, r := range roads {
		for i, w := range s.ways {
			l := chartLine{name: w.name + ", " + r.name, color: i, dashed: r.name == "NATS"}
			for _, m := range marks {
				if m.Strain == s.name && m.Road == r.name && m.Way == w.name {
					l.spots = append(l.spots, spot{x: m.Load, y: of(m)})
				}
			}
			c.lines = append(c.lines, l)
		}
	}
	return c
}
