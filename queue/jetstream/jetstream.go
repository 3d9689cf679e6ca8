// Package jetstream keeps a queue in NATS: actor.Push and actor.Pull then work with a
// JetStream work queue.
//
//	jobs, err := jetstream.Open(ctx, js, jetstream.Config{Name: "jobs"})
//	if err != nil { ... }
//	defer jobs.Close()
//	ref, err := sys.Spawn("jobs", actor.StoredQueueKind[Job]("jobs", jobs))
//
// The promise is that of package queue, and that the queue outlives every process. An item
// for which Push has returned nil is in the stream, once. At most one Ack of an item returns
// nil. The actor that serves the queue may be stopped and spawned again, here or on another
// node, and NATS may be restarted; what was not acked is delivered again within a lease.
// Several actors, on several nodes, may serve one queue. With Replicas 3, servers of a NATS
// cluster may stop, be killed and change their leaders, as long as a majority lives.
//
// An Ack deletes the item's message. That is a change that goes through the stream's log,
// and exactly one deletion can succeed. NATS may forget a delivery when a leader changes;
// then two consumers may have an item at the same time. The first Ack counts, and the other
// one is ErrDone. If an effect must not happen twice, make it idempotent by Delivery.ID,
// which is the same for each delivery of an item. If the answer to an Ack or a Push is lost,
// its outcome may be unknown; its error does not have the verdict NotRun then. That verdict
// says that provably nothing was stored.
//
// The limits, beyond those of package queue:
//   - Deliveries end with the actor that made them.
//   - An attempt counts when an item goes to an actor. If no consumer got the item it does not
//     count after all, unless the actor died before. NATS may forget attempts together with a
//     delivery, so an item may be delivered more often than Config.Attempts.
//   - What a killed server still has after its restart depends on NATS; use Replicas 3.
//   - There are three priorities: below 0, 0, and above 0.
//   - The actors keep the delay that was given to Push, by their own clocks.
//   - Ids are known for Config.Queue.Remember after the push, however many there are. Those of
//     items that are done are forgotten once all servers that keep the stream were restarted.
//   - An item with its headers may have 256 bytes less than the max_payload of NATS. A larger
//     one is refused as rpc.TooLarge.
//   - The policy of the queue is Refuse.
//   - In actor.QueueStats, Depth counts all items that are not under a lease of the actor that
//     is asked. The counters begin when that actor is spawned.
//   - actor.PauseQueue pauses all actors that serve the queue. They may still hand out what
//     they have fetched.
//   - actor.PurgeQueue and WaitingItem.Cancel spare only what consumers of the actor that is
//     asked have. The Acks of other actors' consumers return ErrDone.
//   - How safe a push is depends on the server, as in package ledger/jetstream.
//
// Every 2 s a queue checks that its streams and consumers exist. If consumers, dead letters
// or counts of attempts were deleted, it recreates them, and logs that. If the stream of the
// items is gone, or NATS came back with an empty store, then so are the items. From then on
// everything is refused with actor.ErrGone and the verdict NotRun, until an operator calls
// Accept or opens the queue again. Each change of State gives one log line and one call of
// Config.Changed.
//
// Package transport/natsbus/permissions says what the NATS user of the process must be
// allowed: see Node.Queue. Processes that reach the queue through its actor need none of it.
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
	Name      string        // of the queue in its cluster; it must not end in "_dead" or "_free"
	Cluster   string        // prefix of the names in NATS; default "tandem"
	Replicas  int           // number of replicas of the streams; default 1
	Codec     codec.Codec   // encodes items in the stream; default msgpack
	StartWait time.Duration // how long Open waits for NATS, JetStream and its leaders; default 30 s
	Logger    *slog.Logger  // default slog.Default()
	Queue     queue.Config  // Remembered is not used, and Policy must be Refuse

	// Changed, if not nil, is called when the queue's State has changed, by one
	// goroutine at a time. It must not block.
	Changed func(State)
}

// DefaultStartWait is the default of Config.StartWait.
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
	prefix string // of its subjects and of the names of its streams
	handles

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup // the goroutines of run

	poke     chan struct{} // makes the watch check soon
	pushed   atomic.Bool   // something was pushed here since the queue was opened
	gone     atomic.Pointer[GoneError]
	watching sync.Mutex            // held during a check of the watch, and by Accept
	remade   atomic.Pointer[watch] // after Accept, the state from which the watch goes on

	mu     sync.Mutex // guards what follows
	closed bool
}

// Close ends what the actors that serve the queue are doing with NATS, and waits until it has
// ended. Stop these actors before: after Close they cannot reach the queue.
func (q *Queue) Close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.cancel()
	q.running.Wait()
}

// run runs do in a goroutine for which Close waits. It returns false if the queue is closed.
func (q *Queue) run(do func()) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.running.Go(do)
	}
	return !q.closed
}

var validName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// Open creates or updates the streams of a queue, "<cluster>_queue_<name>" and the same name
// with "_dead" and "_free", and their consumers. While NATS is away, or JetStream has no leader
// yet, it waits, and says so in the log. If that takes longer than Config.StartWait, the error
// is an *OpenError. ctx bounds Open only, not the queue.
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

// apiPrefix is the prefix of the subjects of JetStream's API, with a dot at its end.
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
