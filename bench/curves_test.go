package main

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestThin(t *testing.T) {
	xs := []int{1, 2, 3, 4, 5, 6, 7}
	for _, c := range []struct {
		n    int
		want []int
	}{
		{0, xs}, {7, xs}, {9, xs}, {1, []int{1}}, {2, []int{1, 7}}, {3, []int{1, 4, 7}}, {4, []int{1, 3, 5, 7}},
	} {
		if got := thin(xs, c.n); !slices.Equal(got, c.want) {
			t.Errorf("thin to %d: %v, want %v", c.n, got, c.want)
		}
	}
}

func TestPlace(t *testing.T) {
	for _, c := range []struct {
		x     int
		bytes bool
		want  string
	}{
		{1, false, "1"}, {1024, false, "1024"}, {1000, false, "1 k"}, {10_000, false, "10 k"}, {1_000_000, false, "1 M"},
		{16, true, "16 B"}, {1 << 10, true, "1 KiB"}, {4 << 20, true, "4 MiB"},
	} {
		if got := place(c.x, c.bytes); got != c.want {
			t.Errorf("%d: %q, want %q", c.x, got, c.want)
		}
	}
}

// Every curve has lines with rising places, which all of its ticks cover.
func TestCurves(t *testing.T) {
	for _, c := range curves() {
		for _, l := range c.lines {
			if !slices.IsSorted(l.xs) || !slices.Equal(l.xs, c.lines[0].xs) {
				t.Errorf("%s, %s: places %v", c.name, l.name, l.xs)
			}
		}
	}
}

func TestWalkers(t *testing.T) {
	for _, of := range []int{1, 2, 5, 10, 20, 50, 100, 200, 1000, 10_000} {
		w, seen := walkers(3, of), map[int]bool{}
		for range of {
			seen[w[1].next()] = true
		}
		if len(seen) != of {
			t.Errorf("of %d, %d had a turn", of, len(seen))
		}
	}
}

// fake is a rig that finds what it is told.
type fake struct{ found []sample }

func (f *fake) measure(time.Duration) sample {
	s := f.found[0]
	f.found = f.found[1:]
	return s
}
func (f *fake) close() {}

func TestTrace(t *testing.T) {
	good := sample{ops: 10, sent: 10, executed: 10, elapsed: time.Second}
	better := sample{ops: 30, sent: 30, executed: 30, elapsed: time.Second}
	twice := sample{ops: 10, sent: 10, executed: 11, elapsed: time.Second}
	rigs := map[int]*fake{1: {[]sample{good, good, good, better}}, 2: {[]sample{good, twice, good, good}}}
	c := curve{name: "c", title: "about", xLabel: "x", lines: []line{{name: "l", xs: []int{1, 2},
		start: func(_ *env, x int) (rig, error) { return rigs[x], nil }}}}
	points := pointsOf([]curve{c}, 0)
	trace(points, nil, sweep{passes: 2}, io.Discard)
	if p := points[0]; p.OpsPerS != 20 || p.Low != 10 || p.High != 30 || p.Passes != 2 || p.Sent != 60 || p.Errors != 0 {
		t.Errorf("the first point: %+v", p)
	}
	if p := points[1]; p.Errors != 1 || !strings.Contains(p.Err, "sent 40, executed 41") {
		t.Errorf("one executed too many: %d errors: %s", p.Errors, p.Err)
	}
	var out bytes.Buffer
	if err := printPoints(&out, c, points); err != nil || !strings.Contains(out.String(), "l at 2: FAILED") {
		t.Errorf("printed (%v):\n%s", err, &out)
	}
}

// What is weighed and started is there: once, with few of each.
func TestFigures(t *testing.T) {
	e := &env{}
	defer e.close()
	for _, f := range append(weigh(weighRequests, "waiting", "kept")[:2], startups(e, 1)...) {
		if f.Err != "" || f.Median <= 0 {
			t.Errorf("%+v", f)
		}
	}
}
