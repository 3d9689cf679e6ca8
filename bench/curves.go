package main

import (
	"fmt"
	"io"
	"runtime"
	"strconv"
	"text/tabwriter"
	"time"
)

// A curve is how speed depends on one quantity.
type curve struct {
	name   string // of its points in the table and of the plots' files
	title  string
	xLabel string
	lines  []line
	bytes  bool // x is bytes of a message
}

// A line is one way to do what the curve asks for, at several places.
type line struct {
	name  string
	xs    []int
	start func(e *env, x int) (rig, error)
}

// point is one place of a line: medians over the passes. Its JSON form is the raw
// numbers' file.
type point struct {
	Curve    string  `json:"curve"`
	Line     string  `json:"line"`
	X        int     `json:"x"`
	OpsPerS  float64 `json:"ops_per_s"`
	Low      float64 `json:"ops_per_s_low"` // of the passes
	High     float64 `json:"ops_per_s_high"`
	P50      float64 `json:"p50_us"`
	P99      float64 `json:"p99_us"`
	CPU      float64 `json:"cpu_s_per_mop"`
	Passes   int     `json:"passes"`
	Sent     uint64  `json:"sent"`
	Executed uint64  `json:"executed"`
	Errors   uint64  `json:"errors"`
	Err      string  `json:"error,omitempty"`

	row   row
	start func(e *env, x int) (rig, error)
}

// sweep is how much of the curves to measure.
type sweep struct {
	passes int
	each   time.Duration // one measurement of a point
	warm   time.Duration
	places int // of a line; 0 for all
	tries  int // of each start-up
	actors int // to weigh
}

var (
	quickSweep = sweep{passes: 1, each: 100 * time.Millisecond, warm: 20 * time.Millisecond, places: 3, tries: 3, actors: 10_000}
	fullSweep  = sweep{passes: 3, each: 400 * time.Millisecond, warm: 100 * time.Millisecond, tries: 25, actors: 100_000}
)

// pointsOf lays out the points of some curves.
func pointsOf(curves []curve, places int) (all []*point) {
	for _, c := range curves {
		for _, l := range c.lines {
			for _, x := range thin(l.xs, places) {
				p := &point{Curve: c.name, Line: l.name, X: x, start: l.start}
				p.row = row{Scenario: c.name, Peer: l.name}
				all = append(all, p)
			}
		}
	}
	return all
}

// thin picks n of xs, the first and the last among them; all if n is 0.
func thin(xs []int, n int) []int {
	if n == 0 || n >= len(xs) {
		return xs
	}
	if n == 1 {
		return xs[:1]
	}
	some := make([]int, n)
	for i := range some {
		some[i] = xs[(i*(len(xs)-1)+(n-1)/2)/(n-1)]
	}
	return some
}

// trace measures all points, pass by pass, so that a slow moment of the machine does not
// hit all measurements of one point. After each pass every rig is closed: what waits
// beside the one that is measured would be in its way.
func trace(points []*point, e *env, s sweep, progress io.Writer) {
	for pass := range s.passes {
		start := time.Now()
		for _, p := range points {
			p.measure(e, s)
		}
		fmt.Fprintf(progress, "pass %d of %d: %v\n", pass+1, s.passes, time.Since(start).Round(time.Second))
	}
	for _, p := range points {
		p.finish()
	}
}

func (p *point) measure(e *env, s sweep) {
	rig, err := p.start(e, p.X)
	if err != nil {
		p.row.fail(fmt.Errorf("did not start: %w", err))
		return
	}
	defer rig.close()
	warm := rig.measure(s.warm)
	p.row.add(sample{sent: warm.sent, executed: warm.executed, errors: warm.errors, err: warm.err})
	runtime.GC()
	p.row.add(withCosts(func() sample { return rig.measure(s.each) }))
}

// finish makes the medians, and finds what was executed too often or not at all.
func (p *point) finish() {
	r := &p.row
	r.finish()
	p.OpsPerS, p.P50, p.P99, p.CPU = r.OpsPerS, r.P50, r.P99, r.CPU
	p.Passes, p.Sent, p.Executed, p.Errors, p.Err = r.Rounds, r.Sent, r.Executed, r.Errors, r.Err
	for i, v := range r.rounds.ops {
		if i == 0 || v < p.Low {
			p.Low = v
		}
		p.High = max(p.High, v)
	}
}

// printPoints prints the points of a curve for people.
func printPoints(out io.Writer, c curve, points []*point) error {
	fmt.Fprintf(out, "\n%s\n", c.title)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\t%s\tops/s\tlowest\thighest\tp50 µs\tp99 µs\tCPU s/Mop\t\n", c.xLabel)
	for _, p := range points {
		if p.Curve != c.name {
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%.2f\t\n", p.Line, place(p.X, c.bytes), count(p.OpsPerS), count(p.Low), count(p.High),
			micros(p.P50), micros(p.P99), p.CPU)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, p := range points {
		if p.Curve == c.name && p.Errors > 0 {
			fmt.Fprintf(out, "  %s at %s: FAILED, %d errors: %s\n", p.Line, place(p.X, c.bytes), p.Errors, p.Err)
		}
	}
	return nil
}

// place prints a number on an axis: bytes in powers of 1024, others in thousands.
func place(x int, bytes bool) string {
	step, units := 1000, []string{"", " k", " M"}
	if bytes {
		step, units = 1024, []string{" B", " KiB", " MiB"}
	}
	unit := 0
	for x >= step && x%step == 0 && unit < len(units)-1 {
		x /= step
		unit++
	}
	return strconv.Itoa(x) + units[unit]
}
