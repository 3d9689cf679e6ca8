// Package jetstream keeps the records of durable requests in a JetStream stream.
//
//	store := jetstream.New(js, jetstream.Config{Cluster: "shop", Replicas: 3})
//
// All nodes of a cluster share the stream "<cluster>_records"; each has the subject
// "<cluster>_records.<node>" in it. One Append is one message, all or nothing.
//
// How safe an Append is depends on the server. With one replica, the default, records are
// as safe as the server's disk; they survive a loss of power only if the server syncs every
// write, because by default JetStream syncs to disk every two minutes. With three replicas
// they survive the loss of one server, whatever happens to its disk.
//
// The fence: every message carries the sequence number that its node's last message
// must have. Taking the records over is a message as well. So when an earlier owner still
// sends a message, the server finds another last message than the one it expects, and
// refuses it.
//
// If the stream is deleted, emptied or restored to an earlier state while it is in use, the
// node finds out within seconds, even if it writes nothing: the error is [ledger.ErrLost].
// A running node has all its records in memory, so it recreates the stream and writes them
// again. Meanwhile its durable requests and jobs wait, or are refused and did not run. If
// the node dies before it has written all records, Take refuses with [ErrIncomplete], since
// nobody knows what ran. What is lost while a node is down cannot be distinguished from a
// first start: the keys of its past requests are new again, and copies of these requests
// get OutcomeUnknown.
//
// Package transport/natsbus/permissions says what a NATS user must be allowed: see Records
// and MakeRecords. The right to create the stream is not needed if the stream was created
// beforehand. Without the right to delete consumers, they expire after 20 s.
//
// The limits: the server must accept messages that are somewhat larger than
// [ledger.MaxBatch] (the default max_payload of 1 MiB is enough), and a change must fit
// into one message. A stream with limits of its own may be created beforehand, if it
// rejects new messages when it is full, rather than drop old ones. Messages are published
// to the subject itself: where JetStream is reached through an API prefix, or in another
// domain, the subject must be imported as well.
package jetstream

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/natswait"
	"github.com/tandem-go/tandem/ledger"
)

// Config says where the records are kept. Its zero value is the default.
type Config struct {
	Cluster  string       // prefix of the stream's name; default "tandem"
	Replicas int          // number of replicas of the stream, if Take has to create it; default 1
	Logger   *slog.Logger // gets a line whenever what Take waits for changes; default slog.Default()
}

// Store is a [ledger.Store]. It does not own the NATS connection. If the connection is
// closed, calls return an error; while it is disconnected, they wait until it is connected
// again. A Store may be used concurrently.
type Store struct {
	js  natsjs.JetStream
	cfg Config
}

var _ ledger.Store = (*Store)(nil)

// New returns the store of a cluster. It sends nothing to NATS before Take.
func New(js natsjs.JetStream, cfg Config) *Store {
	if cfg.Cluster == "" {
		cfg.Cluster = "tandem"
	}
	return &Store{js: js, cfg: cfg}
}

// Take takes over the records of node, and creates the stream if there is none. While
// JetStream does not answer, it tries again until ctx ends: a cluster that has just been
// started has no leader yet. A line in the log says what is missing, and another one when
// that changes; the error at the end says it as well. If Take fails, the earlier owner may
// be fenced nevertheless, and load may have been called.
func (s *Store) Take(ctx context.Context, node, epoch string, load func(ledger.Change)) (ledger.Log, error) {
	l, err := s.take(ctx, node, epoch, load)
	if err != nil {
		return nil, fmt.Errorf("ledger/jetstream: taking over the records of %q: %w", node, err)
	}
	return l, nil
}

func (s *Store) take(ctx context.Context, node, epoch string, load func(ledger.Change)) (*nodeLog, error) {
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

// takeOver appends the entry that makes this log the owner. It comes before the reading,
// so that what is read does not change any more. An earlier owner may be appending at the
// same time; against it takeOver tries again without a pause.
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
	if m.owner == l.owner { // an earlier attempt succeeded, and its answer was lost
		return nil
	}
	seq, err := l.publish(ctx, entry{l.owner, 0, m.seq, m.base, l.epoch}.append(nil), m.seq)
	if err == nil {
		l.last = seq
	}
	return err
}

// token reports whether s may be a token of a subject, and a part of a stream's name.
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
