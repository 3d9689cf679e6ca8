package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// drawCurves measures the curves, and prints and records them. It reports false if anything
// failed.
func drawCurves(o options) (ok bool, err error) {
	s := fullSweep
	if !o.isFull {
		s = quickSweep
	}
	e := &env{}
	defer e.close()
	on, begin := thisMachine(), time.Now()
	fmt.Printf("%v; medians of %d passes of %v\n", on, s.passes, s.each)
	figures := append(weights(s.actors), startups(e, s.tries)...) // first: what runs before leaves traces in the heap
	all := curves()
	if o.scenarios != nil {
		all = matching(all, o.scenarios.MatchString)
	}
	points := pointsOf(all, s.places)
	trace(points, e, s, os.Stdout)
	for _, c := range all {
		if err := printPoints(os.Stdout, c, points); err != nil {
			return false, err
		}
	}
	if err := printFigures(os.Stdout, figures); err != nil {
		return false, err
	}
	ok = true
	for _, p := range points {
		ok = ok && p.Errors == 0
	}
	for _, f := range figures {
		ok = ok && f.Err == ""
	}
	fmt.Printf("\n%v in all\n", time.Since(begin).Round(time.Second))
	if !o.isFull || o.scenarios != nil {
		return ok, nil
	}
	if !ok {
		return false, fmt.Errorf("something failed: nothing is recorded")
	}
	return true, curveRecord(on, all, points, figures, s).save(o.docs)
}

func matching(all []curve, match func(string) bool) (some []curve) {
	for _, c := range all {
		if match(c.name) {
			some = append(some, c)
		}
	}
	return some
}

// curveRecord is what is left of the curves for the documentation.
func curveRecord(on machine, all []curve, points []*point, figures []figure, s sweep) record {
	r := record{name: "curves", charts: map[string]chart{}, data: struct {
		Machine machine  `json:"machine"`
		Points  []*point `json:"points"`
		Figures []figure `json:"figures"`
	}{on, points, figures}}
	var text strings.Builder
	fmt.Fprintf(&text, "Measured with %v; medians of %d passes of %v, the bars from the lowest to the highest.\n", on, s.passes, s.each)
	for _, c := range all {
		fmt.Fprintf(&text, "\n**%s.**\n\n", c.title)
		for _, m := range c.measures() {
			name := c.name + "-" + m.name
			r.charts[name] = c.chart(m, points)
			fmt.Fprintf(&text, "![%s, by %s](plots/%s.svg)\n", m.label, c.xLabel, name)
		}
	}
	group := ""
	for _, f := range figures {
		if f.Group != group {
			group = f.Group
			fmt.Fprintf(&text, "\n| %s | median | lowest | highest |\n|---|---|---|---|\n", group)
		}
		fmt.Fprintf(&text, "| %s | %s %s | %s | %s |\n", f.Name, digits(f.Median), f.Unit, digits(f.Low), digits(f.High))
	}
	r.text = text.String()
	return r
}

// measure is something to be plotted of a point.
type measure struct {
	name, label string
	of          func(p *point) spot
}

func (c curve) measures() []measure {
	all := []measure{
		{"rate", "operations per second", func(p *point) spot { return spot{0, p.OpsPerS, p.Low, p.High} }},
		{"p99", "p99 of an operation, µs", func(p *point) spot { return spot{y: p.P99} }},
	}
	if c.bytes {
		mib := func(p *point, v float64) float64 { return v * float64(p.X) / (1 << 20) }
		all[0] = measure{"rate", "asks per second", all[0].of}
		all = append(all, measure{"volume", "MiB per second, each way", func(p *point) spot {
			return spot{0, mib(p, p.OpsPerS), mib(p, p.Low), mib(p, p.High)}
		}})
	}
	return all
}

// chart plots one thing of a curve's points.
func (c curve) chart(m measure, points []*point) chart {
	out := chart{title: c.title, xLabel: c.xLabel, yLabel: m.label}
	for i, l := range c.lines {
		drawn := chartLine{name: l.name, color: i}
		for _, p := range points {
			if p.Curve == c.name && p.Line == l.name {
				s := m.of(p)
				s.x = float64(p.X)
				drawn.spots = append(drawn.spots, s)
			}
		}
		out.lines = append(out.lines, drawn)
	}
	for _, x := range c.lines[0].xs {
		out.ticks = append(out.ticks, tick{float64(x), place(x, c.bytes)})
	}
	return out
}
