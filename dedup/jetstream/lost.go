package jetstream

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/dedup"
)

// This file finds out that what a log has stored is gone, and begins it anew. A wrong
// suspicion does no harm: the log is only begun anew where the server finds, when it
// stores the first entry, that there is none of another owner, nor any that was not
// expected.

// ErrIncomplete is wrapped by the error of a Take of records that were lost and not all
// written again.
var ErrIncomplete = errors.New("dedup/jetstream: the records were lost, and only in part written again")

// rebuilding is the base of entries that are written in the place of lost ones, until all are.
const rebuilding = math.MaxUint64

const (
	lostAfter   = time.Second // how long records must be missing: a server that led may not know yet
	lookTimeout = time.Second // bounds one look
)

// missing says what of this log's records is missing, or nothing. An error says that it
// could not be found out.
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

// look finds out, behind an attempt that failed with err, whether the records are gone; it
// returns err if not. It must be asked again: they must be missing for lostAfter.
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
	l.lost = fmt.Errorf("%w: %s", dedup.ErrLost, why)
	return final{l.lost}
}

// Check implements dedup.Checker.
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

// reopen begins a log anew whose records are gone, for a Rewrite to fill it. If another
// owner has begun it meanwhile, this one is fenced.
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
			return l.end(fmt.Errorf("%w: its epoch is %s", dedup.ErrFenced, m.epoch))
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
