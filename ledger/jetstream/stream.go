package jetstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/ledger"
)

const (
	// When a server dies, or a cluster has no leader, a request is never answered.
	stepTimeout  = 2 * time.Second // bounds one request, which is then sent again
	writeTimeout = 1 * time.Second // bounds one publish

	firstWait = 2 * time.Millisecond // between the first two attempts
	maxWait   = 100 * time.Millisecond

	// fetched is how many entries are requested at once. They take at most as many MiB.
	fetched = 32

	// envelope is more bytes than NATS adds to an entry for the headers of a publish.
	envelope = 1 << 10
)

// Errors of one attempt; the next one may succeed.
var (
	errAway     = errors.New("not connected to NATS")
	errConflict = errors.New("the last record is another one than expected")
	errShort    = errors.New("the last record is not there yet")
)

// ErrUnavailable is wrapped by the error for a request that JetStream did not answer in
// time. It may be carried out later.
var ErrUnavailable = errors.New("ledger/jetstream: JetStream does not take or give records")

// final is an error after which another attempt cannot succeed.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

// stream is one node's subject in the cluster's stream.
type stream struct {
	js      natsjs.JetStream
	name    string
	subject string
	handle  natsjs.Stream
	created time.Time // when the stream was created; one that replaces it has a later time
}

// message is an entry in the stream.
type message struct {
	entry
	seq uint64
}

// retry calls try, with a ctx that ends after timeout, until it succeeds, returns a final
// error, or ctx ends.
func retry(ctx context.Context, timeout time.Duration, try func(ctx context.Context) error) error {
	var last error // the last one that says more than that the time ran out
	over := func(err error) error {
		if last == nil || !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			last = err
		}
		if errors.Is(last, ctx.Err()) {
			return fmt.Errorf("%w: NATS did not answer: %w", ErrUnavailable, last)
		}
		return fmt.Errorf("%w: %w: %w", ErrUnavailable, last, ctx.Err())
	}
	for wait := firstWait; ; wait = min(2*wait, maxWait) {
		step, cancel := context.WithTimeout(ctx, timeout)
		err := step.Err()
		if err == nil {
			err = try(step)
		}
		cancel()
		var f final
		switch {
		case err == nil:
			return nil
		case errors.As(err, &f):
			return f.error
		case ctx.Err() != nil:
			return over(err)
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			last = err
		}
		select {
		case <-ctx.Done():
			return over(err)
		case <-time.After(wait):
		}
	}
}

// reachable returns an error if the connection is known to be down, so that nothing waits
// in a reconnect buffer.
func (s *stream) reachable() error {
	switch status := s.js.Conn().Status(); status {
	case nats.CONNECTED:
		return nil
	case nats.CLOSED, nats.DRAINING_SUBS, nats.DRAINING_PUBS:
		return final{fmt.Errorf("%w: connection is %v", nats.ErrConnectionClosed, status)}
	default:
		return fmt.Errorf("%w: connection is %v", errAway, status)
	}
}

// room is how many bytes an entry may have.
func (s *stream) room() int {
	return int(s.js.Conn().MaxPayload()) - envelope
}

// open finds the stream, or creates it.
func (s *stream) open(ctx context.Context, replicas int) error {
	if err := s.reachable(); err != nil {
		return err
	}
	handle, err := s.js.Stream(ctx, s.name)
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		handle, err = s.js.CreateStream(ctx, natsjs.StreamConfig{
			Name:        s.name,
			Description: "records of durable requests of a Tandem cluster",
			Subjects:    []string{s.name + ".*"},
			Storage:     natsjs.FileStorage,
			Replicas:    replicas,
			Discard:     natsjs.DiscardNew, // full is an error, never a loss
			DenyDelete:  true,
		})
		if errors.Is(err, natsjs.ErrStreamNameAlreadyInUse) { // another node has created it meanwhile, with other settings
			handle, err = s.js.Stream(ctx, s.name)
		}
	}
	if err != nil {
		return err
	}
	if why := unfit(handle.CachedInfo().Config); why != "" {
		return final{fmt.Errorf("stream %s exists and %s", s.name, why)}
	}
	if s.room() < ledger.MaxBatch {
		return final{fmt.Errorf("the server's max_payload of %d bytes is too small: want %d or more",
			s.js.Conn().MaxPayload(), ledger.MaxBatch+envelope)}
	}
	s.handle, s.created = handle, handle.CachedInfo().Created
	return nil
}

// unfit says why a stream cannot hold records, or returns "" if it can.
func unfit(c natsjs.StreamConfig) string {
	switch {
	case !slices.Contains(c.Subjects, c.Name+".*"):
		return fmt.Sprintf("does not have the subject %s.*", c.Name)
	case c.AllowDirect:
		return "has AllowDirect: replicas that lag behind would answer reads"
	case c.MaxAge != 0 || c.MaxMsgsPerSubject > 0 || c.Retention != natsjs.LimitsPolicy:
		return "forgets messages by itself"
	case c.Discard != natsjs.DiscardNew && (c.MaxMsgs > 0 || c.MaxBytes > 0):
		return "discards old messages when it is full"
	case c.DenyPurge:
		return "denies purges, so that it could only grow"
	case c.MaxMsgSize > 0 && c.MaxMsgSize < ledger.MaxBatch+envelope:
		return fmt.Sprintf("takes messages of at most %d bytes: want %d or more", c.MaxMsgSize, ledger.MaxBatch+envelope)
	}
	return ""
}

