package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/jserror"
	"github.com/tandem-go/tandem/queue"
)

// OpenError says why Open gave up: what is missing, and what to do about it.
type OpenError struct {
	Queue   string // its prefix in NATS
	Missing string
	Do      string
	Err     error // the last attempt's
}

// Error says all of it.
func (e *OpenError) Error() string {
	return fmt.Sprintf("queue/jetstream: opening %s: missing: %s; %s (%v)", e.Queue, e.Missing, e.Do, e.Err)
}

// Unwrap returns the last attempt's error.
func (e *OpenError) Unwrap() error { return e.Err }

// ensure makes or updates the streams and consumers, and waits for JetStream within
// Config.StartWait.
func (q *Queue) ensure(ctx context.Context) (handles, error) {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.StartWait)
	defer cancel()
	missing := ""
	for wait := pauseTime; ; wait = min(2*wait, tryFor) {
		step, stop := context.WithTimeout(ctx, tryFor)
		before := q.js.Conn().LastError()
		h, err := q.make(step)
		stop()
		if err == nil {
			if missing != "" {
				q.cfg.Logger.Info("the queue is open: what was missing is there", "queue", q.prefix, "was missing", missing)
			}
			return h, nil
		}
		why, final := q.diagnose(err, before)
		if ctx.Err() != nil || final {
			return h, why
		}
		if why.Missing != missing {
			missing = why.Missing
			q.cfg.Logger.Warn("a queue waits for what it is kept in", "queue", q.prefix, "missing", missing, "do", why.Do, "err", err)
		}
		select {
		case <-ctx.Done():
			return h, why
		case <-time.After(wait):
		}
	}
}

// What the server says for which waiting is of no use, and for which it may be.
const (
	codeNoPeers         = 10005 // too few servers for the replicas
	codeNoResources     = 10023
	codeNotForAccount   = 10039
	codeInvalidConfig   = 10052
	codeNameInUse       = 10058
	codeOverlap         = 10065
	codeNotClustered    = 10074
	codeMaxStreams      = 10027
	codeConsumerOverlap = 10100
)

// diagnose says what is missing when an attempt failed, and whether to give up at once.
// before is the connection's last error before the attempt.
func (q *Queue) diagnose(err, before error) (why *OpenError, final bool) {
	nc := q.js.Conn()
	say := func(final bool, missing, do string) (*OpenError, bool) {
		return &OpenError{Queue: q.prefix, Missing: missing, Do: do, Err: err}, final
	}
	var said *natsjs.APIError
	switch last := nc.LastError(); {
	case errors.As(err, &said):
		switch said.ErrorCode {
		case codeNotForAccount:
			return say(true, "JetStream in this connection's account", "enable JetStream for the account")
		case codeNotClustered:
			return say(true, fmt.Sprintf("a cluster for %d replicas", q.cfg.Replicas), "start a NATS cluster, or set Replicas to 1")
		case codeNoPeers, codeNoResources:
			return say(false, fmt.Sprintf("servers with room for %d replicas", max(1, q.cfg.Replicas)), "start more servers of the cluster, or give JetStream more storage")
		case codeInvalidConfig, codeNameInUse, codeOverlap, codeMaxStreams, codeConsumerOverlap:
			return say(true, "streams that can be as Config wants them", "compare the streams with Config, or choose another Name or Cluster")
		}
		if jserror.Of(err).Cause == jserror.Away {
			return say(false, "a leader of JetStream or of the stream", "start a majority of the NATS servers")
		}
		return say(false, "an answer of JetStream that helps", "look at the error")
	case nc.Status() != nats.CONNECTED:
		return say(nc.IsClosed(), "a connection to NATS", "start the server, or check its address")
	case last != nil && last != before && errors.Is(last, nats.ErrPermissionViolation):
		err = last
		return say(true, "a permission of this connection's user", "grant what the documentation of package queue/jetstream lists")
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, natsjs.ErrJetStreamNotEnabled):
		return say(false, "JetStream", "enable it on the server, or wait until its cluster has a majority")
	}
	return say(false, "an answer of JetStream", "start a majority of the NATS servers")
}

// handles are the streams and consumers of a queue, as they were when they were opened.
type handles struct {
	items, dead, free natsjs.Stream
	consumers         [levels]natsjs.Consumer
}

// make makes or updates the streams and consumers, once.
func (q *Queue) make(ctx context.Context) (h handles, err error) {
	c := q.cfg.Queue
	h.items, err = q.stream(ctx, natsjs.StreamConfig{
		Name: q.prefix, Subjects: []string{q.prefix + ".*"}, Retention: natsjs.WorkQueuePolicy, Storage: natsjs.FileStorage,
		Replicas: q.cfg.Replicas, MaxMsgs: int64(c.Capacity), Discard: natsjs.DiscardNew, Duplicates: c.Remember,
	})
	if err != nil {
		return h, err
	}
	discard := natsjs.DiscardNew
	if c.DeadPolicy == queue.DropOldest {
		discard = natsjs.DiscardOld
	}
	h.dead, err = q.stream(ctx, natsjs.StreamConfig{
		Name: q.prefix + "_dead", Subjects: []string{q.deadSubject()}, Storage: natsjs.FileStorage,
		Replicas: q.cfg.Replicas, MaxMsgs: int64(c.Dead), Discard: discard, Duplicates: min(c.Remember, 2*time.Minute),
	})
	if err != nil {
		return h, err
	}
	h.free, err = q.stream(ctx, natsjs.StreamConfig{
		Name: q.prefix + "_free", Subjects: []string{q.prefix + "_free.*"}, Storage: natsjs.FileStorage,
		Replicas: q.cfg.Replicas, MaxMsgs: int64(c.Capacity), MaxMsgsPerSubject: 1, Discard: natsjs.DiscardOld,
	})
	if err != nil {
		return h, err
	}
	for i, name := range levelNames {
		h.consumers[i], err = h.items.CreateOrUpdateConsumer(ctx, natsjs.ConsumerConfig{
			Durable: name, FilterSubject: q.subject(i), AckPolicy: natsjs.AckExplicitPolicy, AckWait: c.Lease, MaxDeliver: -1, MaxAckPending: -1,
		})
		if err != nil {
			return h, err
		}
	}
	return h, nil
}

// stream makes or updates a stream. One that is made anew goes on with numbers that no
// earlier one of that name has had, so that what is done about an item of before, however
// late, is about nothing.
func (q *Queue) stream(ctx context.Context, cfg natsjs.StreamConfig) (s natsjs.Stream, err error) {
	for range 2 {
		s, err = q.js.Stream(ctx, cfg.Name)
		switch {
		case err == nil:
			cfg.FirstSeq = s.CachedInfo().Config.FirstSeq
			return q.js.UpdateStream(ctx, cfg)
		case !errors.Is(err, natsjs.ErrStreamNotFound):
			return nil, err
		}
		cfg.FirstSeq = uint64(time.Now().UnixMicro())
		s, err = q.js.CreateStream(ctx, cfg)
		if !errors.Is(err, natsjs.ErrStreamNameAlreadyInUse) { // else another made it meanwhile
			return s, err
		}
	}
	return nil, err
}
