package jetstream_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/ledger/jetstream"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/natsbus/permissions"
)

// losses are ways in which a stream can lose its messages.
var losses = map[string]func(ctx context.Context, js natsjs.JetStream) error{
	"deleted": func(ctx context.Context, js natsjs.JetStream) error { return js.DeleteStream(ctx, "tandem_records") },
	"recreated": func(ctx context.Context, js natsjs.JetStream) error {
		return servers.Recreate(ctx, js, "tandem_records", nil)
	},
	"emptied": func(ctx context.Context, js natsjs.JetStream) error {
		s, err := js.Stream(ctx, "tandem_records")
		if err == nil {
			err = s.Purge(ctx)
		}
		return err
	},
}

// The loss of records is noticed within seconds, both by a node that writes and by one that
// does not. A Rewrite restores them: at the next start none is missing.
func TestLostRecords(t *testing.T) {
	t.Parallel()
	for name, lose := range losses {
		for _, writes := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				js := servers.Connect(t, servers.Start(t, embedded.Config{}))
				ctx := servers.Within(t, 60*time.Second)
				store := jetstream.New(js, jetstream.Config{})
				log, _ := take(t, ctx, store, "e1")
				check := log.(ledger.Checker).Check
				if err := log.Append(ctx, some(1, 5)); err != nil {
					t.Fatal(err)
				}
				if err := check(ctx); err != nil {
					t.Fatalf("nothing is lost: %v", err)
				}
				if err := lose(ctx, js); err != nil {
					t.Fatal(err)
				}
				began, err := time.Now(), error(nil)
				if writes {
					err = log.Append(ctx, some(6, 6))
				} else {
					err = check(ctx)
				}
				if took := time.Since(began); !errors.Is(err, ledger.ErrLost) || took > 10*time.Second {
					t.Fatalf("after %v: %v, want ErrLost", took, err)
				}
				if !strings.Contains(err.Error(), "stream tandem_records") {
					t.Errorf("it does not say what is lost: %v", err)
				}
				if err := log.Append(ctx, some(6, 6)); !errors.Is(err, ledger.ErrLost) {
					t.Errorf("until it is put back: %v, want ErrLost", err)
				}
				if err := log.Rewrite(ctx, slices.Values(some(1, 5))); err != nil {
					t.Fatal(err)
				}
				if err := log.Append(ctx, some(6, 7)); err != nil {
					t.Fatal(err)
				}
				if err := check(ctx); err != nil {
					t.Errorf("after it was put back: %v", err)
				}
				if _, kept := take(t, ctx, store, "e2"); !slices.Equal(numbers(kept), []uint64{1, 2, 3, 4, 5, 6, 7}) {
					t.Errorf("the next start finds %v", numbers(kept))
				}
				if err := log.Append(ctx, some(8, 8)); !errors.Is(err, ledger.ErrFenced) {
					t.Errorf("the start before: %v, want ErrFenced", err)
				}
			})
		}
	}
}

// Records are lost, and then another start takes over. That start is the owner: the earlier
// one, which still has the records in memory, cannot write them again.
func TestLostRecordsOfAnother(t *testing.T) {
	t.Parallel()
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	ctx := servers.Within(t, 60*time.Second)
	store := jetstream.New(js, jetstream.Config{})
	log, _ := take(t, ctx, store, "e1")
	if err := log.Append(ctx, some(1, 5)); err != nil {
		t.Fatal(err)
	}
	if err := losses["deleted"](ctx, js); err != nil {
		t.Fatal(err)
	}
	if err := log.(ledger.Checker).Check(ctx); !errors.Is(err, ledger.ErrLost) {
		t.Fatalf("%v, want ErrLost", err)
	}
	next, _ := take(t, ctx, store, "e2")
	if err := log.Rewrite(ctx, slices.Values(some(1, 5))); !errors.Is(err, ledger.ErrFenced) {
		t.Errorf("rewriting: %v, want ErrFenced", err)
	}
	if err := next.Append(ctx, some(6, 6)); err != nil {
		t.Error(err)
	}
	if _, kept := take(t, ctx, store, "e3"); !slices.Equal(numbers(kept), []uint64{6}) {
		t.Errorf("kept %v", numbers(kept))
	}
}

