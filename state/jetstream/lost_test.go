package jetstream_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/state"
	"github.com/tandem-go/tandem/state/jetstream"
	"github.com/tandem-go/tandem/state/storetest"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// reopen opens the store as another process does.
func reopen(ctx context.Context, js natsjs.JetStream) (*jetstream.Store, error) {
	return jetstream.Open(ctx, js, jetstream.Config{Logger: slog.New(slog.DiscardHandler)})
}

// losses are ways in which an operator can lose records.
var losses = map[string]func(ctx context.Context, js natsjs.JetStream) error{
	"deleted": func(ctx context.Context, js natsjs.JetStream) error { return js.DeleteStream(ctx, "tandem_state") },
	"recreated": func(ctx context.Context, js natsjs.JetStream) error {
		return servers.Recreate(ctx, js, "tandem_state", nil)
	},
	"made again without a purge being denied, and purged": func(ctx context.Context, js natsjs.JetStream) error {
		err := servers.Recreate(ctx, js, "tandem_state", func(c *natsjs.StreamConfig) { c.DenyPurge = false })
		if err != nil {
			return err
		}
		s, err := js.Stream(ctx, "tandem_state")
		if err != nil {
			return err
		}
		return s.Purge(ctx)
	},
	"made forgetful": func(ctx context.Context, js natsjs.JetStream) error {
		s, err := js.Stream(ctx, "tandem_state")
		if err == nil {
			cfg := s.CachedInfo().Config
			cfg.MaxAge = time.Hour
			_, err = js.UpdateStream(ctx, cfg)
		}
		return err
	},
}

// The loss of records is noticed by each method, at once or after the time in which a former
// leader could be wrong. No method says that there is no record. The store never works again, and
// neither does one that is opened later, until an operator says so.
func TestLost(t *testing.T) {
	t.Parallel()
	for name, lose := range losses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			js := servers.Connect(t, servers.Start(t, embedded.Config{}))
			ctx := servers.Within(t, 60*time.Second)
			s := open(t, js, jetstream.Config{})
			rev := commit(t, s, alice, "x", state.Revision{})
			if err := s.Check(ctx); err != nil {
				t.Fatalf("nothing is lost: %v", err)
			}
			ok(t, lose(ctx, js))
			bob := state.Key{Kind: alice.Kind, ID: "bob"}
			short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			_, _, err := s.Load(short, bob)
			if cancel(); !errors.Is(err, state.ErrUnavailable) {
				t.Errorf("a suspicion: %v", err)
			}
			began := time.Now()
			if _, _, err = s.Load(ctx, bob); !errors.Is(err, state.ErrLost) || errors.Is(err, state.ErrNone) {
				t.Errorf("load: %v", err)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
			for range 2 {
				if _, err := s.Commit(ctx, alice, record("y"), rev); !errors.Is(err, state.ErrLost) {
					t.Errorf("commit: %v", err)
				}
				if _, err := s.Commit(ctx, bob, record("y"), state.Revision{}); !errors.Is(err, state.ErrLost) {
					t.Errorf("first commit: %v", err)
				}
				if _, err := storetest.Then(s).Commit(ctx, alice, record("y"), rev); !errors.Is(err, state.ErrLost) {
					t.Errorf("commit without waiting: %v", err)
				}
				if _, _, err := s.Load(ctx, alice); !errors.Is(err, state.ErrLost) {
					t.Errorf("load: %v", err)
				}
				for _, err := range s.Walk(ctx, alice.Kind) {
					if !errors.Is(err, state.ErrLost) {
						t.Errorf("walk: %v", err)
					}
				}
				if err := s.Check(ctx); !errors.Is(err, state.ErrLost) {
					t.Errorf("check: %v", err)
				}
				if _, err := reopen(ctx, js); !errors.Is(err, state.ErrLost) || !strings.Contains(err.Error(), "delete the stream tandem_state_made") {
					t.Errorf("open: %v", err)
				}
			}
			if name == "made forgetful" {
				return
			}
			_ = js.DeleteStream(ctx, "tandem_state")
			ok(t, js.DeleteStream(ctx, "tandem_state_made"))
			next, err := reopen(ctx, js)
			ok(t, err)
			if _, _, err := next.Load(ctx, alice); !errors.Is(err, state.ErrNone) {
				t.Errorf("load: %v", err)
			}
			commit(t, next, alice, "z", state.Revision{})
			if _, err := s.Commit(ctx, bob, record("y"), state.Revision{}); !errors.Is(err, state.ErrLost) {
				t.Errorf("a store that was open before: %v", err)
			}
		})
	}
}

// A commit notices a loss by itself, whether it is the first one of its key or not, also if
// another process has begun anew meanwhile: it is not stored in the new stream.
func TestCommitAfterLoss(t *testing.T) {
	t.Parallel()
	for _, first := range []bool{true, false} {
		for i := range 4 {
			again, waits := i%2 == 0, i < 2
			js := servers.Connect(t, servers.Start(t, embedded.Config{}))
			ctx := servers.Within(t, 30*time.Second)
			s := open(t, js, jetstream.Config{})
			key, rev := state.Key{Kind: "k", ID: "new"}, state.Revision{}
			if !first {
				rev = commit(t, s, key, "x", rev)
			}
			ok(t, js.DeleteStream(ctx, "tandem_state"))
			if again {
				ok(t, js.DeleteStream(ctx, "tandem_state_made"))
				open(t, js, jetstream.Config{})
			}
			var by state.Store = s
			if !waits {
				by = storetest.Then(s)
			}
			if _, err := by.Commit(ctx, key, record("y"), rev); !errors.Is(err, state.ErrLost) {
				t.Errorf("first %v, another stream %v, waits %v: %v", first, again, waits, err)
			}
			if again {
				if _, _, err := open(t, js, jetstream.Config{}).Load(ctx, key); !errors.Is(err, state.ErrNone) {
					t.Errorf("it was stored: %v", err)
				}
			}
		}
	}
}

// NATS comes back with an empty disk.
func TestEmptyDisk(t *testing.T) {
	t.Parallel()
	srv := servers.Start(t, embedded.Config{StoreDir: t.TempDir()})
	port := srv.Port()
	s := open(t, servers.Connect(t, srv), jetstream.Config{})
	commit(t, s, alice, "x", state.Revision{})
	srv.Shutdown()
	servers.Start(t, embedded.Config{StoreDir: t.TempDir(), Port: port})
	if _, _, err := s.Load(servers.Within(t, 30*time.Second), alice); !errors.Is(err, state.ErrLost) {
		t.Errorf("got %v", err)
	}
}
