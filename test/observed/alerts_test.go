package observed

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/util/teststorage"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

const scrapeEvery = 15 * time.Second

// scrape is what one node served at a time.
type scrape struct {
	at   time.Time
	node string
	text string
}

// No alert fires for nodes that are well, and each one for the fault that it is about.
func TestAlertsFire(t *testing.T) {
	faults := map[string]func(t *testing.T, net *memnet.Network, c *cluster){
		"": func(*testing.T, *memnet.Network, *cluster) {},
		"TandemUnknownOutcome": func(t *testing.T, net *memnet.Network, c *cluster) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			if _, err := actor.Call(ctx, c.systems["a"].Ref("desk@b"), stall{}); rpc.Ran(err) != rpc.Unknown {
				t.Fatal(err)
			}
		},
		"TandemOldMessages": func(t *testing.T, net *memnet.Network, c *cluster) {
			f := actor.Ask(context.Background(), c.systems["a"].Ref("desk@b"), stall{})
			t.Cleanup(f.Cancel)
			synctest.Wait()
			if err := actor.Tell(context.Background(), c.systems["a"].Ref("desk@b"), note{}); err != nil {
				t.Fatal(err)
			}
		},
		"TandemInstanceEjected": func(t *testing.T, net *memnet.Network, c *cluster) {
			c.refuses.Store(true)
			for range 100 {
				if _, err := actor.Call(context.Background(), c.systems["a"].Service("desks"), ask{}); err != nil {
					t.Fatal(err)
				}
			}
		},
		"TandemStoreFailing": func(t *testing.T, net *memnet.Network, c *cluster) {
			c.store.fails.Store(true)
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			_, _ = actor.Call(ctx, c.systems["a"].Ref("vault@b"), ask{})
		},
		"TandemNodeNotReady": func(t *testing.T, net *memnet.Network, c *cluster) {
			f := actor.Ask(context.Background(), c.systems["c"].Ref("desk@c"), stall{})
			t.Cleanup(f.Cancel)
			go func() { _ = c.systems["c"].Shutdown(context.Background()) }()
			synctest.Wait()
		},
		"TandemDeadLetters": func(t *testing.T, net *memnet.Network, c *cluster) {
			if err := actor.Tell(context.Background(), c.systems["a"].Ref("nobody@b"), note{}); err != nil {
				t.Fatal(err)
			}
		},
		"TandemPeerWithoutRoad": func(t *testing.T, net *memnet.Network, c *cluster) {
			isolate(net, "c")
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			_, _ = actor.Call(ctx, c.systems["a"].Ref("desk@c"), ask{})
		},
	}
	for _, r := range rules(t) {
		if faults[r.Alert] == nil {
			t.Errorf("nothing makes %s fire", r.Alert)
		}
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			firing := alertsIn(t, observe(t, fault))
			if name == "" && len(firing) > 0 {
				t.Errorf("all is well, and %v fire", firing)
			}
			if name != "" && !firing[name] {
				t.Errorf("it does not fire; these do: %v", firing)
			}
		})
	}
}

// isolate cuts a node off.
func isolate(net *memnet.Network, node string) {
	for _, other := range []string{"a", "b", "c"} {
		if other != node {
			net.Partition("", node, other)
			for _, road := range []string{"direct", "bus"} {
				net.Partition(road, node, other)
				net.Reset(road, node, other)
			}
		}
	}
}

// observe scrapes three nodes for some minutes; after one of them a fault begins.
func observe(t *testing.T, fault func(*testing.T, *memnet.Network, *cluster)) (all []scrape) {
	bubble.Test(t, func(t *testing.T) {
		net := memnet.New(memnet.Config{Seed: 1})
		c := newCluster(t, func(string) []transport.Transport {
			return []transport.Transport{net.Transport("direct", true), net.Transport("bus", false)}
		})
		c.traffic(t)
		look := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(scrapeEvery) {
				synctest.Wait()
				for node, h := range c.serve {
					all = append(all, scrape{time.Now(), node, scraped(t, h)})
				}
			}
		}
		look(time.Minute)
		fault(t, net, c)
		look(3*time.Minute - 30*time.Second)
		c.store.fails.Store(false)
		close(c.release)
		synctest.Wait()
		c.close()
	})
	return all
}

// alertsIn returns the alerts that fire at the end of what was scraped, or did before.
func alertsIn(t *testing.T, all []scrape) map[string]bool {
	store := teststorage.New(t)
	app := store.Appender(context.Background())
	for _, s := range all {
		for name, f := range parsed(t, s.text) {
			for _, m := range f.Metric {
				if f.GetType() == dto.MetricType_HISTOGRAM || f.GetType() == dto.MetricType_SUMMARY {
					continue // no rule is about one
				}
				set := []string{labels.MetricName, name, "instance", s.node}
				for _, l := range m.Label {
					set = append(set, l.GetName(), l.GetValue())
				}
				if _, err := app.Append(0, labels.FromStrings(set...), s.at.UnixMilli(), m.GetCounter().GetValue()+m.GetGauge().GetValue()); err != nil {
					t.Fatal(name, err)
				}
			}
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	engine := promqltest.NewTestEngine(t, false, 5*time.Minute, 1_000_000)
	firing := map[string]bool{}
	for _, r := range rules(t) {
		since := map[string]time.Time{}
		for at := all[0].at; !at.After(all[len(all)-1].at); at = at.Add(scrapeEvery) {
			q, err := engine.NewInstantQuery(context.Background(), store, nil, r.Expr, at)
			if err != nil {
				t.Fatal(r.Alert, err)
			}
			vector, err := q.Exec(context.Background()).Vector()
			if err != nil {
				t.Fatal(r.Alert, err)
			}
			pending := map[string]time.Time{}
			for _, s := range vector {
				id := labelsOf(s)
				pending[id] = at
				if begun, ok := since[id]; ok {
					pending[id] = begun
				}
				if at.Sub(pending[id]) >= time.Duration(r.For) {
					firing[r.Alert] = true
				}
			}
			since = pending
			q.Close()
		}
	}
	return firing
}

func labelsOf(s promql.Sample) string {
	return strings.TrimSpace(fmt.Sprint(s.Metric))
}
