// Package jetstream keeps the messages of durable topics in NATS. It is a topic.Store:
//
//	store, err := jetstream.Open(ctx, js, jetstream.Config{Cluster: "shop", Replicas: 3})
//	if err != nil { ... }
//	defer store.Close()
//	sys, err := actor.NewSystem(actor.Config{Topics: store})
//
// All topics of a cluster share the stream "<cluster>_topics". A message has the subject
// "<cluster>_topics.<id of its type>.<topic>" in it. A Publish is one message id for all its
// attempts, and NATS stores an id once within Config.Duplicates. A Publish ends its attempts well within
// that time. If it does not know by then whether the message is stored, its verdict is rpc.Unknown.
// A message that is published on a topic again under the same rpc.Key, within Config.Duplicates of
// the first time, is stored once, even if its content is another one; after that time it is stored twice.
//
// The position of a subscription with a name is that of a durable consumer of the stream. The
// consumer hands out one message at a time and waits for its ack, so that what several subscriptions
// of one name get is in order, also when one of them dies. So such a subscription gets at most one
// message for each round trip to NATS. One without a name reads ahead, see Config.Window.
//
// The limits:
//   - Who may publish to the stream's subjects is up to NATS (transport/natsbus/permissions). The
//     publisher in a message is what the message says.
//   - A message is kept for Config.MaxAge. A subscription that is further behind than that loses what
//     is older, and nobody is told.
//   - If a node dies while it has a message of a name in hand, the message is delivered again after
//     ackWait (10 s). That counts as an attempt, and so does a message that was given back when its
//     actor ended. Attempts alone do not make a dead letter: a handler has to fail.
//   - A name keeps its consumer until somebody deletes it: "<name>_<hash>", see nats consumer ls.
//     One that is deleted while it is used is recreated where its subscriptions stand. One that was
//     deleted while nobody used it is a new name.
//   - How safe a Publish is depends on the server, as in package ledger/jetstream.
//
// Every 2 s a Store checks that its stream exists. If it was deleted, or NATS came back with an
// empty store, what was kept is gone. Then Publish is refused with a *GoneError and the
// verdict NotRun, and nothing is delivered, until an operator calls Accept, or opens the store again.
// Each change of State is one line in the log and one call of Config.Changed.
package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/natswait"
	"github.com/tandem-go/tandem/topic"
)

// Defaults of Config.
const (
	DefaultMaxAge      = 7 * 24 * time.Hour
	DefaultDuplicates  = 2 * time.Minute
	DefaultWindow      = 256
	DefaultWindowBytes = 2 << 20
	DefaultStartWait   = 30 * time.Second
)

// Config describes a store. Its zero value is the default.
type Config struct {
	Cluster     string        // prefix of the stream's name; default "tandem"
	Replicas    int           // number of replicas of the stream; default 1
	MaxBytes    int64         // bound of the stream; when it is full, Publish is refused. 0: none
	MaxAge      time.Duration // how long a message is kept; default 7 days
	Duplicates  time.Duration // how long the stream knows the id of a message; default 2 min, at least 5 s
	Window      int           // messages that a subscription without a name reads ahead; default 256
	WindowBytes int           // bytes of one such request for messages, of which two are under way; default 2 MiB, and at least the largest message of NATS
	StartWait   time.Duration // how long Open waits for NATS, JetStream and its leaders; default 30 s
	Logger      *slog.Logger  // default slog.Default()

	// Changed, if not nil, is called when the State has changed, by one goroutine at a time. It
	// must not block.
	Changed func(State)

	ackWait, heartbeat time.Duration // defaults ackWait and heartbeat; only tests set them
}

// validate fills in defaults, and returns all errors joined.
func (c *Config) validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("topic/jetstream: "+format, args...))
	}
	if c.Cluster == "" {
		c.Cluster = "tandem"
	}
	if !validName.MatchString(c.Cluster) {
		bad("Cluster %q: want letters, digits, '-' and '_'", c.Cluster)
	}
	if c.MaxBytes < 0 {
		bad("negative MaxBytes %d", c.MaxBytes)
	}
	for _, d := range []struct {
		name string
		v    *time.Duration
		def  time.Duration
	}{{"MaxAge", &c.MaxAge, DefaultMaxAge}, {"Duplicates", &c.Duplicates, DefaultDuplicates}, {"StartWait", &c.StartWait, DefaultStartWait},
		{"ackWait", &c.ackWait, ackWait}, {"heartbeat", &c.heartbeat, heartbeat}} {
		if *d.v == 0 {
			*d.v = d.def
		}
		if *d.v < 0 {
			bad("negative %s %v", d.name, *d.v)
		}
	}
	if 0 < c.Duplicates && c.Duplicates < 5*time.Second || c.Duplicates > c.MaxAge {
		bad("Duplicates %v: want 5 s to MaxAge", c.Duplicates)
	}
	for _, n := range []struct {
		name string
		v    *int
		def  int
	}{{"Window", &c.Window, DefaultWindow}, {"WindowBytes", &c.WindowBytes, DefaultWindowBytes}} {
		if *n.v == 0 {
			*n.v = n.def
		}
		if *n.v < 0 {
			bad("negative %s %d", n.name, *n.v)
		}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return errors.Join(errs...)
}

