package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// compareRounds is how often each of two builds is run, unless -rounds says otherwise.
const compareRounds = 7

// compare builds the bench of another revision beside this one's, working tree and all,
// and runs both in turns. It reports false if anything failed in either.
func compare(o options) (ok bool, err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	begin := time.Now()
	folder, err := os.MkdirTemp("", "tandem-compare-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(folder)
	this, other := filepath.Join(folder, "this"), filepath.Join(folder, "other")
	root, err := output(ctx, "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return false, err
	}
	if _, err := output(ctx, "go", "build", "-C", filepath.Join(root, "bench"), "-o", this, "."); err != nil {
		return false, err
	}
	if err := buildRevision(ctx, root, o.compare, filepath.Join(folder, "tree"), other); err != nil {
		return false, err
	}
	rounds := compareRounds
	if o.roundsSet {
		rounds = o.rounds
	}
	args := []string{"-json", "-rounds", "1", "-peer", cmp.Or(o.peerText, "^tandem|^dedup")}
	if o.scenarioText != "" {
		args = append(args, "-scenario", o.scenarioText)
	}
	if !o.isFull {
		args = append(args, "-quick")
	}
	var pairs contest
	for round := range rounds {
		turns := []bool{false, true} // is it the other's turn?
		if round%2 == 1 {
			slices.Reverse(turns)
		}
		for _, isOther := range turns {
			binary := this
			if isOther {
				binary = other
			}
			rows, err := runBench(ctx, binary, args)
			if err != nil {
				return false, err
			}
			pairs.add(isOther, rows)
		}
		fmt.Fprintf(os.Stderr, "round %d of %d, after %v\n", round+1, rounds, time.Since(begin).Round(time.Second))
	}
	fmt.Printf("this working tree beside %s; medians of %d rounds in turns; ratios are this to that, round by round\n\n", o.compare, rounds)
	if err := pairs.print(os.Stdout); err != nil {
		return false, err
	}
	fmt.Printf("\n%v in all\n", time.Since(begin).Round(time.Second))
	return len(pairs.failed) == 0, nil
}

// buildRevision builds the bench of a revision in a worktree at tree, which it removes.
func buildRevision(ctx context.Context, root, revision, tree, binary string) (err error) {
	if _, err := output(ctx, "git", "-C", root, "worktree", "add", "--quiet", "--detach", tree, revision); err != nil {
		return err
	}
	defer func() { // also after an interrupt
		_, removing := output(context.WithoutCancel(ctx), "git", "-C", root, "worktree", "remove", "--force", tree)
		err = errors.Join(err, removing)
	}()
	_, err = output(ctx, "go", "build", "-C", filepath.Join(tree, "bench"), "-o", binary, ".")
	return err
}

// output runs a command and returns what it prints; an error says what it complained of.
func output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, complaint.Bytes())
	}
	return strings.TrimSpace(string(out)), nil
}

// runBench runs one build and returns its rows. That some of them failed is no error:
// the rows say so.
func runBench(ctx context.Context, binary string, args []string) ([]row, error) {
	cmd := exec.CommandContext(ctx, binary, args...)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	rows, broken := readRows(out)
	if broken != nil || len(rows) == 0 {
		return nil, fmt.Errorf("%s %s: %w\n%s", filepath.Base(binary), strings.Join(args, " "), cmp.Or(broken, err, errors.New("no rows")), complaint.Bytes())
	}
	return rows, nil
}

// readRows reads what -json printed.
func readRows(out []byte) (rows []row, err error) {
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var r row
		switch err := dec.Decode(&r); {
		case errors.Is(err, io.EOF):
			return rows, nil
		case err != nil:
			return nil, err
		}
		rows = append(rows, r)
	}
}

// contest is what two builds came to, row by row.
type contest struct {
	pairs  []*pair // in the order in which they came
	failed []string
}

type pair struct {
	name        string
	this, other series
}

// add takes in one run of one build.
func (c *contest) add(isOther bool, rows []row) {
	for _, r := range rows {
		name := r.Scenario + " " + r.Peer
		if r.Errors > 0 {
			c.failed = append(c.failed, fmt.Sprintf("%s: %d errors: %s", name, r.Errors, r.Err))
			continue
		}
		i := slices.IndexFunc(c.pairs, func(p *pair) bool { return p.name == name })
		if i < 0 {
			i = len(c.pairs)
			c.pairs = append(c.pairs, &pair{name: name})
		}
		s := &c.pairs[i].this
		if isOther {
			s = &c.pairs[i].other
		}
		s.ops, s.p50, s.p99 = append(s.ops, r.OpsPerS), append(s.p50, r.P50), append(s.p99, r.P99)
		s.cpu, s.allocs = append(s.cpu, r.CPU), append(s.allocs, r.Allocs)
	}
}

// print prints one line for each row, and says which were faster or slower.
func (c *contest) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tthat, ops/s\tthis, ops/s\tratio\tmiddle half\t\tp50\tp99\tCPU\tallocs\t")
	for _, p := range c.pairs {
		if len(p.this.ops) == 0 || len(p.other.ops) == 0 {
			fmt.Fprintf(w, "%s\t%s\t%s\tonly in one\t\t\t\t\t\t\t\n", p.name, count(median(p.other.ops)), count(median(p.this.ops)))
			continue
		}
		all := ratios(p.this.ops, p.other.ops)
		low, high := middleHalf(all)
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.2f to %.2f\t%s\t%s\t%s\t%s\t%s\t\n", p.name, count(median(p.other.ops)), count(median(p.this.ops)), ratio(pairedRatio(p.this.ops, p.other.ops)), low, high, trend(all),
			ratio(pairedRatio(p.this.p50, p.other.p50)), ratio(pairedRatio(p.this.p99, p.other.p99)), ratio(pairedRatio(p.this.cpu, p.other.cpu)), ratio(pairedRatio(p.this.allocs, p.other.allocs)))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, f := range c.failed {
		fmt.Fprintln(out, "FAILED", f)
	}
	return nil
}

// trend is in which direction all rounds agree, if there are enough of them: five or more
// do so by chance once in sixteen times or less.
func trend(ratios []float64) string {
	switch {
	case len(ratios) < 5:
	case slices.Min(ratios) > 1:
		return "faster"
	case slices.Max(ratios) < 1:
		return "slower"
	}
	return ""
}
