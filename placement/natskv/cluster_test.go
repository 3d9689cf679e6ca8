package natskv

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/placement/claimtest"
	"github.com/tandem-go/tandem/test/servers"
)

// On three servers: the suite; a Get through each server shows what was acknowledged just before
// through another one, and no read is one that any replica may answer; and claims are made, each
// once, while the bucket's leader steps down.
func TestReplicated(t *testing.T) {
	t.Parallel()
	three := servers.Three(t)
	t.Run("suite", func(t *testing.T) {
		clusters, clients := 0, 0
		claimtest.Run(t, claimtest.Config{Open: func(t *testing.T) func() placement.Claims {
			clusters++
			cfg := Config{Cluster: fmt.Sprint("c", clusters), Replicas: 3}
			return func() placement.Claims {
				clients++
				return open(t, servers.Connect(t, three.Servers[clients%3]), cfg)
			}
		}})
	})
	var all []*Claims
	for _, s := range three.Servers {
		all = append(all, open(t, servers.Connect(t, s), Config{Replicas: 3}))
	}
	js := servers.Connect(t, three.Servers[0])
	t.Run("reads", func(t *testing.T) {
		direct, err := js.Conn().SubscribeSync("$JS.API.DIRECT.>")
		ok(t, err)
		last := map[placement.Key]placement.Token{}
		for i := range 60 {
			key, claim := placement.Key{Kind: "k", ID: fmt.Sprint(i % 7)}, by("n")
			var err error
			if last[key] == 0 {
				last[key], err = all[i%3].Create(t.Context(), key, claim)
			} else {
				last[key], err = all[i%3].Replace(t.Context(), key, claim, last[key])
			}
			ok(t, err)
			for _, c := range all {
				holds(t, c, key, claim, last[key])
			}
		}
		if n, _, err := direct.Pending(); n > 0 || err != nil {
			t.Errorf("%d reads may have been answered by a replica, %v", n, err)
		}
	})
	t.Run("back to back", func(t *testing.T) { backToBack(t, all) })
	t.Run("step down", func(t *testing.T) { stepDown(t, js, all) })
}

// backToBack has each client write to keys of its own, one write as soon as the one before is
// answered. Nobody else writes to them, so no write is refused.
func backToBack(t *testing.T, all []*Claims) {
	var running sync.WaitGroup
	for w := range 24 {
		running.Go(func() {
			c, key := all[w%3], placement.Key{Kind: "alone", ID: fmt.Sprint(w)}
			for range 20 {
				token, err := c.Create(t.Context(), key, by("n"))
				if err == nil {
					token, err = c.Replace(t.Context(), key, by("m"), token)
				}
				if err == nil {
					err = c.Release(t.Context(), key, token)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
}

// stepDown has workers take keys from one another while the leader of the bucket steps down.
func stepDown(t *testing.T, js natsjs.JetStream, all []*Claims) {
	ctx := servers.Within(t, 90*time.Second)
	const workers, keys = 12, 4
	progress, stop := make(chan struct{}, workers), make(chan struct{})
	var mu sync.Mutex
	replaced := map[string]string{} // a claim that was replaced → by which
	var running sync.WaitGroup
	for w := range workers {
		running.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				key, claim := placement.Key{Kind: "step", ID: fmt.Sprint(i % keys)}, by(fmt.Sprint("n", w))
				held, err := all[w%3].Get(ctx, key)
				var token placement.Token
				switch {
				case err != nil:
				case held.Token == 0:
					token, err = all[w%3].Create(ctx, key, claim)
				default:
					token, err = all[w%3].Replace(ctx, key, claim, held.Token)
				}
				if errors.Is(err, placement.ErrConflict) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				what := fmt.Sprint(key, held.Token)
				if other := replaced[what]; other != "" || token <= held.Token {
					t.Errorf("%s was replaced by %s, and by %s under %d", what, other, claim.ID, token)
				}
				replaced[what] = claim.ID
				mu.Unlock()
				select {
				case progress <- struct{}{}:
				default:
				}
			}
		})
	}
	wait := func() {
		for range 4 * workers {
			select {
			case <-progress:
			case <-ctx.Done():
				t.Error("no progress")
				return
			}
		}
	}
	for range 4 {
		wait()
		ok(t, servers.StepDown(ctx, js, "KV_tandem_claims"))
	}
	wait()
	close(stop)
	running.Wait()
	t.Logf("%d claims were made", len(replaced))
}
