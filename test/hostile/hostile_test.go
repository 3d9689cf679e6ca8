//go:build linux && !race

package hostile

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

var (
	share    = flag.Int("hostile.share", 0, "all attacks, which and whose limits are so many times smaller than the whole; 1 for the whole, 0 for a few attacks at a sixteenth")
	profiles = flag.String("hostile.profiles", "", "folder for a CPU profile of each victim")
	strict   = flag.Bool("hostile.strict", false, "an honest call's p99 beside an attack is at most 3 times that without, or 5 ms: for a machine that does nothing else")
)

// fewShare is the share by default.
const fewShare = 16

// Limits for the victim, and for what its honest client experiences.
const (
	account     = 256 << 20 // bytes that peers may have the victim hold
	memoryLimit = 400<<20 - idle
	idle        = 48 << 20 // of it what does not grow with the account: the program, and its links
	logLimit    = 128 << 10

	slower  = 3                      // times the p99 of honest calls without an attack, or
	noise   = 5 * time.Millisecond   // what is no difference, if the machine does nothing else, or
	slowest = 250 * time.Millisecond // what other work on the machine may do to them
	dialing = 2 * time.Second        // p99 of a new link with a session, for somebody honest
)

// TestAttacks runs each attack against a victim of its own, and prints a table.
func TestAttacks(t *testing.T) {
	few := *share == 0
	if few {
		*share = fewShare
	}
	b := bench{share: *share, calm: map[kind]figures{}}
	var rows []string
	for _, a := range attacks {
		if few && !a.few {
			continue
		}
		t.Run(a.name, func(t *testing.T) { rows = append(rows, b.run(t, a)) })
	}
	out := tabwriter.NewWriter(t.Output(), 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(out, "attack\tpeak memory\tkept\tlog\tcalls\terrors\tp50 calm\tp99\tp50 beside\tp99\tratio\tpause\tdials\tp50\tp99\ttook\t")
	for _, r := range rows {
		fmt.Fprintln(out, r)
	}
	out.Flush()
}

// bench is what all runs have in common.
type bench struct {
	share int
	calm  map[kind]figures // what it is like without an attack
}

// world is the processes of a run, except for the attacker.
type world struct {
	dir    string
	bus    string // the NATS server's URL
	victim *child
	honest *honest
}

// start starts the victim and the honest node. peer is the address of a hostile server.
func (b bench) start(t *testing.T, k kind, dir, peer string) *world {
	t.Helper()
	w := &world{dir: dir}
	if k.usesBus() {
		w.bus = spawn(t, role{Name: "bus", Dir: dir}).ready
	}
	w.victim = spawn(t, role{Name: victimName, Kind: k, Dir: dir, Share: b.share, Bus: w.bus, Peer: peer, Profile: profileOf(t)})
	var err error
	if w.honest, err = (role{Name: "honest", Kind: k, Dir: dir, Addr: w.victim.ready, Bus: w.bus}).honest(t); err != nil {
		t.Fatal(err)
	}
	return w
}

// quiet measures a victim without an attack, once for each kind.
func (b bench) quiet(t *testing.T, k kind) figures {
	t.Helper()
	if _, known := b.calm[k]; !known {
		t.Run("calm", func(t *testing.T) {
			dir := t.TempDir()
			certify(t, dir, everybody...)
			w := b.start(t, k, dir, "")
			ctx, cancel := context.WithTimeout(t.Context(), calmFor)
			defer cancel()
			f := w.honest.work(ctx)
			if err := f.first(); err != nil {
				t.Fatalf("without an attack: %v", err)
			}
			b.calm[k] = f
		})
	}
	return b.calm[k]
}

// calmFor is how long a victim is measured without an attack.
const calmFor = time.Second

func (b bench) run(t *testing.T, a attack) string {
	began := time.Now()
	calm := b.quiet(t, a.kind)
	dir := t.TempDir()
	certify(t, dir, everybody...)
	attacker := role{Name: "mallory", Kind: a.kind, Dir: dir, Attack: a.name, Share: b.share}
	var mallory *child
	peer := ""
	if a.kind == asClient {
		mallory = spawn(t, attacker)
		peer = mallory.ready
	}
	w := b.start(t, a.kind, dir, peer)
	before := w.honest.inside(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var beside figures
	var wg sync.WaitGroup
	wg.Go(func() { beside = w.honest.work(ctx) })
	if mallory == nil {
		attacker.Addr, attacker.Bus = w.victim.ready, w.bus
		mallory = spawn(t, attacker)
	}
	if line, err := mallory.out.ReadString('\n'); strings.TrimSpace(line) != "done" {
		t.Errorf("the attacker failed: %q, %v; %s", line, err, mallory.lastWords())
	}
	_ = mallory.cmd.Wait()
	cancel()
	wg.Wait()
	after := w.honest.inside(t)
	peak, now := w.victim.memory(t)
	log, err := os.Stat(w.victim.log)
	if err != nil {
		t.Fatal(err)
	}
	if limit := idle + memoryLimit/int64(b.share); peak > limit {
		t.Errorf("the victim had %d MiB in memory, want %d at most", peak>>20, limit>>20)
	}
	if kept := now - before.RSS; a.keeps > 0 && kept > a.keeps {
		t.Errorf("the victim keeps %d MiB of the attack, want %d at most", kept>>20, a.keeps>>20)
	}
	if log.Size() > logLimit {
		t.Errorf("the victim's log has %d bytes, want %d at most", log.Size(), logLimit)
	}
	if err := beside.first(); err != nil {
		t.Errorf("%d of %d honest calls failed; the first: %v", len(beside.errs), len(beside.errs)+len(beside.calls), err)
	}
	if got, want := after.Echoed-before.Echoed, beside.echoes; got != want {
		t.Errorf("the victim has run %d calls, of which %d were made", got, want)
	}
	if a.bites != nil {
		if err := a.bites(before, after); err != nil {
			t.Errorf("this was no attack: %v; %+v", err, after)
		}
	}
	w.honest.judge(t, a)
	limit := max(slowest, slower*quantile(calm.calls, 0.99))
	if *strict {
		limit = max(noise, slower*quantile(calm.calls, 0.99))
	}
	p99 := quantile(beside.calls, 0.99)
	if n := len(beside.calls); n > 2 && n < 200 { // a short attack, where one call or two would be what counts
		p99 = beside.calls[n-3]
	}
	if p99 > limit {
		t.Errorf("the p99 of honest calls is %v, and %v without the attack", p99, quantile(calm.calls, 0.99))
	}
	if p := quantile(beside.dials, 0.99); p > dialing {
		t.Errorf("the p99 of honest dials is %v", p)
	}
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/1e6) }
	return fmt.Sprintf("%s\t%d MiB\t%d MiB\t%d kB\t%d\t%d\t%s\t%s\t%s\t%s\t%.1f\t%s\t%d\t%s\t%s\t%.1f s\t", a.name, peak>>20, now>>20, log.Size()>>10,
		len(beside.calls)+len(beside.errs), len(beside.errs), ms(quantile(calm.calls, 0.5)), ms(quantile(calm.calls, 0.99)), ms(quantile(beside.calls, 0.5)), ms(p99),
		float64(p99)/float64(max(quantile(calm.calls, 0.99), 1)), ms(after.Paused), len(beside.dials), ms(quantile(beside.dials, 0.5)), ms(quantile(beside.dials, 0.99)), time.Since(began).Seconds())
}

// profileOf returns the file for the profile of a run's victim.
func profileOf(t *testing.T) string {
	if *profiles == "" {
		return ""
	}
	return filepath.Join(*profiles, strings.NewReplacer("/", "_", ":", "", " ", "_").Replace(t.Name())+".pprof")
}

// quantile returns a quantile of sorted times.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
