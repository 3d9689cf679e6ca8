package jetstream

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/natshome"
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
	js  natsjs.JetStream
	cfg Config
	names
	home      *natshome.Home // the stream of records; that of the alarms is its second one
	mute      atomic.Bool    // the log says that alarms cannot be set
	ackWait   time.Duration  // ackWait, pullFor and heartbeat, but in tests
	pullFor   time.Duration
	heartbeat time.Duration
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
// their own, deny deletes and purges, reject new messages when it is full, and not allow direct reads.
func Open(ctx context.Context, js natsjs.JetStream, cfg Config) (*Store, error) {
	if cfg.Cluster == "" {
		cfg.Cluster = "tandem"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Handlers <= 0 {
		cfg.Handlers = 64
	}
	if cfg.Patience <= 0 {
		cfg.Patience = time.Minute
	}
	if !natshome.Plain(cfg.Cluster) {
		return nil, fmt.Errorf("reminder/jetstream: cluster %q: want letters, digits, '-' and '_'", cfg.Cluster)
	}
	n := names{records: cfg.Cluster + "_reminders", alarms: cfg.Cluster + "_alarms"}
	home, err := natshome.Open(ctx, js, natshome.Plan{
		Stream:      n.records,
		Root:        n.records,
		Made:        n.alarms,
		Description: "reminders of the virtual actors of a Tandem cluster",
		Replicas:    max(cfg.Replicas, 1),
		Expiring:    true, // the marks of what has ended
		Second:      n.forAlarms,
		For:         "the stream " + n.records + ", for the reminders of virtual actors",
		What:        "reminders of virtual actors",
		Lost:        reminder.ErrLost,
		Cure:        fmt.Sprintf("restore the stream, or delete the stream %s to begin with what is there", n.alarms),
		Package:     "reminder/jetstream",
		StartWait:   cfg.StartWait,
		Logger:      cfg.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("reminder/jetstream: %w", err)
	}
	n.prefix = n.records + "." + home.Birth()
	return &Store{js: js, cfg: cfg, names: n, home: home, ackWait: ackWait, pullFor: pullFor, heartbeat: heartbeat}, nil
}

// forAlarms changes the configuration of a new stream to what alarms need. NATS lets messages be scheduled
// only in a stream that may be purged, and that does not reject new ones when it is full.
func (n *names) forAlarms(c *natsjs.StreamConfig) {
	c.Description = "alarms of the reminders in " + n.records + ", and says which stream that is; delete this if reminders are lost, and the loss is accepted"
	c.Subjects = []string{n.alarms + ".>"}
	c.Retention, c.MaxMsgs, c.MaxMsgsPerSubject = natsjs.WorkQueuePolicy, -1, 1
	c.AllowMsgSchedules, c.AllowRollup, c.DenyDelete = true, true, true
}

// Check finds out whether the store still has all its reminders: nil if it has, an error that wraps
// reminder.ErrLost if it has not, and reminder.ErrUnavailable if ctx ends before that is known. It is for
// probes; the other methods find out by themselves.
func (s *Store) Check(ctx context.Context) error {
	return s.read(ctx, &reminder.Error{Op: "check"}, s.home.Whole)
}
