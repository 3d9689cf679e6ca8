package jetstream

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/jserror"
	"github.com/tandem-go/tandem/internal/natshome"
	"github.com/tandem-go/tandem/reminder"
)

// Headers of message schedules.
const (
	scheduleHeader = "Nats-Schedule"
	targetHeader   = "Nats-Schedule-Target"
)

// arm sets the alarm of a record: a message that NATS moves to the alarms that are due when the time has
// come. Each revision of a record has an alarm of its own, on a subject of its own, because NATS may lose
// what replaces an alarm that is just going off.
func (s *Store) arm(ctx context.Context, m natsjs.Msg, epoch string) {
	ctx, cancel := context.WithTimeout(ctx, s.ackWait/2)
	defer cancel()
	md, err := m.Metadata()
	if err != nil {
		return
	}
	e, err := reminder.ParseEntry(m.Data())
	if err != nil {
		s.cfg.Logger.Error("reminders: one cannot be decoded, and does not come due here", "subject", m.Subject(), "err", err)
		_ = m.NakWithDelay(comeAgain)
		return
	}
	rev, at := md.Sequence.Stream, placeOf(e.Actor, e.Name)
	s.home.Saw(rev)
	if !e.Ended() {
		alarm := &nats.Msg{Subject: s.alarm(at, rev), Header: nats.Header{
			scheduleHeader: {"@at " + e.Due.UTC().Format(time.RFC3339Nano)},
			targetHeader:   {s.due(at, rev)},
		}}
		_, err = s.js.PublishMsg(ctx, alarm, natsjs.WithMsgID(epoch+"."+strconv.FormatUint(rev, 10)))
	}
	if err == nil && (e.Ended() || e.Number == 1 && len(e.Changes) > 1) {
		err = s.silence(ctx, at, rev)
	}
	if err != nil {
		if ctx.Err() == nil && !s.mute.Swap(true) {
			s.cfg.Logger.Error("reminders: an alarm cannot be set, and nothing comes due without; it is tried again", "stream", s.alarms, "err", err)
		}
		_ = m.NakWithDelay(time.Second)
		return
	}
	if s.mute.Swap(false) {
		s.cfg.Logger.Info("reminders: alarms are set again", "stream", s.alarms)
	}
	_ = m.Ack()
}

// silence purges the alarms at a place that are of records before rev. If one goes off all the same, that
// does no harm.
func (s *Store) silence(ctx context.Context, place string, rev uint64) error {
	alarms, err := s.js.Stream(ctx, s.alarms)
	if err != nil {
		return err
	}
	info, err := alarms.Info(ctx, natsjs.WithSubjectFilter(s.alarms+".at."+place+".*"))
	if err != nil {
		return err
	}
	for subject := range info.State.Subjects {
		if _, of, err := s.parse(subject); err != nil || of >= rev {
			continue
		}
		if err := alarms.Purge(ctx, natsjs.WithPurgeSubject(subject)); err != nil {
			return err
		}
	}
	return nil
}

const (
	outdatedFor = 15          // how often a record must be found older than its alarm until that is believed
	lookAgain   = time.Second // the pause between two of these times
)

// fire handles an alarm that has gone off.
func (s *Store) fire(ctx context.Context, m natsjs.Msg, handle func(context.Context, reminder.Firing) reminder.Outcome) {
	md, err := m.Metadata()
	if err != nil {
		return
	}
	at, rev, err := s.parse(m.Subject())
	if err != nil {
		_ = m.Term() // it is not of a follower
		return
	}
	step, cancel := context.WithTimeout(ctx, natshome.TryFor)
	e, now, err := s.last(step, at)
	cancel()
	switch {
	case err == nil && now > rev: // the reminder was set anew or forgotten, or the firing was answered
		_ = m.Ack()
		return
	case err == nil && now < rev && md.NumDelivered > outdatedFor: // the reminder ended more than a day ago
		_ = m.Ack()
		return
	case errors.As(err, new(*reminder.FormatError)):
		_ = m.NakWithDelay(comeAgain)
		return
	case err != nil || now < rev: // a former leader may answer with what was there before
		_ = m.NakWithDelay(lookAgain)
		return
	}
	firing, err := e.Firing(time.Now(), int(md.NumDelivered))
	if err != nil {
		s.cfg.Logger.Error("reminders: the times of one cannot be told here", "actor", e.Actor.String(), "name", e.Name, "err", err)
		_ = m.NakWithDelay(comeAgain)
		return
	}
	s.hand(ctx, m, handle, at, rev, e, firing)
}

// hand hands out a firing, and does what its outcome says. Meanwhile it tells NATS that it is in hand.
func (s *Store) hand(ctx context.Context, m natsjs.Msg, handle func(context.Context, reminder.Firing) reminder.Outcome, place string, rev uint64, e reminder.Entry, firing reminder.Firing) {
	patient, cancel := context.WithTimeout(ctx, s.cfg.Patience)
	defer cancel()
	held := make(chan struct{})
	go func() { // ends before hand does
		defer close(held)
		for hold := time.NewTicker(s.ackWait / 3); ; {
			select {
			case <-patient.Done():
				hold.Stop()
				return
			case <-hold.C:
				_ = m.InProgress()
			}
		}
	}()
	inTime := context.AfterFunc(patient, func() { <-held; _ = m.Nak() })
	out := handle(patient, firing)
	if !inTime() {
		return
	}
	defer func() { cancel(); <-held }()
	if after, again := out.Retry(); again {
		_ = m.NakWithDelay(after)
		return
	}
	if s.answered(context.WithoutCancel(ctx), place, rev, e, &firing) {
		_ = m.Ack()
		return
	}
	_ = m.NakWithDelay(lookAgain) // it is handed out again, under the same key
}

// answered stores that the firing of the record rev was answered. It returns false if that is not known.
func (s *Store) answered(ctx context.Context, place string, rev uint64, e reminder.Entry, f *reminder.Firing) bool {
	ctx, cancel := context.WithTimeout(ctx, s.ackWait/2)
	defer cancel()
	next, ok, err := e.Answered(f, time.Now())
	if !ok || err != nil {
		return false
	}
	err = natshome.Retry(ctx, func() error {
		step, cancel := context.WithTimeout(ctx, natshome.TryFor)
		defer cancel()
		found, err := s.write(step, place, &next, rev)
		switch {
		case found.Cause == jserror.Conflict: // it was set anew or forgotten, or an earlier attempt was stored
			return nil
		case found.Again && !errors.As(err, new(natshome.Final)):
			return natshome.Again{Err: err}
		}
		return err
	})
	return err == nil
}
