package tandemotel

import (
	"context"
	"errors"
	"iter"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/reminder"
	"github.com/tandem-go/tandem/state"
	"github.com/tandem-go/tandem/topic"
)

// stores time what a system asks of its stores.
type stores struct {
	node     string
	duration metric.Float64Histogram
}

func newStores(meter metric.Meter, node string) (*stores, error) {
	h, err := meter.Float64Histogram(storeDuration.Name, metric.WithUnit(storeDuration.Unit), metric.WithDescription(storeDuration.About), metric.WithExplicitBucketBoundaries(seconds()...))
	return &stores{node: node, duration: h}, err
}

// wrap puts the stopwatch around the stores of cfg, and returns that none of them fails.
func (s *stores) wrap(cfg *actor.Config) (failing map[string]float64) {
	failing = map[string]float64{}
	if cfg.Store != nil {
		failing["ledger"] = 0
		cfg.Store = &timedLedger{cfg.Store, s.at("ledger")}
	}
	if cfg.States != nil {
		failing["state"] = 0
		timed := &timedStates{cfg.States, s.at("state")}
		cfg.States = timed
		if c, ok := timed.Store.(state.Committer); ok {
			cfg.States = &timedCommitter{timed, c}
		}
	}
	if cfg.Topics != nil {
		failing["topic"] = 0
		cfg.Topics = &timedTopics{cfg.Topics, s.at("topic")}
	}
	if cfg.Reminders != nil {
		failing["reminder"] = 0
		cfg.Reminders = &timedReminders{cfg.Reminders, s.at("reminder")}
	}
	return failing
}

// stopwatch times the operations of one store.
type stopwatch struct {
	*stores
	store string
}

func (s *stores) at(store string) stopwatch { return stopwatch{s, store} }

// took records an operation that has begun then, and ended with err.
func (w stopwatch) took(ctx context.Context, operation string, begun time.Time, err error) {
	result := codeOK
	if err != nil {
		result = "failed"
	}
	w.duration.Record(ctx, time.Since(begun).Seconds(), metric.WithAttributeSet(attribute.NewSet(
		labelNode.String(w.node), labelStore.String(w.store), labelOp.String(operation), labelResult.String(result))))
}

type timedLedger struct {
	ledger.Store
	stopwatch
}

// Take implements ledger.Store.
func (l *timedLedger) Take(ctx context.Context, node, epoch string, load func(ledger.Change)) (ledger.Log, error) {
	begun := time.Now()
	log, err := l.Store.Take(ctx, node, epoch, load)
	l.took(ctx, "take", begun, err)
	if log == nil || err != nil {
		return log, err
	}
	timed := &timedLog{log, l.stopwatch}
	if c, ok := log.(ledger.Checker); ok {
		return &timedChecker{timed, c}, nil
	}
	return timed, nil
}

type timedLog struct {
	ledger.Log
	stopwatch
}

// Append implements ledger.Log.
func (l *timedLog) Append(ctx context.Context, changes []ledger.Change) error {
	begun := time.Now()
	err := l.Log.Append(ctx, changes)
	l.took(ctx, "append", begun, err)
	return err
}

// Rewrite implements ledger.Log.
func (l *timedLog) Rewrite(ctx context.Context, changes iter.Seq[ledger.Change]) error {
	begun := time.Now()
	err := l.Log.Rewrite(ctx, changes)
	l.took(ctx, "rewrite", begun, err)
	return err
}

// timedChecker is a timedLog of a log that checks itself.
type timedChecker struct {
	*timedLog
	ledger.Checker
}

type timedStates struct {
	state.Store
	stopwatch
}

// Load implements state.Store.
func (s *timedStates) Load(ctx context.Context, key state.Key) (state.Record, state.Revision, error) {
	begun := time.Now()
	rec, rev, err := s.Store.Load(ctx, key)
	s.took(ctx, "load", begun, failure(err))
	return rec, rev, err
}

// Commit implements state.Store.
func (s *timedStates) Commit(ctx context.Context, key state.Key, rec state.Record, after state.Revision) (state.Revision, error) {
	begun := time.Now()
	rev, err := s.Store.Commit(ctx, key, rec, after)
	s.took(ctx, "commit", begun, err)
	return rev, err
}

// Delete implements state.Store.
func (s *timedStates) Delete(ctx context.Context, key state.Key, token uint64, after state.Revision) (state.Revision, error) {
	begun := time.Now()
	rev, err := s.Store.Delete(ctx, key, token, after)
	s.took(ctx, "delete", begun, err)
	return rev, err
}

// timedCommitter is a timedStates of a state.Committer.
type timedCommitter struct {
	*timedStates
	inner state.Committer
}

// CommitThen implements state.Committer.
func (s *timedCommitter) CommitThen(ctx context.Context, wait time.Duration, key state.Key, rec state.Record, after state.Revision, then func(state.Revision, error)) {
	begun := time.Now()
	s.inner.CommitThen(ctx, wait, key, rec, after, func(rev state.Revision, err error) {
		s.took(ctx, "commit", begun, err)
		then(rev, err)
	})
}

type timedTopics struct {
	topic.Store
	stopwatch
}

// Publish implements topic.Store.
func (s *timedTopics) Publish(ctx context.Context, m topic.Message) (uint64, error) {
	begun := time.Now()
	at, err := s.Store.Publish(ctx, m)
	s.took(ctx, "publish", begun, err)
	return at, err
}

type timedReminders struct {
	reminder.Store
	stopwatch
}

// Set implements reminder.Store.
func (s *timedReminders) Set(ctx context.Context, r reminder.Reminder, id reminder.ID) (reminder.Entry, error) {
	begun := time.Now()
	e, err := s.Store.Set(ctx, r, id)
	s.took(ctx, "set", begun, err)
	return e, err
}

// Forget implements reminder.Store.
func (s *timedReminders) Forget(ctx context.Context, a reminder.Actor, name string, id reminder.ID) error {
	begun := time.Now()
	err := s.Store.Forget(ctx, a, name, id)
	s.took(ctx, "forget", begun, err)
	return err
}

// failure is err, unless it only says that there is no record.
func failure(err error) error {
	if errors.Is(err, state.ErrNone) {
		return nil
	}
	return err
}