// Records that were lost and only partly written again are refused: nobody knows what ran.
func TestLostInTheMiddleOfARewrite(t *testing.T) {
	t.Parallel()
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	ctx := servers.Within(t, 60*time.Second)
	store := jetstream.New(js, jetstream.Config{})
	log, _ := take(t, ctx, store, "e1")
	if err := losses["deleted"](ctx, js); err != nil {
		t.Fatal(err)
	}
	if err := log.Append(ctx, some(1, 1)); !errors.Is(err, ledger.ErrLost) {
		t.Fatalf("%v, want ErrLost", err)
	}
	part, stop := context.WithCancel(ctx)
	err := log.Rewrite(part, func(yield func(ledger.Change) bool) {
		large := ledger.Change{Op: ledger.Done, ID: ledger.ID{Seq: 1}, Time: time.Unix(1, 2), Outcome: make([]byte, ledger.MaxBatch/2)}
		for range 4 {
			if !yield(large) {
				return
			}
		}
		stop() // as if the process were killed
	})
	if err == nil {
		t.Fatal("it was rewritten")
	}
	if _, err := store.Take(ctx, "n", "e2", func(ledger.Change) {}); !errors.Is(err, jetstream.ErrIncomplete) || !strings.Contains(err.Error(), "purge the subject tandem_records.n") {
		t.Errorf("the next start: %v, want ErrIncomplete", err)
	}
}

// A user with exactly the permissions that package permissions lists can do everything. A
// user with fewer gets an error that says what is missing.
func TestPermissions(t *testing.T) {
	t.Parallel()
	node := permissions.Node{Cluster: "tandem", Name: "n"}
	allowed := permissions.All(node.Records(), node.MakeRecords()).Publish
	try := func(t *testing.T, subjects []string) error {
		s := servers.Start(t, embedded.Config{Configure: func(o *server.Options) {
			o.Users = []*server.User{{Username: "node", Password: "pw", Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: subjects},
				Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
			}}}
		}})
		js := servers.Connect(t, s, nats.UserInfo("node", "pw"))
		ctx := servers.Within(t, 6*time.Second)
		store := jetstream.New(js, jetstream.Config{})
		log, err := store.Take(ctx, "n", "e1", func(ledger.Change) {})
		if err != nil {
			return err
		}
		if err := log.Append(ctx, some(1, 3)); err != nil {
			return err
		}
		if err := log.Rewrite(ctx, slices.Values(some(1, 3))); err != nil {
			return err
		}
		if err := log.(ledger.Checker).Check(ctx); err != nil {
			return err
		}
		_, err = store.Take(ctx, "n", "e2", func(ledger.Change) {})
		return err
	}
	if err := try(t, allowed); err != nil {
		t.Errorf("with all permissions: %v", err)
	}
	for i, without := range allowed {
		t.Run("without "+without, func(t *testing.T) {
			t.Parallel()
			err := try(t, slices.Delete(slices.Clone(allowed), i, i+1))
			if needed := !strings.Contains(without, "CONSUMER.DELETE"); (err != nil) != needed { // else its consumers end by themselves
				t.Errorf("%v; needed: %v", err, needed)
			}
		})
	}
}

// NATS comes back with an empty store.
func TestEmptyStore(t *testing.T) {
	t.Parallel()
	s := servers.Start(t, embedded.Config{StoreDir: t.TempDir()})
	port := s.Port()
	ctx := servers.Within(t, 60*time.Second)
	store := jetstream.New(servers.Connect(t, s), jetstream.Config{})
	log, _ := take(t, ctx, store, "e1")
	if err := log.Append(ctx, some(1, 5)); err != nil {
		t.Fatal(err)
	}
	s.Shutdown()
	away, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if err := log.Append(away, some(6, 6)); !errors.Is(err, jetstream.ErrUnavailable) || errors.Is(err, ledger.ErrLost) || strings.Count(err.Error(), "deadline exceeded") > 1 {
		t.Errorf("while NATS is away: %v, want ErrUnavailable", err)
	}
	servers.Start(t, embedded.Config{StoreDir: t.TempDir(), Port: port})
	if err := log.Append(ctx, some(6, 6)); !errors.Is(err, ledger.ErrLost) {
		t.Fatalf("%v, want ErrLost", err)
	}
	if err := log.Rewrite(ctx, slices.Values(some(1, 6))); err != nil {
		t.Fatal(err)
	}
	if _, kept := take(t, ctx, store, "e2"); !slices.Equal(numbers(kept), []uint64{1, 2, 3, 4, 5, 6}) {
		t.Errorf("the next start finds %v", numbers(kept))
	}
}
