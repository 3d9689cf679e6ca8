// Package jetstream is a queue kept in NATS: the API of actor.Push and actor.Pull over a
// JetStream work queue.
//
//	jobs, err := jetstream.Open(ctx, js, jetstream.Config{Name: "jobs"})
//	if err != nil { ... }
//	defer jobs.Close()
//	ref, err := sys.Spawn("jobs", jetstream.Kind[Job]("jobs", jobs))
//
// The promise is that of package queue, and that it outlives every process: what Push
// has returned nil for is in the stream, once, and of the Acks of an item one at most
// returns nil. The actor in front may be stopped and spawned anew, here or on another
// node, and NATS may be restarted; whatever was not acked is delivered again, within a
// lease. Several actors, on several nodes, may stand in front of one queue. Servers of a
// cluster may stop, be killed and change their leaders: with Replicas 3 and a majority
// that lives, nothing of this depends on them.
//
// An Ack is the deletion of the item's message, a change that goes through the stream's
// log and of which exactly one can succeed. NATS may forget a delivery when it changes a
// leader, and then two consumers have an item at a time: the first Ack counts, and the
// other is ErrDone. An effect that must not happen twice is made idempotent by
// Delivery.ID, which is the same for each delivery of an item. An Ack whose answer is lost
// may be of unknown outcome, and so may a Push: neither says NotRun then. NotRun is said
// of what provably is not stored.
//
// Beyond package queue's, the limits: deliveries end with the actor that made them. An
// attempt is counted when an item goes to an actor, and given back if no consumer got it,
// unless the actor died first. NATS may forget attempts together with a delivery, so an
// item may be delivered more often than Config.Attempts. What a server that was killed
// remembers is NATS's affair: Replicas 3 are for that. Priorities are three: below 0, 0,
// and above. A delay given to Push is kept by the actors, in time of their own clocks.
// Ids are known for Config.Queue.Remember after the push, however many; those of items
// that are done are forgotten when all servers that keep the stream have been restarted.
// An item may have max_payload of NATS less 256 bytes, with its headers; a larger one is
// refused as rpc.TooLarge. The policy of the queue is Refuse. actor.QueueStats counts as
// Depth all that is not under a lease of the actor that is asked, and the rest since that
// actor was spawned. actor.PauseQueue pauses all actors in front of the queue; what they
// have fetched they may still hand out. actor.PurgeQueue and Cancel spare only what
// consumers of the actor that is asked have: those of others find their Ack to be ErrDone.
// How safe a push is depends on the server, as in dedup/jetstream.
//
// Every 2 s a queue looks whether all is there that it is kept in. Consumers, dead letters
// and counts of attempts that were deleted are made anew, and that is logged. If the
// stream of the items is gone, or NATS came back with an empty store, the items are: then
// everything is refused with actor.ErrGone, NotRun, until an operator accepts that with
// Accept, or opens the queue anew. Each change of State is one log line and one call of
// Config.Changed.
//
// What the NATS user of the process must be allowed package transport/natsbus/permissions
// says: Node.Queue. Who reaches the queue through its actor needs none of it.
package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc/codec"
)

// Config describes a queue. Only the Name is required.
type Config struct {
	Name      string        // of the queue in its cluster; not one that ends in "_dead" or "_free"
	Cluster   string        // prefix of the names in NATS; default "tandem"
	Replicas  int           // of the streams, if they have to be made; default 1
	Codec     codec.Codec   // of items in the stream; default msgpack
	StartWait time.Duration // of Open for NATS, JetStream and its leaders; default 30 s
	Logger    *slog.Logger  // default slog.Default
	Queue     queue.Config  // its Remembered is not used, and its Policy is Refuse

	// Changed, if set, is called when the queue's State has changed, by one goroutine at
	// a time. It must not wait.
	Changed func(State)
}

// DefaultStartWait is that of Config.
const DefaultStartWait = 30 * time.Second

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
	js     natsjs.JetStream
	api    string // prefix of JetStream's API
	cfg    Config
	prefix string // of its subjects; their streams' names are much the same
	handles

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup // what goes on off the actors' turns

	poke     chan struct{} // has the watch look
	pushed   atomic.Bool   // something was pushed here since it was opened
	gone     atomic.Pointer[GoneError]
	watching sync.Mutex            // held while the watch looks, and by Accept
	remade   atomic.Pointer[watch] // what the watch is to go on with, after Accept

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

// Open finds the streams of a queue, "<cluster>_queue_<name>" and the same with "_dead" and
// "_free", and makes or updates them and their consumers. While NATS is away, or JetStream
// has no leader yet, it waits within Config.StartWait, and says so in the log; then the
// error is an *OpenError. ctx is for Open only.
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
	if cfg.StartWait == 0 {
		cfg.StartWait = DefaultStartWait
	}
	errs := []error{cfg.Queue.Validate()}
	for what, name := range map[string]string{"Name": cfg.Name, "Cluster": cfg.Cluster} {
		if !validName.MatchString(name) {
			errs = append(errs, fmt.Errorf("queue/jetstream: %s %q: want letters, digits, '-' and '_'", what, name))
		}
	}
	if strings.HasSuffix(cfg.Name, "_dead") || strings.HasSuffix(cfg.Name, "_free") {
		errs = append(errs, fmt.Errorf("queue/jetstream: Name %q ends as the streams beside a queue do", cfg.Name))
	}
	if cfg.StartWait < 0 {
		errs = append(errs, fmt.Errorf("queue/jetstream: negative StartWait %v", cfg.StartWait))
	}
	if cfg.Queue.Policy != queue.Refuse {
		errs = append(errs, fmt.Errorf("queue/jetstream: policy %v: only refuse is there", cfg.Queue.Policy))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	cfg.Queue = cfg.Queue.WithDefaults()
	q := &Queue{js: js, api: apiPrefix(js.Options()), cfg: cfg, prefix: cfg.Cluster + "_queue_" + cfg.Name, poke: make(chan struct{}, 1)}
	var err error
	if q.handles, err = q.ensure(ctx); err != nil {
		return nil, err
	}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	w := *q.watchOf(q.handles)
	q.run(func() { q.watch(w) })
	return q, nil
}

// apiPrefix is where JetStream's API is, with a dot at its end.
func apiPrefix(o natsjs.JetStreamOptions) string {
	switch {
	case o.Domain != "":
		return "$JS." + o.Domain + ".API."
	case o.APIPrefix != "":
		return strings.TrimSuffix(o.APIPrefix, ".") + "."
	}
	return natsjs.DefaultAPIPrefix
}

func (q *Queue) subject(level int) string { return q.prefix + "." + levelNames[level] }
func (q *Queue) deadSubject() string      { return q.prefix + "_dead" }