// publish appends an entry if the subject's last one has the sequence number prev.
func (s *stream) publish(ctx context.Context, data []byte, prev uint64) (uint64, error) {
	ack, err := s.js.PublishMsg(ctx, &nats.Msg{Subject: s.subject, Data: data},
		natsjs.WithExpectStream(s.name), natsjs.WithExpectLastSequencePerSubject(prev))
	var api *natsjs.APIError
	switch {
	case err == nil:
		return ack.Sequence, nil
	case errors.As(err, &api) && (api.ErrorCode == natsjs.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == natsjs.JSErrCodeStreamWrongLastSequenceConstant): // the latter while a cluster has not committed another copy yet
		return 0, errConflict
	}
	return 0, err
}

// last returns the subject's last entry, or a zero one if there is none. It may be
// outdated if the server that answers does not know yet that it is not the leader any more.
func (s *stream) last(ctx context.Context) (message, error) {
	return s.message(s.handle.GetLastMsgForSubject(ctx, s.subject))
}

// next returns the subject's first entry from seq on, or a zero one.
func (s *stream) next(ctx context.Context, seq uint64) (message, error) {
	return s.message(s.handle.GetMsg(ctx, seq, natsjs.WithGetMsgSubject(s.subject)))
}

func (s *stream) message(raw *natsjs.RawStreamMsg, err error) (message, error) {
	if errors.Is(err, natsjs.ErrMsgNotFound) {
		return message{}, nil
	}
	if err != nil {
		return message{}, err
	}
	e, _, err := parseEntry(raw.Data)
	if err != nil {
		return message{}, final{fmt.Errorf("message %d: %w", raw.Sequence, err)}
	}
	return message{e, raw.Sequence}, nil
}

// purge removes the subject's entries below seq.
func (s *stream) purge(ctx context.Context, seq uint64) error {
	return s.handle.Purge(ctx, natsjs.WithPurgeSubject(s.subject), natsjs.WithPurgeSequence(seq))
}

// read calls load with the changes of the subject's entries from first to last, both of
// which are known to be there. If first is 0, it begins with the very first entry.
//
// A replica that lags behind may answer. The entries that it has are without a gap, so read
// fetches until it has seen last. Besides, every entry says which one precedes it.
func (s *stream) read(ctx context.Context, first, last uint64, load func(ledger.Change)) error {
	r := reader{from: max(first, 1), first: first, load: load}
	return retry(ctx, stepTimeout, func(step context.Context) error {
		if err := s.reachable(); err != nil {
			return err
		}
		consumer, err := s.js.CreateConsumer(step, s.name, natsjs.ConsumerConfig{
			FilterSubject:     s.subject,
			DeliverPolicy:     natsjs.DeliverByStartSequencePolicy,
			OptStartSeq:       r.from,
			AckPolicy:         natsjs.AckNonePolicy,
			Replicas:          1,
			MemoryStorage:     true,
			InactiveThreshold: 10 * stepTimeout, // in case it cannot be deleted
		})
		if err != nil {
			return err
		}
		defer func() {
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTimeout)
			defer cancel()
			s.js.DeleteConsumer(end, s.name, consumer.CachedInfo().Name)
		}()
		for ctx.Err() == nil {
			before := r.from
			if err := r.fetch(consumer, last); err != nil || r.from > last {
				return err
			}
			if r.from == before {
				return errShort
			}
		}
		return ctx.Err()
	})
}

// reader is the progress of a read.
type reader struct {
	first uint64 // as in read
	from  uint64 // the smallest sequence number that the next entry may have
	prev  uint64 // the sequence number of the entry that was read last; 0 if there is none
	load  func(ledger.Change)
}

// fetch reads the next entries, but none behind last.
func (r *reader) fetch(consumer natsjs.Consumer, last uint64) error {
	batch, err := consumer.FetchNoWait(fetched)
	if err != nil {
		return err
	}
	for m := range batch.Messages() { // all of them are received, or the batch's goroutine would leak
		if err != nil || r.from > last {
			continue
		}
		var meta *natsjs.MsgMetadata
		if meta, err = m.Metadata(); err == nil {
			err = r.take(meta.Sequence.Stream, m.Data())
		}
	}
	if err == nil && r.from <= last {
		err = batch.Error()
	}
	return err
}

// take loads the entry seq.
func (r *reader) take(seq uint64, data []byte) error {
	if seq < r.from {
		return nil
	}
	e, changes, err := parseEntry(data)
	if err != nil {
		return final{fmt.Errorf("message %d: %w", seq, err)}
	}
	switch begins := r.prev == 0; {
	case begins && r.first != 0 && seq != r.first:
		return final{fmt.Errorf("records are missing: the first is %d, want %d", seq, r.first)}
	case begins && r.first == 0 && e.prev != 0:
		return final{fmt.Errorf("records are missing: there was one, %d, before %d", e.prev, seq)}
	case !begins && e.prev < r.prev:
		return final{fmt.Errorf("record %d was written behind %d, but comes behind %d", seq, e.prev, r.prev)}
	case !begins && e.prev > r.prev:
		// It was lost on its way here, and another attempt reads it; or it was lost in the store.
		return fmt.Errorf("record %d, behind which %d was written, is missing", e.prev, seq)
	}
	if err := each(changes, r.load); err != nil {
		return final{fmt.Errorf("message %d: %w", seq, err)}
	}
	r.prev, r.from = seq, seq+1
	return nil
}
