// Package jetstream keeps the records of durable requests in a JetStream stream.
//
//	store := jetstream.New(js, jetstream.Config{Cluster: "shop", Replicas: 3})
//
// All nodes of a cluster share the stream "<cluster>_records"; each has the subject
// "<cluster>_records.<node>" in it. One Append is one message, all or nothing.
//
// How safe an Append is depends on the server. One replica (the default) survives what
// its disk survives, and a loss of power only if the server syncs always, for JetStream
// by itself writes to disk every two minutes. Three replicas survive the loss of one
// server, whatever happens to its disk.
//
// The fence: every message carries the sequence number that its node's last message
// must have. Taking the records over is a message as well, so whatever an earlier owner
// still sends finds another last message than it expects, and is refused.
//
// A stream that is deleted, emptied or put back to an earlier state while it is in use is
// found out within seconds, also by a node that writes nothing: [dedup.ErrLost]. A running node has all its
// records in memory, so it makes the stream anew and writes them again; meanwhile its
// durable requests and jobs wait, or are refused and did not run. If it is lost before it has
// written all, Take refuses with [ErrIncomplete]: nobody knows what ran. What was lost while a node was
// down cannot be told from a first start: keys of its past requests are new again, and
// copies of them are OutcomeUnknown.
//
// What a NATS user must be allowed package transport/natsbus/permissions says: Records and
// MakeRecords. The right to create the stream is not needed where it was made beforehand,
// and without the right to delete consumers they end by themselves after 20 s.
//
// The limits: the server must take messages of [dedup.MaxBatch] and some more
// (max_payload, 1 MiB by default, is enough), and a change must fit into one. A stream
// with limits of its own may be made beforehand, if it rejects new messages rather than
// drop old ones when it is full. Messages are published to the subject itself: where
// JetStream is reached through an API prefix, or in another domain, the subject must be
// imported as well.
package jetstream

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/dedup"
	"github.com/tandem-go/tandem/internal/natswait"
)

// Config says where the records are kept. Its zero value is the default.
type Config struct {
	Cluster  string       // prefix of the stream's name; default "tandem"
	Replicas int          // of the stream, if it has to be created; default 1
	Logger   *slog.Logger // gets a line when what Take waits for changes; default slog.Default()
}

// Store is a [dedup.Store]. It does not own the NATS connection. A closed connection is
// an error; one that is away is waited for.
type Store struct {
	js  natsjs.JetStream
	cfg Config
}

var _ dedup.Store = (*Store)(nil)

// New returns the store of a cluster. Nothing is asked or made before Take.
func New(js natsjs.JetStream, cfg Config) *Store {
	if cfg.Cluster == "" {
		cfg.Cluster = "tandem"
	}
	return &Store{js: js, cfg: cfg}
}

// Take takes over what is kept for node, and makes the stream if there is none. It
// tries until ctx ends while JetStream does not answer: a cluster that has just been
// started has no leader yet. One line in the log says what is missing, when that changes, and the
// error at the end as well. If it fails, the earlier owner may have lost the records
// all the same, and load may have been called.
func (s *Store) Take(ctx context.Context, node, epoch string, load func(dedup.Change)) (dedup.Log, error) {
	l, err := s.take(ctx, node, epoch, load)
	if err != nil {
		return nil, fmt.Errorf("dedup/jetstream: taking over the records of %q: %w", node, err)
	}
	return l, nil
}

func (s *Store) take(ctx context.Context, node, epoch string, load func(dedup.Change)) (*nodeLog, error) {
	if !token(s.cfg.Cluster) || !token(node) || len(epoch) > maxEpoch {
		return nil, fmt.Errorf("cluster %q, node %q and epoch %q: want letters, digits, '-' and '_', and no epoch of more than %d bytes",
			s.cfg.Cluster, node, epoch, maxEpoch)
	}
	name := s.cfg.Cluster + "_records"
	l := &nodeLog{stream: stream{js: s.js, name: name, subject: name + "." + node}, epoch: epoch}
	rand.Read(l.owner[:])
	l.replicas = s.cfg.Replicas
	wait := natswait.For{What: fmt.Sprintf("the stream %s, for the records of durable requests", name), Try: stepTimeout, Logger: s.cfg.Logger}
	err := wait.Until(ctx, s.js.Conn(), func(ctx context.Context) error {
		err := l.open(ctx, s.cfg.Replicas)
		var f final
		if errors.As(err, &f) {
			return natswait.Stop(f.error)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := l.takeOver(ctx); err != nil {
		return nil, err
	}
	if l.base == rebuilding {
		return nil, fmt.Errorf("%w: which requests of node %s ran is not known any more; purge the subject %s to begin without its records", ErrIncomplete, node, l.subject)
	}
	if err := l.read(ctx, l.base, l.last, load); err != nil {
		return nil, err
	}
	return l, nil
}

// takeOver appends the entry that makes this log the owner: first that, then reading,
// so that what is read no longer changes. An earlier owner may be appending all the
// while; it is raced without a pause.
func (l *nodeLog) takeOver(ctx context.Context) error {
	return retry(ctx, stepTimeout, func(ctx context.Context) error {
		err := errConflict
		for errors.Is(err, errConflict) && ctx.Err() == nil {
			err = l.tryTakeOver(ctx)
		}
		return err
	})
}

func (l *nodeLog) tryTakeOver(ctx context.Context) error {
	if err := l.reachable(); err != nil {
		return err
	}
	m, err := l.stream.last(ctx)
	if err != nil {
		return err
	}
	l.last, l.base = m.seq, m.base
	if m.owner == l.owner { // an earlier try, whose answer was lost
		return nil
	}
	seq, err := l.publish(ctx, entry{l.owner, 0, m.seq, m.base, l.epoch}.append(nil), m.seq)
	if err == nil {
		l.last = seq
	}
	return err
}

// token reports whether s can stand in a subject and in a stream's name.
func token(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return s != ""
}
