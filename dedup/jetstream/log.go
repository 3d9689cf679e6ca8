package jetstream

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/tandem-go/tandem/dedup"
)

// ErrTooLarge is wrapped by the error for a change that is larger than the NATS server
// takes. Nothing was stored.
var ErrTooLarge = errors.New("dedup/jetstream: change is larger than the server's max_payload allows")

var errClosed = errors.New("dedup/jetstream: log is closed")

// nodeLog appends to one node's subject. It knows the sequence number of its own last
// entry, and every publish carries it as what the server must find: so of all copies of
// an entry at most one is stored, however often it is sent and however late it comes,
// and none behind another owner's.
type nodeLog struct {
	stream
	owner    [16]byte
	epoch    string
	count    uint64 // entries made so far
	last     uint64 // sequence number of the last entry known to be stored
	base     uint64
	ended    error     // what every call returns from now on
	lost     error     // what Append returns until a Rewrite has put the records back
	since    time.Time // when it first looked so
	replicas int       // of the stream, if it has to be created again
	buffer   []byte
}

var _ dedup.Log = (*nodeLog)(nil)

// Append stores changes as one message. It tries again until ctx ends, where that can
// help; a change that no message can hold is ErrTooLarge.
func (l *nodeLog) Append(ctx context.Context, changes []dedup.Change) error {
	if len(changes) == 0 || l.ended != nil {
		return l.ended
	}
	if l.lost != nil {
		return l.lost
	}
	l.start(l.base)
	for _, c := range changes {
		l.buffer = c.Append(l.buffer)
	}
	return l.wrap(l.store(ctx))
}

// Rewrite appends an empty entry, the changes, and an entry that says that those before
// the empty one no longer count; then it removes these.
func (l *nodeLog) Rewrite(ctx context.Context, changes iter.Seq[dedup.Change]) error {
	if l.ended != nil {
		return l.ended
	}
	if l.lost != nil {
		if err := l.reopen(ctx); err != nil {
			return l.wrap(err)
		}
	}
	err := l.rewrite(ctx, changes)
	if err == nil {
		l.lost, l.since = nil, time.Time{}
	}
	return l.wrap(err)
}

func (l *nodeLog) rewrite(ctx context.Context, changes iter.Seq[dedup.Change]) error {
	l.start(l.base)
	if err := l.store(ctx); err != nil {
		return err
	}
	mark, size := l.last, 0
	l.start(l.base)
	for c := range changes {
		if size > 0 && size+c.Size() > dedup.MaxBatch {
			if err := l.store(ctx); err != nil {
				return err
			}
			size = 0
			l.start(l.base)
		}
		size += c.Size()
		l.buffer = c.Append(l.buffer)
	}
	if size > 0 {
		if err := l.store(ctx); err != nil {
			return err
		}
	}
	l.start(mark)
	if err := l.store(ctx); err != nil {
		return err
	}
	l.base = mark
	return retry(ctx, stepTimeout, func(ctx context.Context) error { return l.purge(ctx, mark) })
}

// Close frees what the log holds.
func (l *nodeLog) Close() error {
	if l.ended == nil {
		l.ended = errClosed
	}
	l.buffer = nil
	return nil
}

func (l *nodeLog) wrap(err error) error {
	if err == nil || errors.Is(err, dedup.ErrFenced) || errors.Is(err, dedup.ErrLost) || errors.Is(err, ErrTooLarge) {
		return err
	}
	return fmt.Errorf("dedup/jetstream: appending to %s: %w", l.subject, err)
}

// keepBuffer is how large a buffer is kept from one entry to the next.
const keepBuffer = 64 << 10

// start begins the next entry, in the buffer.
func (l *nodeLog) start(base uint64) {
	l.count++
	if cap(l.buffer) > keepBuffer {
		l.buffer = nil
	}
	l.buffer = entry{l.owner, l.count, l.last, base, l.epoch}.append(l.buffer[:0])
}

// store appends the entry in the buffer, once. If ctx ends before that is known to have
// happened, or not to, the next entry finds out: both expect the same last entry, so
// only one of them can be stored.
func (l *nodeLog) store(ctx context.Context) error {
	sent := false // a copy may be on its way, or stored
	return retry(ctx, writeTimeout, func(ctx context.Context) error {
		if err := l.reachable(); err != nil {
			return err
		}
		if len(l.buffer) > l.room() {
			return final{fmt.Errorf("%w: %d bytes, limit %d", ErrTooLarge, len(l.buffer), l.room())}
		}
		setPrev(l.buffer, l.last)
		seq, err := l.publish(ctx, l.buffer, l.last)
		switch {
		case err == nil:
			l.last = seq
			return nil
		case errors.Is(err, errConflict):
			if err = l.resolve(ctx, sent); errors.Is(err, errConflict) {
				return l.look(ctx, err)
			}
			return err
		}
		sent = true
		return l.look(ctx, err)
	})
}

// resolve finds out why the server found another last entry than this log's: nil if
// the entry in the buffer is stored, errConflict if it is to be sent again.
func (l *nodeLog) resolve(ctx context.Context, sent bool) error {
	m, err := l.stream.last(ctx)
	switch {
	case err != nil:
		return err
	case m.seq <= l.last: // a copy is on its way through the cluster, or this answer is old
		return fmt.Errorf("%w: found %d, expected %d", errConflict, m.seq, l.last)
	case m.owner == l.owner:
		return l.own(m)
	}
	fenced := fmt.Errorf("%w: its epoch is %s", dedup.ErrFenced, m.epoch)
	if !sent {
		return l.end(fenced)
	}
	// An entry of this log can only have been stored right behind its last one, before
	// the other owner's first.
	switch m, err = l.next(ctx, l.last+1); {
	case err != nil:
		return err
	case m.seq == 0: // an old answer
		return errConflict
	case m.owner == l.owner && m.count == l.count:
		l.last, l.ended = m.seq, fenced
		return nil
	case m.owner == l.owner || m.prev == l.last:
		return l.end(fenced)
	}
	l.ended = fenced
	return final{errors.New("records were taken over and rewritten before it was known whether this one was stored")}
}

// own takes in an entry of this log behind the last one that it knew of: the one in the
// buffer, or one before it whose fate was unknown until now.
func (l *nodeLog) own(m message) error {
	l.last = m.seq
	if m.count == l.count {
		return nil
	}
	return errConflict
}

func (l *nodeLog) end(fenced error) error {
	l.ended = fenced
	return final{fenced}
}
