// Package jetstream keeps the stored state of virtual actors in a JetStream stream.
//
//	store, err := jetstream.Open(ctx, js, jetstream.Config{Cluster: "shop", Replicas: 3})
//	if err != nil { ... }
//	rec, rev, err := store.Load(ctx, state.Key{Kind: "bank.account", ID: "alice"})
//
// The promise is that of [state.Store]. All nodes of a cluster share the stream
// "<cluster>_state". Each key has a subject in it, with its last commit as the only message. A
// commit is one message that names the sequence number which the subject's last message must
// have, so the server accepts at most one commit after each. Commits of different keys are under
// way at the same time, over one connection. No goroutine waits for one that nobody waits for
// (CommitThen), unless its first attempt fails: the acks come to one subscription, which a Store
// makes at its first such commit, and which ends with the connection.
//
// How safe a commit is depends on the server. With one replica, the default, it is as safe as the
// server's disk; it survives a loss of power only if the server syncs every write, because by
// default JetStream syncs to disk every two minutes. With three replicas it survives the loss of
// one server, whatever happens to its disk.
//
// Reads are answered by the leader of the stream, never by a replica that may lag behind. A leader
// that was cut off from the others and does not know it yet may still answer with an outdated
// record, for some seconds. JetStream has no read that excludes this; but a commit that is made
// after such a record is refused.
//
// What an operator does cannot make a store begin empty. The stream denies deletes and purges of
// its messages. A second stream, "<cluster>_state_made", holds no messages; it says which stream
// has the records. If that one is deleted, emptied, replaced, set back to an earlier state, or
// changed so that it forgets messages, all calls of an open store say [state.ErrLost], for ever,
// and Open refuses with the same error, also in a process that is started later. An operator who
// has a backup restores the stream. Then, or if the loss is accepted, the operator deletes
// "<cluster>_state_made" and restarts the processes: Open trusts what it finds, or creates a new
// stream. If both streams are deleted, nothing is left that could tell.
//
// The limits. A record must fit into a message of the server, whose max_payload is 1 MiB by
// default; a larger one gets [state.ErrTooLarge] before anything is sent. It is not divided into
// several messages. The mark that a Delete leaves is kept for ever, about 150 bytes. The stream
// may be created beforehand, for example with a limit of its size; see Open for what it must be.
// Several clusters may share one NATS account under different names. The user's permissions are
// listed by package transport/natsbus/permissions, see States and MakeStates.
package jetstream

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/natshome"
	"github.com/tandem-go/tandem/state"
)

// Config says where the records are kept. Its zero value is the default.
type Config struct {
	Cluster   string        // prefix of the streams' names: letters, digits, '-' and '_'; default "tandem"
	Replicas  int           // number of replicas of the streams, if Open has to create them; default 1
	StartWait time.Duration // how long Open waits for JetStream if its ctx has no deadline; default 30 s
	Logger    *slog.Logger  // gets a line whenever what Open waits for changes, and when records are lost; default slog.Default()

	// Commits that are under way at the same time. Further ones wait, in order, until their
	// ctx ends. A single commit may be larger than MaxBytes.
	MaxCommits int // default 1024
	MaxBytes   int // of their records together; default 32 MiB
}

// Store is a [state.Store]. It does not own the NATS connection. If the connection is closed,
// calls return an error; while it is disconnected, they wait until their ctx ends. A Store may be
// used concurrently.
type Store struct {
	home *natshome.Home
	gate *gate
}

var _ state.Committer = (*Store)(nil)

// Open returns the store of a cluster, and creates the streams if the cluster never had any.
//
// While JetStream does not answer, Open tries again until ctx ends: a cluster that has just been
// started has no leader yet. A line in the log says what is missing, and another one when that
// changes; the error at the end says it as well.
//
// The error wraps state.ErrLost if the cluster had records, and they are not there any more.
//
// A stream "<cluster>_state" that was created beforehand must have the one subject
// "<cluster>_state.<any token>.>", keep one message of each subject, for ever, deny deletes and
// purges, reject new messages when it is full, and not allow direct reads.
func Open(ctx context.Context, js natsjs.JetStream, cfg Config) (*Store, error) {
	if cfg.Cluster == "" {
		cfg.Cluster = "tandem"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.MaxCommits <= 0 {
		cfg.MaxCommits = 1024
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = 32 << 20
	}
	if !natshome.Plain(cfg.Cluster) {
		return nil, fmt.Errorf("state/jetstream: cluster %q: want letters, digits, '-' and '_'", cfg.Cluster)
	}
	name := cfg.Cluster + "_state"
	home, err := natshome.Open(ctx, js, natshome.Plan{
		Stream:      name,
		Root:        name,
		Made:        name + "_made",
		Description: "state of the virtual actors of a Tandem cluster",
		Replicas:    max(cfg.Replicas, 1),
		For:         "the stream " + name + ", for the state of virtual actors",
		What:        "records of virtual actors",
		Lost:        state.ErrLost,
		Cure:        fmt.Sprintf("restore the stream, or delete the stream %s_made to begin with what is there", name),
		Package:     "state/jetstream",
		StartWait:   cfg.StartWait,
		Logger:      cfg.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("state/jetstream: %w", err)
	}
	return &Store{home: home, gate: newGate(cfg.MaxCommits, cfg.MaxBytes)}, nil
}

// Check finds out whether the store still has all its records: nil if it has, an error that wraps
// state.ErrLost if it has not, and state.ErrUnavailable if ctx ends before that is known. It is for
// probes; the other methods find out by themselves.
func (s *Store) Check(ctx context.Context) error {
	return s.read(ctx, &state.Error{Op: "check"}, s.home.Whole)
}
