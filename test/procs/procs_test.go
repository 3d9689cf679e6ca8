//go:build unix

package procs

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

var (
	injections = flag.Int("procs.injections", byDefault, "how many times to inject each fault")
	only       = flag.String("procs.fault", "", "inject this fault alone")
	seed       = flag.Uint64("procs.seed", 1, "what pauses and operations are drawn from; not what the system scheduler does")
	parallel   = flag.Int("procs.parallel", 16, "how many faults to inject at once, each into processes of its own")
)

func TestMain(m *testing.M) {
	if env := os.Getenv(roleEnv); env != "" {
		if err := play(env); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
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
const minRate = 20

func TestFaults(t *testing.T) {
	n := *injections
	if testing.Short() {
		n = min(n, 10)
	}
	var runs sync.WaitGroup
	slots := make(chan struct{}, *parallel)
	results := make([]*result, len(faults))
	for i, f := range faults {
		if *only != "" && f.name != *only {
			continue
		}
		dir := t.TempDir()
		runs.Go(func() {
			slots <- struct{}{}
			r := inject(f, dir, n, *seed, honest)
			<-slots
			results[i] = &r
			if err := r.check(); err != nil {
				t.Errorf("%s: %v", f.name, err)
			}
		})
	}
	runs.Wait()
	table(t, results)
}

func table(t *testing.T, results []*result) {
	out := tabwriter.NewWriter(t.Output(), 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(out, "fault\tinjections\trequests\treplies\ttwice\tlost\twrong\tcrossed\tdisorder\tNotRun\tRan\tUnknown\tlost track\tone-way\tcut off\trequests/s\tanswers/s after\tsilence p50\tp99\tother road p50\tp99\ttook\tCPU\t")
	for _, r := range results {
		if r == nil {
			continue
		}
		c := r.tally
		for _, v := range []any{r.fault.name, r.n, c.requests, c.replies, c.twice, c.lost, c.wrong, c.crossed, c.disorder, c.notRun, c.hasRun, c.unknown, c.lostTrack, c.oneWay, c.unanswered,
			int(float64(c.requests) / r.took.Seconds()), int(r.rate), ms(quantile(r.silences, 0.5)), ms(quantile(r.silences, 0.99)), ms(quantile(r.crossings, 0.5)), ms(quantile(r.crossings, 0.99)),
			r.took.Round(100 * time.Millisecond), r.cpu.Round(100 * time.Millisecond)} {
			fmt.Fprint(out, v, "\t")
		}
		fmt.Fprintln(out)
	}
	out.Flush()
}

func ms(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1fms", d.Seconds()*1000)
}
