package jetstream_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-go/tandem/reminder"
	"github.com/tandem-go/tandem/reminder/jetstream"
	"github.com/tandem-go/tandem/reminder/remindertest"
	"github.com/tandem-go/tandem/test/servers"
)

// stopLeader stops the server that leads a stream, and starts it again.
func stopLeader(ctx context.Context, c *servers.Cluster, stream string) {
	at := c.Leader(ctx, stream)
	c.Stop(at)
	c.Again(ctx, at, stream)
}

func TestConformanceReplicated(t *testing.T) {
	t.Parallel()
	c := servers.Three(t)
	var clusters, stores atomic.Int32
	remindertest.Run(t, remindertest.Config{
		Open: func(t *testing.T) func() reminder.Store {
			cfg := jetstream.Config{Cluster: fmt.Sprintf("c%d", clusters.Add(1)), Replicas: 3, Patience: 3 * slack}
			return func() reminder.Store {
				return open(t, servers.Connect(t, c.Servers[stores.Add(1)%3]), cfg)
			}
		},
		Patience: 3 * slack,
		Slack:    2 * slack, // each case has streams and consumers that elect their leaders first
	})
}

// In a cluster of three, the leaders of both streams step down or are stopped while reminders are set and fire.
func TestLeaderChanges(t *testing.T) {
	t.Parallel()
	c := servers.Three(t)
	var stores []*jetstream.Store
	l := newBook(t)
	js := servers.Connect(t, c.Servers[0])
	for _, srv := range c.Servers {
		s := open(t, servers.Connect(t, srv), jetstream.Config{Replicas: 3})
		s.Hasten(2 * time.Second)
		stores = append(stores, s)
		follow(t, s, l.done)
	}
	often := set(t, stores[0], note("often", reminder.Every(time.Second)))
	const each = 100
	for round := range 4 {
		var all sync.WaitGroup
		began := time.Now()
		for i := range each {
			all.Go(func() {
				set(t, stores[i%3], note(fmt.Sprint(round, ".", i), reminder.At(began.Add(time.Duration(i)*30*time.Millisecond))))
			})
		}
		time.Sleep(time.Until(began.Add(time.Second))) // in the middle of it
		stream := []string{"tandem_reminders", "tandem_alarms"}[round/2]
		if round%2 == 0 {
			ok(t, servers.StepDown(servers.Within(t, patience), js, stream))
		} else {
			stopLeader(servers.Within(t, patience), c, stream)
		}
		all.Wait()
		l.await(each * (round + 1))
	}
	l.numbers(often)
	t.Logf("%d were handed out more than once", l.await(4*each))
}
