package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/state"
	"github.com/tandem-go/tandem/state/jetstream"
	"github.com/tandem-go/tandem/state/storetest"
	"github.com/tandem-go/tandem/test/servers"
)

func TestConformanceReplicated(t *testing.T) {
	t.Parallel()
	three := servers.Three(t)
	clusters, stores := 0, 0
	storetest.Run(t, storetest.Config{
		Open: func(t *testing.T) func() state.Store {
			clusters++
			cfg := jetstream.Config{Cluster: fmt.Sprintf("c%d", clusters), Replicas: 3}
			return func() state.Store {
				stores++
				return open(t, servers.Connect(t, three.Servers[stores%3]), cfg)
			}
		},
		TooLarge: 1 << 20,
	})
}

// Whichever server a store is connected to, a Load shows the commit that was acknowledged just
// before through another server, and no read is one that any replica may answer.
func TestLoadIsUpToDate(t *testing.T) {
	t.Parallel()
	three := servers.Three(t)
	var stores []*jetstream.Store
	for _, s := range three.Servers {
		stores = append(stores, open(t, servers.Connect(t, s), jetstream.Config{Replicas: 3}))
	}
	direct, err := servers.Connect(t, three.Servers[0]).Conn().SubscribeSync("$JS.API.DIRECT.>")
	ok(t, err)
	last := map[state.Key]state.Revision{}
	for i := range 100 {
		key := state.Key{Kind: "k", ID: fmt.Sprint(i % 7)}
		last[key] = commit(t, stores[i%3], key, fmt.Sprint(i), last[key])
		for _, s := range stores {
			holds(t, s, key, fmt.Sprint(i), last[key])
		}
	}
	if n, _, err := direct.Pending(); n > 0 || err != nil {
		t.Errorf("%d reads may have been answered by a replica, %v", n, err)
	}
}

// counter counts in one record, as the only one that commits to it.
type counter struct {
	key         state.Key
	acked       int // what the record must hold at least
	made        int // the count of the last commit that was made
	unknown     int
	interrupted error
}

// run counts until it is told to stop. A commit of unknown fate is followed by a load.
func (c *counter) run(ctx context.Context, s state.Store, progress func(), stop <-chan struct{}) {
	rev := state.Revision{}
	for n := 1; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		next, err := s.Commit(try, c.key, record(strconv.Itoa(n)), rev)
		cancel()
		c.made = n
		switch {
		case err == nil:
			rev, c.acked = next, n
			progress()
			continue
		case errors.Is(err, state.ErrUnknown):
			c.unknown++
		case errors.Is(err, state.ErrConflict) || !errors.Is(err, state.ErrNotStored):
			c.interrupted = err
			return
		}
		for {
			rec, at, err := s.Load(ctx, c.key)
			got, _ := strconv.Atoi(string(rec.State))
			switch {
			case err == nil && got >= c.acked && got <= n, errors.Is(err, state.ErrNone) && c.acked == 0:
				rev, c.acked = at, got
			case errors.Is(err, state.ErrUnavailable) && ctx.Err() == nil:
				continue
			default:
				c.interrupted = fmt.Errorf("%d commits were acknowledged, and the record has %q: %w", c.acked, rec.State, err)
				return
			}
			break
		}
	}
}

// count runs many counters while disturb does something to the servers, between two calls of
// which there is progress. In the end each record has what was acknowledged.
func count(t *testing.T, ctx context.Context, stores []state.Store, times int, disturb func(i int)) {
	t.Helper()
	const counters = 24
	progress, stop := make(chan struct{}, counters), make(chan struct{})
	all := make([]counter, counters)
	var running sync.WaitGroup
	for i := range all {
		all[i].key = state.Key{Kind: "k", ID: fmt.Sprint(i)}
		running.Go(func() {
			all[i].run(ctx, stores[i%len(stores)], func() {
				select {
				case progress <- struct{}{}:
				default:
				}
			}, stop)
		})
	}
	wait := func() {
		for range 4 * counters {
			select {
			case <-progress:
			case <-ctx.Done():
				t.Error("no progress")
				return
			}
		}
	}
	for i := range times {
		wait()
		disturb(i)
	}
	wait()
	close(stop)
	running.Wait()
	commits, unknown := 0, 0
	for _, c := range all {
		if c.interrupted != nil {
			t.Errorf("%v: %v", c.key, c.interrupted)
			continue
		}
		for _, s := range stores {
			rec, _, err := s.Load(ctx, c.key)
			if n, _ := strconv.Atoi(string(rec.State)); err != nil || n < c.acked || n > c.made {
				t.Errorf("%v: %d were acknowledged of %d, and the record has %q, %v", c.key, c.acked, c.made, rec.State, err)
			}
		}
		commits, unknown = commits+c.acked, unknown+c.unknown
	}
	t.Logf("%d commits, %d of unknown fate", commits, unknown)
}

// The stream's leader steps down in the middle of commits. Nothing that was acknowledged is lost,
// and nobody is told that somebody else has committed.
func TestStepDown(t *testing.T) {
	t.Parallel()
	three := servers.Three(t)
	ctx := servers.Within(t, 110*time.Second)
	var stores []state.Store
	for _, s := range three.Servers {
		s := open(t, servers.Connect(t, s), jetstream.Config{Replicas: 3})
		stores = append(stores, s, storetest.Then(s))
	}
	js := servers.Connect(t, three.Servers[0])
	count(t, ctx, stores, 5, func(int) { ok(t, servers.StepDown(ctx, js, "tandem_state")) })
}

// The server that leads the stream is stopped in the middle of commits, and comes back.
func TestLeaderIsStopped(t *testing.T) {
	t.Parallel()
	three := servers.Three(t)
	ctx := servers.Within(t, 110*time.Second)
	js := servers.Connect(t, three.Servers[0])
	s := open(t, js, jetstream.Config{Replicas: 3})
	stores := []state.Store{s, storetest.Then(s)}
	count(t, ctx, stores, 2, func(int) {
		at := three.Leader(ctx, "tandem_state")
		three.Stop(at)
		three.Again(ctx, at, "tandem_state")
	})
}
