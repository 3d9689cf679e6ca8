package jetstream

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/ledger"
)

// This file finds out whether what a log has stored is gone, and restarts the log then. A
// wrong suspicion does no harm: the server stores the first entry of the restarted log only
// if it finds the last entry that is expected, and none of another owner.

// ErrIncomplete is wrapped by the error of Take if the records were lost and only a part of
// them was written again.
var ErrIncomplete = errors.New("ledger/jetstream: the records were lost, and only in part written again")

// rebuilding is the base of the entries that replace lost ones, until all are written.
const rebuilding = math.MaxUint64

const (
	lostAfter   = time.Second // how long records must be missing, since a former leader may answer with old data
	lookTimeout = time.Second // bounds one check
)

// missing describes what is missing of this log's records, or returns "" if nothing is. The
// error says that it could not find out.
func (l *nodeLog) missing(ctx context.Context) (string, error) {
	s, err := l.js.Stream(ctx, l.name)
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		return fmt.Sprintf("stream %s does not exist any more", l.name), nil
	}
	if err != nil {
		return "", err
	}
	info := s.CachedInfo()
	switch {
	case !info.Created.Equal(l.created):
		return fmt.Sprintf("stream %s is another one, created at %s", l.name, info.Created.UTC().Format(time.RFC3339)), nil
	case info.State.LastSeq < l.last:
		return fmt.Sprintf("stream %s ends at message %d, and message %d was stored in it", l.name, info.State.LastSeq, l.last), nil
	}
	m, err := l.stream.last(ctx)
	if err == nil && m.seq == 0 {
		return fmt.Sprintf("stream %s has no message of %s any more", l.name, l.subject), nil
	}
	return "", err
}

// look finds out, after an attempt that failed with err, whether the records are gone. If
// they are not, it returns err. Only when it has found them missing for lostAfter, in
// several calls, does it return ErrLost.
func (l *nodeLog) look(ctx context.Context, err error) error {
	if l.reachable() != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
	defer cancel()
	why, e := l.missing(ctx)
	switch {
	case e != nil:
		return err
	case why == "":
		l.since = time.Time{}
		return err
	case l.since.IsZero():
		l.since = time.Now()
	}
	if time.Since(l.since) < lostAfter {
		return fmt.Errorf("%s: %w", why, err)
	}
	l.lost = fmt.Errorf("%w: %s", ledger.ErrLost, why)
	return final{l.lost}
}

// Check implements ledger.Checker.
func (l *nodeLog) Check(ctx context.Context) error {
	switch {
	case l.ended != nil:
		return l.ended
	case l.lost != nil:
		return l.lost
	}
	return l.wrap(retry(ctx, stepTimeout, func(ctx context.Context) error {
		if err := l.reachable(); err != nil {
			return err
		}
		if err := l.look(ctx, errMissing); err != errMissing || !l.since.IsZero() {
			return err
		}
		return nil
	}))
}

var errMissing = errors.New("records may be missing")

// reopen restarts a log whose records are gone, so that a Rewrite can fill it. If another
// owner has started it meanwhile, this one is fenced.
func (l *nodeLog) reopen(ctx context.Context) error {
	return retry(ctx, stepTimeout, func(ctx context.Context) error {
		if err := l.open(ctx, l.replicas); err != nil {
			return err
		}
		m, err := l.stream.last(ctx)
		switch {
		case err != nil:
			return err
		case m.seq != 0 && m.owner != l.owner:
			return l.end(fmt.Errorf("%w: its epoch is %s", ledger.ErrFenced, m.epoch))
		}
		l.base = rebuilding
		l.count++
		seq, err := l.publish(ctx, entry{l.owner, l.count, m.seq, l.base, l.epoch}.append(nil), m.seq)
		if err == nil {
			l.last = seq
		}
		return err
	})
}
