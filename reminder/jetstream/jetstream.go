package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/natswait"
	"github.com/tandem-go/tandem/reminder"
)

// Config says where the reminders are kept. Its zero value is the default.
type Config struct {
	Cluster   string        // prefix of the streams' names: letters, digits, '-' and '_'; default "tandem"
	Replicas  int           // number of replicas of the streams, if Open has to create them; default 1
	StartWait time.Duration // how long Open waits for JetStream if its ctx has no deadline; default 30 s
	Logger    *slog.Logger  // gets a line when what Open waits for changes, when a follower fails or recovers, and when reminders are lost; default slog.Default()

	Handlers int           // how many handlers of one Follow run at the same time; default 64
	Patience time.Duration // how long a handler may take; default 1 min
}

const (
	ackWait   = 15 * time.Second // after which a firing is handed out again that nobody holds
	pullFor   = 30 * time.Second // how long a request for messages waits at NATS
	heartbeat = 5 * time.Second  // how often NATS says that it knows of the request
)

// Store is a [reminder.Store]. It does not own the NATS connection. If the connection is closed,
// calls return an error; while it is disconnected, they wait until their ctx ends. A Store may be
// used concurrently.
type Store struct {
	js        natsjs.JetStream
	cfg       Config
	home      home
	high      atomic.Uint64 // the largest sequence number of a record that this store has seen
	mute      atomic.Bool   // the log says that alarms cannot be set
	ackWait   time.Duration // ackWait, pullFor and heartbeat, but in tests
	pullFor   time.Duration
	heartbeat time.Duration

	mu   sync.Mutex // guards what follows
	loss loss
}

var _ reminder.Store = (*Store)(nil)

// Open returns the store of a cluster, and creates the streams if the cluster never had any.
//
// While JetStream does not answer, Open tries again until ctx ends: a cluster that has just been
// started has no leader yet. A line in the log says what is missing, and another one when that
// changes; the error at the end says it as well.
//
// The error wraps reminder.ErrLost if the cluster had reminders, and they are not there any more.
//
// A stream "<cluster>_reminders" that was created beforehand must have the one subject
// "<cluster>_reminders.<any token>.>", keep one message of each subject, let messages have a life of
// their own, deny deletes and purges, reject new messages when it is full, and not allow direct
// reads.
func Open(ctx context.Context, js natsjs.JetStream, cfg Config) (*Store, error) {
	if cfg.Cluster == "" {
		cfg.Cluster = "tandem"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Replicas <= 0 {
		cfg.Replicas = 1
	}
	if cfg.Handlers <= 0 {
		cfg.Handlers = 64
	}
	if cfg.Patience <= 0 {
		cfg.Patience = time.Minute
	}
	s := &Store{js: js, cfg: cfg, ackWait: ackWait, pullFor: pullFor, heartbeat: heartbeat, loss: loss{after: lostAfter, behind: behindAfter}}
	if err := s.open(ctx); err != nil {
		return nil, fmt.Errorf("reminder/jetstream: %w", err)
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	if !token(s.cfg.Cluster) {
		return fmt.Errorf("cluster %q: want letters, digits, '-' and '_'", s.cfg.Cluster)
	}
	name := s.cfg.Cluster + "_reminders"
	wait := natswait.For{What: "the stream " + name + ", for the reminders of virtual actors", Wait: s.cfg.StartWait, Logger: s.cfg.Logger}
	return wait.Until(ctx, s.js.Conn(), func(ctx context.Context) error {
		h, err := findHome(ctx, s.js, s.cfg.Cluster, s.cfg.Replicas)
		var f final
		if errors.As(err, &f) {
			return natswait.Stop(f.error)
		}
		s.home = h
		return err
	})
}

// saw notes that a record was stored under seq.
func (s *Store) saw(seq uint64) {
	for old := s.high.Load(); seq > old && !s.high.CompareAndSwap(old, seq); old = s.high.Load() {
	}
}

// reachable returns an error if the connection is known to be down, so that nothing waits in a
// reconnect buffer.
func (s *Store) reachable() error {
	switch status := s.js.Conn().Status(); status {
	case nats.CONNECTED:
		return nil
	case nats.CLOSED, nats.DRAINING_SUBS, nats.DRAINING_PUBS:
		return final{fmt.Errorf("%w: connection is %v", nats.ErrConnectionClosed, status)}
	default:
		return fmt.Errorf("not connected to NATS: connection is %v", status)
	}
}

// final is an error after which another attempt cannot succeed.
type final struct{ error }

func (f final) Unwrap() error { return f.error }
