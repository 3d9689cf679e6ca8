package natskv

import (
	"fmt"
	"slices"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// many makes more claims of a kind than a walk reads at once, and returns them in order.
func many(t *testing.T, c *Claims) (all []placement.Entry) {
	t.Helper()
	for i := range 600 {
		key, claim := placement.Key{Kind: "k", ID: fmt.Sprint(i)}, by("n")
		all = append(all, placement.Entry{Key: key, Held: placement.Held{Claim: claim, Token: create(t, c, key, claim)}})
	}
	return all
}

// walked returns what a walk yields. After each claim, it calls each.
func walked(t *testing.T, c *Claims, each func(n int)) (all []placement.Entry) {
	t.Helper()
	for e, err := range c.Walk(servers.Within(t, 60*time.Second), "k") {
		ok(t, err)
		all = append(all, e)
		each(len(all))
	}
	return all
}

// Answers that do not arrive, or in part, do not make a walk miss a claim.
func TestWalkLosesAnswers(t *testing.T) {
	t.Parallel()
	f := &servers.Faulty{JetStream: servers.Connect(t, servers.Start(t, embedded.Config{}))}
	c := open(t, f, Config{})
	want := many(t, c)
	f.Fetched(func([]natsjs.Msg) []natsjs.Msg { return nil },
		func(all []natsjs.Msg) []natsjs.Msg { return all },
		func(all []natsjs.Msg) []natsjs.Msg { return all[:100] },
		func(all []natsjs.Msg) []natsjs.Msg { return slices.Delete(all, 20, 30) })
	if got := walked(t, c, func(int) {}); !slices.Equal(got, want) {
		t.Errorf("got %d, want %d", len(got), len(want))
	}
}

// The server is restarted in the middle of a walk, and takes its consumer with it. Then a claim is
// replaced, and one is released.
func TestWalkOverRestart(t *testing.T) {
	t.Parallel()
	cfg := embedded.Config{StoreDir: t.TempDir()}
	s := servers.Start(t, cfg)
	cfg.Port = s.Port()
	c := open(t, servers.Connect(t, s), Config{})
	want := many(t, c)
	got := walked(t, c, func(n int) {
		if n != 100 {
			return
		}
		s.Shutdown()
		s = servers.Start(t, cfg)
		ctx, last := servers.Within(t, 30*time.Second), len(want)-1
		ok(t, c.Release(ctx, want[last].Key, want[last].Token))
		next := by("m")
		token, err := c.Replace(ctx, want[last-1].Key, next, want[last-1].Token)
		ok(t, err)
		want = append(want[:last-1], placement.Entry{Key: want[last-1].Key, Held: placement.Held{Claim: next, Token: token}})
	})
	if !slices.Equal(got, want) {
		t.Errorf("got %d, want %d", len(got), len(want))
	}
}

// led returns the leader of the claims' stream, and how many of its consumers are elsewhere.
func led(t *testing.T, js natsjs.JetStream) (leader string, elsewhere int) {
	t.Helper()
	s, err := js.Stream(t.Context(), "KV_tandem_claims")
	ok(t, err)
	leader = s.CachedInfo().Cluster.Leader
	for c := range s.ListConsumers(t.Context()).Info() {
		if c.Cluster.Leader != leader {
			elsewhere++
		}
	}
	return leader, elsewhere
}

// With three servers, each walk reads from the leader, and shows what was written just before
// through another server. Then the leader is stopped in the middle of a walk.
func TestWalkReplicated(t *testing.T) {
	t.Parallel()
	three := servers.Three(t)
	js := servers.Connect(t, three.Servers[0])
	c, other := open(t, js, Config{Replicas: 3}), open(t, servers.Connect(t, three.Servers[1]), Config{Replicas: 3})
	want := many(t, c)
	for range 20 {
		first := want[0]
		ok(t, c.Release(t.Context(), first.Key, first.Token))
		first.Claim = by("n")
		first.Token = create(t, c, first.Key, first.Claim)
		want = append(want[1:], first)
		got := walked(t, other, func(n int) {
			if n != 1 {
				return
			}
			leader, elsewhere := led(t, js)
			if still, _ := led(t, js); elsewhere > 0 && still == leader {
				t.Errorf("the consumer is not on %s, which leads", leader)
			}
		})
		if !slices.Equal(got, want) {
			t.Fatalf("got %d, want %d", len(got), len(want))
		}
	}
	got := walked(t, c, func(n int) {
		if n == 100 {
			three.Stop(three.Leader(servers.Within(t, 30*time.Second), "KV_tandem_claims"))
		}
	})
	if !slices.Equal(got, want) {
		t.Errorf("got %d, want %d", len(got), len(want))
	}
}
