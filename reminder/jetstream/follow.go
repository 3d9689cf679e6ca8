package jetstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/jserror"
	"github.com/tandem-go/tandem/internal/natshome"
	"github.com/tandem-go/tandem/reminder"
)

const (
	arming    = 64                   // how many records a follower sets the alarms of at the same time
	idleLife  = 24 * time.Hour       // how long NATS keeps the consumer of records while nobody follows
	firstWait = 2 * time.Millisecond // pause after NATS has not answered, doubled each time
	lastWait  = time.Second          // and this is the longest
	comeAgain = 30 * time.Second     // pause before what this follower cannot decode is tried again, perhaps by another
)

// Follow implements [reminder.Store]. Each follower keeps two requests for messages waiting at NATS, one
// for records whose alarms are to be set and one for alarms that have gone off, and looks at both streams
// when such a request ends, every 30 s. That is all its traffic while nothing is due.
func (s *Store) Follow(ctx context.Context, handle func(context.Context, reminder.Firing) reminder.Outcome) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var loops sync.WaitGroup
	loops.Go(func() {
		f := &feed{s: s, what: "records", slots: make(chan struct{}, arming)}
		f.open = func(ctx context.Context) (natsjs.Consumer, work, error) {
			c, epoch, err := s.recordsConsumer(ctx)
			return c, func(ctx context.Context, m natsjs.Msg) { s.arm(ctx, m, epoch) }, err
		}
		cancel(f.run(ctx))
	})
	loops.Go(func() {
		f := &feed{s: s, what: "alarms", slots: make(chan struct{}, s.cfg.Handlers)}
		f.open = func(ctx context.Context) (natsjs.Consumer, work, error) {
			c, err := s.alarmsConsumer(ctx)
			return c, func(ctx context.Context, m natsjs.Msg) { s.fire(ctx, m, handle) }, err
		}
		cancel(f.run(ctx))
	})
	loops.Wait()
	var f natshome.Final
	if err := context.Cause(ctx); errors.As(err, &f) {
		e := &reminder.Error{Op: "follow", Kind: reminder.ErrUnavailable, Err: f.Err}
		if errors.Is(f.Err, reminder.ErrLost) {
			e.Kind = reminder.ErrLost
		}
		return e
	}
	return nil
}

// feed takes messages from a consumer and works on them. It belongs to one goroutine.
type feed struct {
	s     *Store
	what  string
	open  func(ctx context.Context) (natsjs.Consumer, work, error) // finds the consumer, or creates it
	slots chan struct{}                                            // has an element for each message that is worked on
	back  <-chan nats.Status                                       // says that the connection is there again, and requests that waited at NATS are gone
	down  bool                                                     // the log says that it fails
}

// work is what is done with a message, by a goroutine of its own.
type work func(ctx context.Context, m natsjs.Msg)

