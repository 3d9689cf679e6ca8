// Bench measures Tandem beside its peers and beside what channels and sockets can do,
// in one process and in turns. See README.md.
//
//	go run -C bench . -quick
package main

import (
	"errors"
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
	docs      string // where curves and overload leave what they found
	curves    bool
	overload  bool
	compare   string // a revision

	scenarioText, peerText string // as given
	roundsSet              bool
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == nodeFlag {
		nodeMain(os.Args[2:], os.Stdin, os.Stdout)
		return
	}
	o, err := parse(os.Args[1:])
	if err != nil {
		os.Exit(2) // flag has said why
	}
	ok, err := run(o)
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
	isQuick := flags.Bool("quick", false, "some one to two minutes in all: 3 short rounds")
	rounds := flags.Int("rounds", 0, "how often to measure each peer (default 7, with -quick 3)")
	flags.BoolVar(&o.asJSON, "json", false, "print one JSON object per row")
	flags.BoolVar(&o.check, "check", false, "fail if a target is missed")
	flags.StringVar(&o.profile, "cpuprofile", "", "write a CPU profile to this `file`")
	flags.StringVar(&o.docs, "docs", "../docs", "where -curves and -overload write plots and numbers, `folder`; with -quick nowhere")
	flags.BoolVar(&o.curves, "curves", false, "measure how speed depends on callers, sizes, actors and nodes; what things weigh; how long a start takes")
	flags.BoolVar(&o.overload, "overload", false, "measure what becomes of more requests than can be served")
	flags.StringVar(&o.compare, "compare", "", "compare with this `revision`, in turns")
	pattern := func(p **regexp.Regexp, text *string) func(string) error {
		return func(s string) (err error) {
			*text = s
			*p, err = regexp.Compile(s)
			return err
		}
	}
	flags.Func("scenario", "run the scenarios that match this `regexp` only", pattern(&o.scenarios, &o.scenarioText))
	flags.Func("peer", "run the peers that match this `regexp` only", pattern(&o.peers, &o.peerText))
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	modes := 0
	for _, on := range []bool{o.curves, o.overload, o.compare != ""} {
		if on {
			modes++
		}
	}
	if modes > 1 {
		err := errors.New("-curves, -overload and -compare exclude each other")
		fmt.Fprintln(os.Stderr, err)
		return o, err
	}
	if *isQuick {
		o.effort, o.isFull = quick, false
	}
	if *rounds > 0 {
		o.rounds, o.roundsSet = *rounds, true
	}
	return o, nil
}

// run does what o asks for. It reports false if something failed or was missed.
func run(o options) (ok bool, err error) {
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
	switch {
	case o.curves:
		return drawCurves(o)
	case o.overload:
		return flood(o)
	case o.compare != "":
		return compare(o)
	}
	return bench(o)
}

// bench measures the scenarios that o names and prints them. It reports false if
// something failed or, with -check, a target was missed.
func bench(o options) (ok bool, err error) {
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
		res := measureAll(s, e, o.effort)
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
