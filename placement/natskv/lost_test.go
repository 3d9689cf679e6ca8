package natskv

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// losses are ways in which an operator can lose claims.
var losses = map[string]func(ctx context.Context, js natsjs.JetStream) error{
	"deleted":                func(ctx context.Context, js natsjs.JetStream) error { return js.DeleteStream(ctx, "KV_tandem_claims") },
	"recreated":              anew(func(cfg *natsjs.StreamConfig) {}),
	"recreated by KeyValue":  func(ctx context.Context, js natsjs.JetStream) error { return recreated(ctx, js) },
	"made forgetful":         changed(func(cfg *natsjs.StreamConfig) { cfg.MaxAge = time.Hour }),
	"made to answer direct":  changed(func(cfg *natsjs.StreamConfig) { cfg.AllowDirect = true }),
	"purged, as if restored": anew(func(cfg *natsjs.StreamConfig) { cfg.DenyPurge = false }),
}

func anew(change func(*natsjs.StreamConfig)) func(context.Context, natsjs.JetStream) error {
	return func(ctx context.Context, js natsjs.JetStream) error {
		return servers.Recreate(ctx, js, "KV_tandem_claims", change)
	}
}

func changed(change func(*natsjs.StreamConfig)) func(context.Context, natsjs.JetStream) error {
	return func(ctx context.Context, js natsjs.JetStream) error {
		s, err := js.Stream(ctx, "KV_tandem_claims")
		if err == nil {
			cfg := s.CachedInfo().Config
			change(&cfg)
			_, err = js.UpdateStream(ctx, cfg)
		}
		return err
	}
}

func recreated(ctx context.Context, js natsjs.JetStream) error {
	if err := js.DeleteKeyValue(ctx, "tandem_claims"); err != nil {
		return err
	}
	return servers.Settled(ctx, func() error {
		_, err := js.CreateKeyValue(ctx, natsjs.KeyValueConfig{Bucket: "tandem_claims"})
		return err
	})
}

// The loss of claims is noticed, at once or after the time in which a former leader could be wrong.
// No Get says that there is no claim. The store never works again, and neither does one that is
// opened later, until an operator says so.
func TestLost(t *testing.T) {
	t.Parallel()
	for name, lose := range losses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			js := servers.Connect(t, servers.Start(t, embedded.Config{}))
			ctx := servers.Within(t, 60*time.Second)
			c := open(t, js, Config{})
			token := create(t, c, alice, by("n"))
			if err := c.Check(ctx); err != nil {
				t.Fatalf("nothing is lost: %v", err)
			}
			ok(t, lose(ctx, js))
			bob := placement.Key{Kind: "k", ID: "bob"}
			short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			_, err := c.Get(short, bob)
			if cancel(); !errors.Is(err, placement.ErrUnavailable) {
				t.Errorf("a suspicion: %v", err)
			}
			if _, err = c.Get(ctx, bob); !errors.Is(err, placement.ErrLost) {
				t.Errorf("get: %v", err)
			}
			for range 2 {
				_, err1 := c.Create(ctx, bob, by("n"))
				_, err2 := c.Replace(ctx, alice, by("n"), token)
				_, err3 := c.Get(ctx, alice)
				for _, err := range c.Walk(ctx, alice.Kind) {
					if !errors.Is(err, placement.ErrLost) {
						t.Errorf("walk: %v", err)
					}
				}
				_, err4 := Open(ctx, js, Config{Logger: slog.New(slog.DiscardHandler)})
				for i, err := range []error{err1, err2, err3, c.Release(ctx, alice, token), c.Check(ctx), err4} {
					if !errors.Is(err, placement.ErrLost) || placement.After(err) != placement.Fail {
						t.Errorf("call %d: %v", i, err)
					}
				}
			}
			_ = js.DeleteStream(ctx, "KV_tandem_claims")
			ok(t, js.DeleteStream(ctx, "tandem_claims_made"))
			holds(t, open(t, js, Config{}), alice, placement.Claim{}, 0)
		})
	}
}
