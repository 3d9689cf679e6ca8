//go:build linux && !race

package hostile

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/tandem-go/tandem/actor"
)

var share = flag.Int("hostile.share", 8, "attacks, and the limits they meet, are so many times smaller than the whole; 1 for the whole")

// What is required of the victim, and for its honest client.
const (
	account     = 256 << 20 // bytes that peers may have the victim hold
	memoryLimit = 400<<20 - idle
	idle        = 32 << 20               // of it what does not grow with the account: the program, and its links
	slowest     = 250 * time.Millisecond // p99 of an honest call beside an attack, on a machine whose processors the attacker shares
	logLimit    = 128 << 10              // of which a line for each link that comes up is most
)

// TestAttacks runs each attack against a victim of its own, and prints a table.
func TestAttacks(t *testing.T) {
	var rows []string
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) { rows = append(rows, run(t, a)) })
	}
	out := tabwriter.NewWriter(t.Output(), 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(out, "attack\tpeak memory\tkept\tlog\tcalls\terrors\tp50 before\tp99\tp50 beside it\tp99\t")
	for _, r := range rows {
		fmt.Fprintln(out, r)
	}
	out.Flush()
}

func run(t *testing.T, a attack) string {
	dir := t.TempDir()
	certify(t, dir, victimName, "honest", "mallory")
	victim := spawn(t, role{Name: victimName, Dir: dir, Share: *share})
	honest, err := role{Name: "honest", Dir: dir, Addr: victim.ready}.honest()
	if err != nil {
		t.Fatal(err)
	}
	defer honest.Shutdown(t.Context())
	calm, errs := calls(t.Context(), honest, stay)
	if len(errs) > 0 {
		t.Fatalf("without an attack: %v", errs[0])
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var beside []time.Duration
	var wg sync.WaitGroup
	wg.Go(func() { beside, errs = calls(ctx, honest, 2*patience) })
	mallory := spawn(t, role{Name: "mallory", Dir: dir, Attack: a.name, Addr: victim.ready, Share: *share})
	if line, err := mallory.out.ReadString('\n'); strings.TrimSpace(line) != "done" {
		t.Errorf("the attacker failed: %q, %v; %s", line, err, mallory.lastWords())
	}
	peak, now := victim.memory(t)
	cancel()
	wg.Wait()
	log, err := os.Stat(victim.log)
	if err != nil {
		t.Fatal(err)
	}
	if limit := idle + memoryLimit/int64(*share); peak > limit {
		t.Errorf("the victim had %d MiB in memory, want %d at most", peak>>20, limit>>20)
	}
	if log.Size() > logLimit {
		t.Errorf("the victim's log has %d bytes, want %d at most", log.Size(), logLimit)
	}
	if len(errs) > 0 {
		t.Errorf("%d of %d honest calls failed; the first: %v", len(errs), len(errs)+len(beside), errs[0])
	}
	if p := quantile(beside, 0.99); p > max(slowest, 3*quantile(calm, 0.99)) {
		t.Errorf("the p99 of honest calls is %v, and %v without the attack", p, quantile(calm, 0.99))
	}
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/1e6) }
	return fmt.Sprintf("%s\t%d MiB\t%d MiB\t%d kB\t%d\t%d\t%s\t%s\t%s\t%s\t", a.name, peak>>20, now>>20, log.Size()>>10, len(beside)+len(errs), len(errs),
		ms(quantile(calm, 0.5)), ms(quantile(calm, 0.99)), ms(quantile(beside, 0.5)), ms(quantile(beside, 0.99)))
}

// calls has the honest client call, one after the other with a short pause, until the time
// is over or ctx ends, and returns how long each took, sorted, and the errors.
func calls(ctx context.Context, sys *actor.System, within time.Duration) (took []time.Duration, errs []error) {
	to := sys.Ref("echo@" + victimName)
	for end := time.Now().Add(within); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(2 * time.Millisecond) {
		began := time.Now()
		call, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		got, err := actor.Call(call, to, Echo{N: len(took)})
		cancel()
		if err == nil && got != len(took) {
			err = fmt.Errorf("the answer is %d, want %d", got, len(took))
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took, errs
}

// quantile is of sorted times.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
