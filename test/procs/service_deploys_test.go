//go:build unix

package procs

import (
	"flag"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/test/ports"
)

var restarts = flag.Int("procs.restarts", 4, "how many graceful restarts under load, for each way in which nodes find and reach each other")

// deploy is a way in which nodes find and reach each other.
type deploy struct {
	name string
	kv   bool
	road string
}

var deploys = []deploy{
	{"both roads, natskv", true, ""}, {"TCP alone, natskv", true, "tcp"}, {"the bus alone, natskv", true, "nats"},
	{"both roads, static", false, ""}, {"TCP alone, static", false, "tcp"}, {"the bus alone, static", false, "nats"},
}

// TestARollingDeployGivesNoErrors restarts the instances of a service one after the other,
// each in good order, and a node that hosts an actor of its own, under load. Calls of the
// service never fail; those of the one actor wait for its return.
func TestARollingDeployGivesNoErrors(t *testing.T) {
	t.Parallel()
	var runs sync.WaitGroup
	for _, d := range deploys {
		dir := t.TempDir()
		runs.Go(func() {
			defer enter()()
			start := time.Now()
			l, err := rolling(dir, d, *restarts)
			if err != nil {
				t.Errorf("%s: %v", d.name, err)
			}
			if l == nil {
				return
			}
			svc := l.of(time.Second, func(c *inquiry) bool { return c.to == anyone })
			solo := l.of(5*time.Second, func(c *inquiry) bool { return c.to == serverA })
			t.Logf("%s: %d restarts in %v\n\tservice: %v\n\tone actor: %v", d.name, *restarts, short(time.Since(start)), svc, solo)
			for what, s := range map[string]sum{"service": svc, "one actor": solo} {
				if s.errors+s.open+len(s.wrong) > 0 || s.calls == 0 {
					t.Errorf("%s: %s: %v %v", d.name, what, s, s.wrong)
				}
			}
		})
	}
	runs.Wait()
}

// rolling makes n restarts.
func rolling(dir string, d deploy, n int) (*ledger, error) {
	w, err := newTown(dir, *seed)
	if err != nil {
		return nil, err
	}
	defer w.close()
	if d.kv || d.road != "tcp" {
		w.plan(1)
		if err := w.startNATS(); err != nil {
			return nil, err
		}
	}
	const solo = "solo"
	names := []string{"one", "two", "three", solo}
	roles := map[string]service{}
	var known []registry.Node
	for _, name := range names {
		s := service{KV: d.kv, Road: d.road, Name: crew, Work: time.Millisecond}
		node := registry.Node{Name: name, Services: map[string][]string{crew: {actorName}}}
		if name == solo {
			s.Name, node.Services = "", nil
		}
		if !d.kv && d.road != "nats" {
			s.Listen = "127.0.0.1:" + strconv.Itoa(ports.Free())
			node.Addrs = map[string]string{"tcp": s.Listen}
		}
		roles[name] = s
		known = append(known, node)
	}
	for _, name := range names {
		if err := w.start(w.node("instance", name, roles[name], known)); err != nil {
			return nil, err
		}
	}
	asker := service{KV: d.kv, Road: d.road, Name: crew, Solo: actorName + "@" + solo, Callers: 16, Pause: 10 * time.Millisecond, Within: 20 * time.Second}
	if err := w.start(w.node("asker", "asker", asker, known)); err != nil {
		return nil, err
	}
	if err := w.more(100, 20*time.Second); err != nil {
		return w.ledger, err
	}
	for i := range n {
		name := names[i%len(names)]
		if err := w.procs[name].end(); err != nil {
			return w.ledger, fmt.Errorf("restart %d: %w", i, err)
		}
		if err := w.start(w.node("instance", name, roles[name], known)); err != nil {
			return w.ledger, fmt.Errorf("restart %d: %w", i, err)
		}
		if err := w.more(100, 30*time.Second); err != nil {
			return w.ledger, fmt.Errorf("after restart %d: %w", i, err)
		}
	}
	return w.ledger, w.end("asker")
}
