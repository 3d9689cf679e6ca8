// Package jetstream is a queue kept in NATS: the API of actor.Push and actor.Pull over a
// JetStream work queue.
//
//	jobs, err := jetstream.Open(ctx, js, jetstream.Config{Name: "jobs"})
//	if err != nil { ... }
//	defer jobs.Close()
//	ref, err := sys.Spawn("jobs", jetstream.Kind[Job]("jobs", jobs))
//
// The promise is that of package queue, and that it outlives every process: what Push
// has returned nil for is in the stream, and an Ack that returned nil has taken it out.
// The actor in front may be stopped and spawned anew, here or on another node, and NATS
// may be restarted; whatever was not acked is delivered again, within a lease. Several
// actors, on several nodes, may stand in front of one queue: of the Acks of an item one at
// most returns nil. NATS itself would take any of them, so an actor that NATS has not heard
// of for a lease lets go of its items, and an Ack that is confirmed later than that is of
// unknown outcome. (NATS may forget a delivery when it changes its leader.)
//
// Beyond package queue's, the limits: deliveries end with the actor that made them. An
// attempt is counted when an item goes to an actor, so one that the actor had not handed
// out yet when it died has an attempt that nobody saw. Priorities are three: below 0, 0,
// and above. A delay given to Push is kept by the actors, in time of their own clocks.
// Ids are known for Config.Queue.Remember after the push, however many. The policy of
// the queue is Refuse. actor.QueueStats counts as Depth all that is not under a lease of
// the actor that is asked, and the rest since that actor was spawned. How safe a push is depends on the server, as in dedup/jetstream.
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

	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc/codec"
)

// Config describes a queue. Only the Name is required.
type Config struct {
	Name     string       // of the queue in its cluster
	Cluster  string       // prefix of the names in NATS; default "tandem"
	Replicas int          // of the streams, if they have to be made; default 1
	Codec    codec.Codec  // of items in the stream; default msgpack
	Logger   *slog.Logger // default slog.Default
	Queue    queue.Config // its Remembered is not used, and its Policy is Refuse
}

// levels of priority, the highest first.
const levels = 3

var levelNames = [levels]string{"high", "normal", "low"}

func levelOf(priority int) int {
	switch {
	case priority > 0:
		return 0
	case priority == 0:
		return 1
	}
	return 2
}

// Queue is a queue in NATS. It does not own the connection. Its methods may be called
// concurrently.
type Queue struct {
	js        natsjs.JetStream
	cfg       Config
	prefix    string // of its subjects; their streams' names are much the same
	items     natsjs.Stream
	dead      natsjs.Stream
	consumers [levels]natsjs.Consumer

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup // what goes on off the actors' turns

	mu     sync.Mutex // guards what follows
	closed bool
}

// Close ends what fronts of the queue do with NATS, and waits for it. Stop them before:
// they get nothing any more.
func (q *Queue) Close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.cancel()
	q.running.Wait()
}

// run runs do in a goroutine that Close waits for; false: the queue is closed.
func (q *Queue) run(do func()) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.running.Go(do)
	}
	return !q.closed
}

var validName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// Open finds the streams of a queue, "<cluster>_queue_<name>" and the same with "_dead",
// and makes or updates them and their consumers.
func Open(ctx context.Context, js natsjs.JetStream, cfg Config) (*Queue, error) {
	if cfg.Cluster == "" {
		cfg.Cluster = "tandem"
	}
	if cfg.Codec == nil {
		cfg.Codec = codec.Msgpack(codec.Limits{})
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	errs := []error{cfg.Queue.Validate()}
	for what, name := range map[string]string{"Name": cfg.Name, "Cluster": cfg.Cluster} {
		if !validName.MatchString(name) {
			errs = append(errs, fmt.Errorf("queue/jetstream: %s %q: want letters, digits, '-' and '_'", what, name))
		}
	}
	if cfg.Queue.Policy != queue.Refuse {
		errs = append(errs, fmt.Errorf("queue/jetstream: policy %v: only refuse is there", cfg.Queue.Policy))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	cfg.Queue = cfg.Queue.WithDefaults()
	q := &Queue{js: js, cfg: cfg, prefix: cfg.Cluster + "_queue_" + cfg.Name}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	if err := q.open(ctx); err != nil {
		return nil, fmt.Errorf("queue/jetstream: opening %s: %w", q.prefix, err)
	}
	return q, nil
}

func (q *Queue) open(ctx context.Context) (err error) {
	c := q.cfg.Queue
	q.items, err = q.js.CreateOrUpdateStream(ctx, natsjs.StreamConfig{
		Name: q.prefix, Subjects: []string{q.prefix + ".*"}, Retention: natsjs.WorkQueuePolicy, Storage: natsjs.FileStorage,
		Replicas: q.cfg.Replicas, MaxMsgs: int64(c.Capacity), Discard: natsjs.DiscardNew, Duplicates: c.Remember,
	})
	if err != nil {
		return err
	}
	discard := natsjs.DiscardNew
	if c.DeadPolicy == queue.DropOldest {
		discard = natsjs.DiscardOld
	}
	q.dead, err = q.js.CreateOrUpdateStream(ctx, natsjs.StreamConfig{
		Name: q.prefix + "_dead", Subjects: []string{q.deadSubject()}, Storage: natsjs.FileStorage,
		Replicas: q.cfg.Replicas, MaxMsgs: int64(c.Dead), Discard: discard, Duplicates: min(c.Remember, 2*time.Minute),
	})
	if err != nil {
		return err
	}
	for i, name := range levelNames {
		q.consumers[i], err = q.items.CreateOrUpdateConsumer(ctx, natsjs.ConsumerConfig{
			Durable: name, FilterSubject: q.subject(i), AckPolicy: natsjs.AckExplicitPolicy, AckWait: c.Lease, MaxDeliver: -1, MaxAckPending: -1,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (q *Queue) subject(level int) string { return q.prefix + "." + levelNames[level] }
func (q *Queue) deadSubject() string      { return q.prefix + "_dead" }