var validName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// Store is a topic.Store in NATS. It does not own the connection. Its methods may be called
// concurrently.
type Store struct {
	js   natsjs.JetStream
	cfg  Config
	name string // of the stream, and the first token of its subjects

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup // the goroutine of the watch
	poke    chan struct{}  // makes the watch check soon
	looking sync.Mutex     // held during a check of the watch, and by Accept
	watch   watch          // guarded by looking

	mu      sync.Mutex // guards what follows
	stream  natsjs.Stream
	gone    *GoneError // nil: the stream exists
	readers map[*reader]struct{}
	closed  bool
}

var _ topic.Store = (*Store)(nil)

// OpenError is the error of Open when NATS or JetStream is not available in time. It says what
// is missing, and what to do about it.
type OpenError struct {
	Stream  string
	Missing string
	Do      string
	Err     error // of the last attempt
}

// Error returns a text with all of this.
func (e *OpenError) Error() string {
	return fmt.Sprintf("topic/jetstream: opening %s: missing: %s; %s (%v)", e.Stream, e.Missing, e.Do, e.Err)
}

// Unwrap returns the error of the last attempt.
func (e *OpenError) Unwrap() error { return e.Err }

// Open creates or updates the stream "<cluster>_topics". While NATS is away, or JetStream has no
// leader yet, it waits, and says so in the log. If that takes longer than Config.StartWait, the
// error is an *OpenError. ctx bounds Open only.
func Open(ctx context.Context, js natsjs.JetStream, cfg Config) (*Store, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Store{js: js, cfg: cfg, name: cfg.Cluster + "_topics", poke: make(chan struct{}, 1), readers: map[*reader]struct{}{}}
	if err := s.ensure(ctx); err != nil {
		return nil, err
	}
	s.watch = watch{created: s.stream.CachedInfo().Created}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.running.Go(s.look)
	return s, nil
}

// Close ends all that the store does with NATS, and waits for that. Shut the systems down before:
// after Close they can neither publish nor read.
func (s *Store) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.interrupt()
	s.running.Wait()
}

// ensure creates or updates the stream, and waits for JetStream.
func (s *Store) ensure(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.StartWait)
	defer cancel()
	var stream natsjs.Stream
	err := natswait.For{What: "the durable topics " + s.name, Logger: s.cfg.Logger}.Until(ctx, s.js.Conn(), func(ctx context.Context) (err error) {
		stream, err = s.make(ctx)
		return err
	})
	if why := (*natswait.Error)(nil); errors.As(err, &why) {
		return &OpenError{Stream: s.name, Missing: why.Why, Do: why.Do, Err: why.Err}
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stream, s.gone = stream, nil
	return nil
}

// make creates or updates the stream, once. A stream that is created begins with a position that is
// larger than those of any earlier stream of that name.
func (s *Store) make(ctx context.Context) (stream natsjs.Stream, err error) {
	cfg := natsjs.StreamConfig{
		Name: s.name, Description: "messages of the durable topics of a Tandem cluster", Subjects: []string{s.name + ".>"}, Storage: natsjs.FileStorage,
		Replicas: s.cfg.Replicas, MaxBytes: s.cfg.MaxBytes, MaxAge: s.cfg.MaxAge, Discard: natsjs.DiscardNew, Duplicates: s.cfg.Duplicates,
	}
	for range 2 {
		stream, err = s.js.Stream(ctx, s.name)
		switch {
		case err == nil:
			cfg.FirstSeq = stream.CachedInfo().Config.FirstSeq
			return s.js.UpdateStream(ctx, cfg)
		case !errors.Is(err, natsjs.ErrStreamNotFound):
			return nil, err
		}
		cfg.FirstSeq = uint64(time.Now().UnixMicro())
		stream, err = s.js.CreateStream(ctx, cfg)
		if !errors.Is(err, natsjs.ErrStreamNameAlreadyInUse) { // otherwise another process has created it meanwhile
			return stream, err
		}
	}
	return nil, err
}

// Err returns a *GoneError if what was kept is gone, and nil otherwise.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.gone != nil:
		return s.gone
	case s.closed:
		return errClosed
	}
	return nil
}

var errClosed = fmt.Errorf("topic/jetstream: the store is closed: %w", topic.ErrAway)

// interrupt ends what the readers wait for.
func (s *Store) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := range s.readers {
		r.interrupt()
	}
}
