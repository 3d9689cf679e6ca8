//go:build unix

package procs

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

var (
	injections = flag.Int("procs.injections", 4, "how many times to inject each fault")
	only       = flag.String("procs.fault", "", "inject this fault alone")
	seed       = flag.Uint64("procs.seed", 1, "what pauses and operations are drawn from; not what the system scheduler does")
	parallel   = flag.Int("procs.parallel", 3, "how many runs there are at once, of all tests, each with processes of its own")
)

// running has a place for each run that there is at once. Processes that wait for each
// other's processors are slow in ways that no fault has made.
var running chan struct{}

// enter waits until a run may begin; it calls the result at its end.
func enter() (leave func()) {
	running <- struct{}{}
	return func() { <-running }
}

func TestMain(m *testing.M) {
	if env := os.Getenv(roleEnv); env != "" {
		if err := play(env); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	running = make(chan struct{}, max(1, *parallel))
	os.Exit(m.Run())
}

// result is what a run came to.
type result struct {
	fault     fault
	n         int
	tally     tally
	wrong     []string
	silences  []time.Duration
	crossings []time.Duration
	rate      float64 // answers a second in the times after an injection
	took, cpu time.Duration
	err       error
}

// inject runs a fault n times against fresh processes.
func inject(f fault, dir string, n int, seed uint64, c cheat) result {
	defer enter()()
	start := time.Now()
	w := newWorld(f, dir, seed, c)
	err := w.start()
	if err == nil {
		err = w.run(n)
	}
	if err == nil {
		err = w.end()
	}
	w.close()
	j := w.judge
	return result{fault: f, n: n, tally: j.tally, wrong: j.wrong, silences: j.quiet.all, crossings: j.change.all, rate: float64(w.answers) / w.waited.Seconds(),
		took: time.Since(start), cpu: w.cpu, err: err}
}

// check returns all that is wrong with a result.
func (r result) check() error {
	errs := []error{r.err}
	t := r.tally
	if len(r.wrong) > 0 {
		errs = append(errs, fmt.Errorf("%d ran twice, %d lost, %d wrong verdicts, %d crossed replies, %d out of order; the first:\n\t%s",
			t.twice, t.lost, t.wrong, t.crossed, t.disorder, strings.Join(r.wrong, "\n\t")))
	}
	if r.fault.records == inTransaction && t.lostTrack > 0 {
		errs = append(errs, fmt.Errorf("%d requests ended as OutcomeUnknown, in spite of records", t.lostTrack))
	}
	if r.rate < minRate {
		errs = append(errs, fmt.Errorf("%.0f answers a second after an injection, want %d: the system stalls", r.rate, minRate))
	}
	return errors.Join(errs...)
}

// minRate is how many answers a second the server under fault gives at least, on average
// over the times from an injection's end until there were enough of them.
const minRate = 10

func TestFaults(t *testing.T) {
	t.Parallel()
	n := *injections
	if testing.Short() {
		n = min(n, 10)
	}
	if *only != "" && !slices.ContainsFunc(faults, func(f fault) bool { return f.name == *only }) {
		t.Fatalf("no such fault: %q", *only)
	}
	var runs sync.WaitGroup
	results := make([]*result, len(faults))
	for i, f := range faults {
		if *only != "" && f.name != *only {
			continue
		}
		dir, n := t.TempDir(), n
		if f.half {
			n = (n + 1) / 2
		}
		runs.Go(func() {
			r := inject(f, dir, n, *seed, honest)
			results[i] = &r
			if err := r.check(); err != nil {
				t.Errorf("%s: %v", f.name, err)
			}
		})
	}
	runs.Wait()
	table(t, results)
}

// table prints what all runs came to, and what became of the requests that were under
// way when their server was killed.
func table(t *testing.T, results []*result) {
	out := tabwriter.NewWriter(t.Output(), 0, 0, 2, ' ', tabwriter.AlignRight)
	defer out.Flush()
	row := func(cells ...any) {
		for _, c := range cells {
			if d, ok := c.(time.Duration); ok {
				c = short(d)
			}
			fmt.Fprint(out, c, "\t")
		}
		fmt.Fprintln(out)
	}
	row("fault", "injections", "requests", "replies", "ran twice", "lost", "wrong verdict", "crossed", "disorder", "NotRun", "Ran", "Unknown", "one-way", "cut off",
		"requests/s", "answers/s after", "silence p50", "p99", "other road p50", "p99", "took", "CPU")
	for _, r := range results {
		if r != nil {
			c := r.tally
			row(r.fault.name, r.n, c.requests, c.replies, c.twice, c.lost, c.wrong, c.crossed, c.disorder, c.notRun, c.hasRun, c.unknown, c.oneWay, c.unanswered,
				int(float64(c.requests)/r.took.Seconds()), int(r.rate), quantile(r.silences, 0.5), quantile(r.silences, 0.99), quantile(r.crossings, 0.5), quantile(r.crossings, 0.99), r.took, r.cpu)
		}
	}
	row()
	row("under way at the kill", "reply", "NotRun", "Ran", "Unknown", "(ran)")
	for _, r := range results {
		if r != nil && r.fault.kills {
			a := r.tally.aloft
			row(r.fault.name, a[reply], a[notRun], a[hasRun], a[unknown], r.tally.aloftRan)
		}
	}
}

// short rounds a time for people.
func short(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(100 * time.Millisecond)
}