// run returns when ctx has ended, or with a final error. All work is done then.
func (f *feed) run(ctx context.Context) error {
	var working sync.WaitGroup
	defer working.Wait()
	conn := f.s.js.Conn()
	back := conn.StatusChanged(nats.CONNECTED)
	defer conn.RemoveStatusListener(back)
	f.back = back
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		got, err := f.once(ctx, &working)
		if ctx.Err() != nil {
			return nil
		}
		if errors.As(err, new(natshome.Final)) {
			return err
		}
		if err != nil && !f.down {
			f.s.cfg.Logger.Warn("reminders: NATS does not answer a follower; it tries again", "for", f.what, "err", err)
		}
		if err == nil && f.down {
			f.s.cfg.Logger.Info("reminders: NATS answers a follower again", "for", f.what)
		}
		f.down = err != nil
		if err == nil || got {
			wait = firstWait
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// once finds the consumer, and asks it for messages until a request has ended without one, the connection was
// lost and is there again, or it is time to look at the streams again. It reports whether a message came.
func (f *feed) once(ctx context.Context, working *sync.WaitGroup) (got bool, err error) {
	try, cancel := context.WithTimeout(ctx, 2*natshome.TryFor)
	consumer, do, err := f.open(try)
	cancel()
	if err != nil {
		return false, err
	}
	for more, since := true, time.Now(); more && time.Since(since) < f.s.pullFor; {
		n, ok := f.take(ctx)
		if !ok {
			return got, nil
		}
		pull, cancel := context.WithTimeout(ctx, f.s.pullFor)
		var watch sync.WaitGroup
		watch.Go(func() {
			select {
			case <-f.back:
				cancel()
			case <-pull.Done():
			}
		})
		batch, err := consumer.Fetch(n, natsjs.FetchContext(pull), natsjs.FetchHeartbeat(f.s.heartbeat))
		more = false
		if err == nil {
			for m := range batch.Messages() {
				n--
				got, more = true, true
				working.Go(func() {
					defer func() { <-f.slots }()
					do(ctx, m)
				})
			}
			err = batch.Error()
		}
		ended := pull.Err() != nil
		cancel()
		watch.Wait()
		for range n {
			<-f.slots
		}
		if err != nil && !ended {
			return got, err
		}
	}
	return got, nil
}

// take waits for a free slot, and takes all that are free.
func (f *feed) take(ctx context.Context) (n int, ok bool) {
	select {
	case <-ctx.Done():
		return 0, false
	case f.slots <- struct{}{}:
	}
	for n = 1; ; n++ {
		select {
		case f.slots <- struct{}{}:
		default:
			return n, true
		}
	}
}

// alarmsConsumer is the consumer of the alarms that have gone off.
func (s *Store) alarmsConsumer(ctx context.Context) (natsjs.Consumer, error) {
	return s.consumer(ctx, s.alarms, natsjs.ConsumerConfig{
		Durable: "due", FilterSubject: s.alarms + ".due.>", AckPolicy: natsjs.AckExplicitPolicy, AckWait: s.ackWait, MaxAckPending: -1, MaxDeliver: -1,
	})
}

// recordsConsumer is the consumer of the records whose alarms are to be set. Its name says for which
// stream of alarms: if that is created anew, or emptied, all alarms are set again. The epoch is a part of
// that name.
func (s *Store) recordsConsumer(ctx context.Context) (c natsjs.Consumer, epoch string, err error) {
	if err := s.home.Whole(ctx); err != nil {
		return nil, "", err
	}
	alarms, created, err := s.home.Second(ctx)
	if created {
		s.cfg.Logger.Error("reminders: the stream of alarms was gone, and all are set again", "stream", s.alarms)
	}
	if err != nil {
		return nil, "", err
	}
	_, err = s.js.Publish(ctx, s.mark(), nil, natsjs.WithExpectLastSequencePerSubject(0))
	if err != nil && jserror.Of(err).Cause != jserror.Conflict { // after a conflict, it is there
		return nil, "", err
	}
	first, err := alarms.GetLastMsgForSubject(ctx, s.mark())
	if err != nil {
		return nil, "", err
	}
	epoch = fmt.Sprintf("%d_%d", alarms.CachedInfo().Created.UnixNano(), first.Sequence)
	c, err = s.consumer(ctx, s.records, natsjs.ConsumerConfig{
		Durable: "arm_" + epoch, FilterSubject: s.record("*.*.*"), AckPolicy: natsjs.AckExplicitPolicy, AckWait: s.ackWait, MaxAckPending: -1, MaxDeliver: -1,
		InactiveThreshold: idleLife,
	})
	return c, epoch, err
}

// consumer finds a consumer, or creates it.
func (s *Store) consumer(ctx context.Context, stream string, cfg natsjs.ConsumerConfig) (natsjs.Consumer, error) {
	c, err := s.js.Consumer(ctx, stream, cfg.Durable)
	if !errors.Is(err, natsjs.ErrConsumerNotFound) {
		return c, err
	}
	c, err = s.js.CreateConsumer(ctx, stream, cfg)
	if errors.Is(err, natsjs.ErrConsumerExists) || errors.Is(err, natsjs.ErrConsumerNameAlreadyInUse) { // another follower has created it meanwhile
		return s.js.Consumer(ctx, stream, cfg.Durable)
	}
	return c, err
}
