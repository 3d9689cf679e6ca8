//go:build unix

package procs

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

var starts = flag.Int("procs.starts", 1, "in how many random orders and paces to start a cluster")

const (
	members  = 5
	natsSize = 3
	slowest  = 3 * time.Second // after which the last process is started
)

// TestAClusterStartsInAnyOrder starts five processes and three NATS servers at random
// moments. Each process connects, opens the registry, a store and a queue, makes its
// system and calls all the others. All come up by themselves: one that ends is a failure.
func TestAClusterStartsInAnyOrder(t *testing.T) {
	t.Parallel()
	var took []time.Duration
	for i := range *starts {
		d, err := startCluster(t.TempDir(), *seed+uint64(i))
		if err != nil {
			t.Errorf("order %d: %v", i, err)
			continue
		}
		took = append(took, d)
	}
	slices.Sort(took)
	t.Logf("%d of %d clusters came up; after the last process was started that took %v at the median, %v at the longest",
		len(took), *starts, short(quantile(took, 0.5)), short(quantile(took, 1)))
}

// startCluster starts a cluster in an order drawn from seed, and returns how long it took
// to be up after its last process was started.
func startCluster(dir string, seed uint64) (time.Duration, error) {
	defer enter()()
	w, err := newTown(dir, seed)
	if err != nil {
		return 0, err
	}
	defer w.close()
	w.plan(natsSize)
	var names []string
	for i := range members {
		names = append(names, "node-"+strconv.Itoa(i))
	}
	var all sync.WaitGroup
	var mu sync.Mutex // guards errs and w.procs
	var errs []error
	begin, last := time.Now(), time.Duration(0)
	at := func(start func() (*child, error), name string) {
		pause := time.Duration(w.r.Int64N(int64(slowest)))
		last = max(last, pause)
		all.Go(func() {
			time.Sleep(pause)
			c, err := start()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, fmt.Errorf("started after %v: %w", short(pause), err))
			} else if name != "" {
				w.procs[name] = c
			}
		})
	}
	for _, n := range w.nats {
		at(func() (*child, error) { return nil, n.start() }, "")
	}
	for i, name := range names {
		others := slices.Delete(slices.Clone(names), i, i+1)
		r := w.node("member", name, service{KV: true, Others: others}, nil)
		at(func() (*child, error) { return spawn(r) }, name)
	}
	all.Wait()
	took := time.Since(begin) - last
	if len(errs) > 0 {
		return 0, errors.Join(errs...)
	}
	return took, w.look()
}
