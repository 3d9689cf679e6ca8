// Bench measures Tandem beside its peers and beside what channels and sockets can do,
// in one process and in turns. See README.md.
//
//	go run -C bench . -quick
package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"runtime/pprof"
	"time"
)

// options are the command line's.
type options struct {
	effort
	isFull    bool
	asJSON    bool
	check     bool
	scenarios *regexp.Regexp
	peers     *regexp.Regexp
	profile   string
}

func main() {
	o, err := parse(os.Args[1:])
	if err != nil {
		os.Exit(2) // flag has said why
	}
	ok, err := bench(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	o := options{effort: full, isFull: true}
	isQuick := flags.Bool("quick", false, "less than a minute in all: 3 short rounds")
	rounds := flags.Int("rounds", 0, "how often to measure each peer (default 7, with -quick 3)")
	flags.BoolVar(&o.asJSON, "json", false, "print one JSON object per row")
	flags.BoolVar(&o.check, "check", false, "fail if a target is missed")
	flags.StringVar(&o.profile, "cpuprofile", "", "write a CPU profile to this `file`")
	pattern := func(p **regexp.Regexp) func(string) error {
		return func(s string) (err error) {
			*p, err = regexp.Compile(s)
			return err
		}
	}
	flags.Func("scenario", "run the scenarios that match this `regexp` only", pattern(&o.scenarios))
	flags.Func("peer", "run the peers that match this `regexp` only", pattern(&o.peers))
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if *isQuick {
		o.effort, o.isFull = quick, false
	}
	if *rounds > 0 {
		o.rounds = *rounds
	}
	return o, nil
}

// bench runs what o asks for and prints it. It reports false if something failed or,
// with -check, a target was missed.
func bench(o options) (ok bool, err error) {
	if o.profile != "" {
		f, err := os.Create(o.profile)
		if err != nil {
			return false, err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return false, err
		}
		defer pprof.StopCPUProfile()
	}
	e := &env{actors: o.actors}
	defer e.close()
	if !o.asJSON {
		fmt.Printf("%s, %d CPUs; medians of %d rounds of %v; * is the best peer\n", runtime.Version(), runtime.GOMAXPROCS(0), o.rounds, o.each)
	}
	start := time.Now()
	var results []result
	for _, s := range scenarios() {
		if o.scenarios != nil && !o.scenarios.MatchString(s.name) {
			continue
		}
		if s.peers = chosen(s.peers, o.peers); len(s.peers) == 0 {
			continue
		}
		res := run(s, e, o.effort)
		results = append(results, res)
		if o.asJSON {
			err = printJSON(os.Stdout, res)
		} else {
			err = printTable(os.Stdout, s, res)
		}
		if err != nil {
			return false, err
		}
	}
	if len(results) == 0 {
		return false, fmt.Errorf("no scenario, or none of its peers, matches")
	}
	return verdict(o, results, time.Since(start)), nil
}

// chosen returns the peers whose names match.
func chosen(all []peer, pattern *regexp.Regexp) (some []peer) {
	for _, p := range all {
		if pattern == nil || pattern.MatchString(p.name) {
			some = append(some, p)
		}
	}
	return some
}

// verdict prints what failed and, with -check, what was missed.
func verdict(o options, results []result, took time.Duration) (ok bool) {
	out := os.Stdout
	if o.asJSON {
		out = os.Stderr
	}
	failed := failures(results)
	for _, f := range failed {
		fmt.Fprintln(out, "FAILED", f)
	}
	var missed []string
	if o.check {
		missed = check(results, o.isFull)
		fmt.Fprintf(out, "\n%d targets missed\n", len(missed))
		for _, m := range missed {
			fmt.Fprintln(out, "MISSED", m)
		}
	}
	if !o.asJSON {
		fmt.Fprintf(out, "\n%v in all\n", took.Round(time.Second))
	}
	return len(failed)+len(missed) == 0
}
