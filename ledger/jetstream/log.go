package jetstream

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/tandem-go/tandem/ledger"
)

// ErrTooLarge is wrapped by the error for a change that is larger than the NATS server
// accepts. Nothing was stored.
var ErrTooLarge = errors.New("ledger/jetstream: change is larger than the server's max_payload allows")

var errClosed = errors.New("ledger/jetstream: log is closed")

// nodeLog appends to one node's subject. It knows the sequence number of its own last
// entry, and every publish tells the server to expect that number. So at most one of all
// copies of an entry is stored, however often and late they arrive, and none is stored
// behind an entry of another owner.
type nodeLog struct {
	stream
	owner    [16]byte
	epoch    string
	count    uint64    // entries made so far
	last     uint64    // sequence number of the last entry known to be stored
	base     uint64    // of the next entry
	ended    error     // if not nil, what every call returns
	lost     error     // if not nil, what Append returns until a Rewrite has restored the records
	since    time.Time // when records were first found missing; zero if they are there
	replicas int       // of the stream, if it has to be created again
	buffer   []byte
}

var _ ledger.Log = (*nodeLog)(nil)

// Append stores changes as one message. Where that can help, it tries again until ctx ends.
// The error for a change that does not fit into a message wraps ErrTooLarge.
func (l *nodeLog) Append(ctx context.Context, changes []ledger.Change) error {
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

// Rewrite appends an empty entry, the changes, and an entry which says that the entries
// before the empty one do not count any more. Then it removes those.
func (l *nodeLog) Rewrite(ctx context.Context, changes iter.Seq[ledger.Change]) error {
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

func (l *nodeLog) rewrite(ctx context.Context, changes iter.Seq[ledger.Change]) error {
	l.start(l.base)
	if err := l.store(ctx); err != nil {
		return err
	}
	mark, size := l.last, 0
	l.start(l.base)
	for c := range changes {
		if size > 0 && size+c.Size() > ledger.MaxBatch {
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

// Close frees the resources of the log.
func (l *nodeLog) Close() error {
	if l.ended == nil {
		l.ended = errClosed
	}
	l.buffer = nil
	return nil
}

func (l *nodeLog) wrap(err error) error {
	if err == nil || errors.Is(err, ledger.ErrFenced) || errors.Is(err, ledger.ErrLost) || errors.Is(err, ErrTooLarge) {
		return err
	}
	return fmt.Errorf("ledger/jetstream: appending to %s: %w", l.subject, err)
}

// keepBuffer is the capacity in bytes up to which a buffer is used for the next entry again.
const keepBuffer = 64 << 10

// start begins the next entry in the buffer.
func (l *nodeLog) start(base uint64) {
	l.count++
	if cap(l.buffer) > keepBuffer {
		l.buffer = nil
	}
	l.buffer = entry{l.owner, l.count, l.last, base, l.epoch}.append(l.buffer[:0])
}

// store appends the entry in the buffer, exactly once. If ctx ends while it is unknown
// whether the entry is stored, the next entry finds out: both expect the same last entry,
// so only one of them can be stored.
func (l *nodeLog) store(ctx context.Context) error {
	sent := false // a copy may be in flight, or stored
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

// resolve finds out why the server found another last entry than the one that this log
// expects. It returns nil if the entry in the buffer is stored, and errConflict if the entry
// has to be sent again.
func (l *nodeLog) resolve(ctx context.Context, sent bool) error {
	m, err := l.stream.last(ctx)
	switch {
	case err != nil:
		return err
	case m.seq <= l.last: // the cluster has not committed a copy yet, or this answer is outdated
		return fmt.Errorf("%w: found %d, expected %d", errConflict, m.seq, l.last)
	case m.owner == l.owner:
		return l.own(m)
	}
	fenced := fmt.Errorf("%w: its epoch is %s", ledger.ErrFenced, m.epoch)
	if !sent {
		return l.end(fenced)
	}
	// An entry of this log can only have been stored right behind this log's last one,
	// before the other owner's first.
	switch m, err = l.next(ctx, l.last+1); {
	case err != nil:
		return err
	case m.seq == 0: // the answer is outdated
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

// own handles an entry of this log that is stored behind the last one it knew of. It is the
// one in the buffer, or an earlier one of which it was unknown whether it is stored.
func (l *nodeLog) own(m message) error {
	l.last = m.seq
	if m.count == l.count {
		return nil
	}
	return errConflict
}

// end makes fenced the result of all later calls.
func (l *nodeLog) end(fenced error) error {
	l.ended = fenced
	return final{fenced}
}
