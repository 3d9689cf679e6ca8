package sql

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-go/tandem/state"
)

const (
	// A server that has died, or that is cut off, does not answer.
	tryFor = 10 * time.Second // bounds one statement, after which another attempt is made

	firstWait = 2 * time.Millisecond // between the first two attempts, doubled each time
	maxWait   = 100 * time.Millisecond
)

// Commit implements [state.Store].
func (s *Store) Commit(ctx context.Context, key state.Key, rec state.Record, after state.Revision) (state.Revision, error) {
	st, err := state.Next(key, rec, after)
	if err != nil {
		return state.Revision{}, err
	}
	return s.put(ctx, st)
}

// Delete implements [state.Store].
func (s *Store) Delete(ctx context.Context, key state.Key, token uint64, after state.Revision) (state.Revision, error) {
	st, err := state.NextDeleted(key, token, after)
	if err != nil {
		return state.Revision{}, err
	}
	return s.put(ctx, st)
}

// put makes a commit. Each of its attempts is the same statement, under the same condition, so the
// database applies at most one of them, whenever they arrive. So an attempt of unknown fate, as one
// whose connection broke, is followed by another one, until one is applied, or finds that the
// condition is not met any more; then the last commit of the key tells whether it was this one.
func (s *Store) put(ctx context.Context, st state.Stored) (state.Revision, error) {
	if err := s.loss.err(); err != nil {
		return state.Revision{}, st.Err(state.ErrLost, state.Revision{}, err)
	}
	size := st.Size()
	if size > s.cfg.MaxRecord {
		return state.Revision{}, st.Err(state.ErrTooLarge, state.Revision{}, fmt.Errorf("%d bytes, limit %d", size, s.cfg.MaxRecord))
	}
	c := &commit{s: s, st: st, size: size, unknown: !st.Fresh}
	c.prepare()
	return c.run(ctx)
}

// commit is one Commit or Delete that is under way. It belongs to one goroutine.
type commit struct {
	s       *Store
	st      state.Stored
	text    string
	args    []any
	size    int  // bytes of the encoded record
	unknown bool // an attempt, perhaps one of an earlier call, may be stored, now or later
}

// prepare makes the statement.
func (c *commit) prepare() {
	st, h := &c.st, &c.s.home
	c.text = c.s.text.insert
	c.args = []any{[]byte(st.Key.Kind), []byte(st.Key.ID), binary.BigEndian.AppendUint64(nil, st.Token), st.ID[:], st.Deleted,
		st.Append(make([]byte, 0, c.size)), h.identity[:], h.generation}
	if st.Before.Seq > 0 {
		c.text = c.s.text.update
		c.args = append(c.args, int64(st.Before.Seq), st.Before.ID[:])
	}
}

// again is the result of an attempt after which another one is made.
type again struct{ error }

// run makes attempts until one has a result, or ctx ends.
func (c *commit) run(ctx context.Context) (state.Revision, error) {
	var last error // the last one that says more than that the time ran out
	for wait := firstWait; ; wait = min(2*wait, maxWait) {
		rev, err := c.try(ctx)
		more, ok := err.(again)
		if !ok {
			return rev, err
		}
		if last == nil || !errors.Is(more.error, context.DeadlineExceeded) && ctx.Err() == nil {
			last = more.error
		}
		if !pause(ctx, wait) {
			return state.Revision{}, c.end(state.ErrNotStored, fmt.Errorf("%w: %w", last, ctx.Err()))
		}
	}
}

// pause waits. It reports whether ctx is still alive.
func pause(ctx context.Context, wait time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(wait):
		return true
	}
}

// end returns the error of a commit whose last attempt was not stored, for the given reason. That
// says nothing of attempts before it whose fate is unknown.
func (c *commit) end(kind, cause error) error {
	if c.unknown {
		kind = state.ErrUnknown
	}
	return c.st.Err(kind, state.Revision{}, cause)
}

// try makes one attempt.
func (c *commit) try(ctx context.Context) (state.Revision, error) {
	var none state.Revision
	stored, sent, err := c.send(ctx)
	if err == nil && stored {
		c.s.saw(c.st.Key, c.st.Before.Seq+1, c.st.ID)
		return c.st.Revision(c.st.Before.Seq + 1), nil
	}
	if err == nil {
		return c.settle(ctx)
	}
	found := c.s.dialect.fateOf(err)
	switch {
	case !sent && ctx.Err() != nil:
		return none, c.end(state.ErrNotStored, err)
	case !sent && found == doubt, found == retry:
		return none, again{err}
	case found == doubt:
		c.unknown = true
		return none, again{err}
	}
	if c.unknown { // an earlier attempt may be stored, although this one is not
		if rev, e := c.settle(ctx); !errors.As(e, new(again)) {
			return rev, e
		}
	} else if _, e := c.s.look(ctx, c.st.Key); errors.Is(e, state.ErrLost) { // no table: that is why
		return none, c.st.Err(state.ErrLost, none, e)
	}
	switch found {
	case full:
		return none, c.end(state.ErrFull, err)
	case tooLarge:
		return none, c.end(state.ErrTooLarge, err)
	}
	return none, c.end(state.ErrNotStored, err)
}

// send executes the statement once. It reports whether the row was changed; and, if there is an
// error, whether the database has got the statement. PostgreSQL takes many at the same time, and
// SQLite one after another.
func (c *commit) send(ctx context.Context) (stored, sent bool, err error) {
	t := newStatement(c.text, c.args, c.size)
	if c.s.line == nil {
		c.s.alone(ctx, t)
		return t.stored, t.sent, t.err
	}
	return c.s.line.pass(ctx, t, c.s.execute)
}

// settle finds out what became of this commit after an attempt that changed nothing: by the last
// commit of the key.
func (c *commit) settle(ctx context.Context) (state.Revision, error) {
	var none state.Revision
	v, err := c.s.look(ctx, c.st.Key)
	if errors.Is(err, state.ErrLost) {
		return none, c.st.Err(state.ErrLost, none, err)
	}
	if err != nil {
		return none, again{err}
	}
	found, err := v.stored(c.st.Key)
	if err != nil { // it cannot be decoded
		at := state.Revision{Seq: v.seq}
		if c.unknown {
			return none, c.st.Err(state.ErrUnknown, at, err)
		}
		return none, c.st.Err(state.ErrConflict, at, err)
	}
	switch last := found.Revision(v.seq); c.st.Judge(&found, v.seq) {
	case state.Kept:
		return last, nil
	case state.Replaced:
		return c.st.Revision(found.Before.Seq), nil
	case state.Refused:
		return none, c.st.Conflict(last)
	case state.Later:
		if c.unknown {
			return none, c.st.Err(state.ErrUnknown, last, nil)
		}
		return none, c.st.Conflict(last)
	case state.Missing:
		return none, c.st.Err(state.ErrLost, last, fmt.Errorf("there is no commit %d; the last one is %d", c.st.Before.Seq, v.seq))
	default: // it is as it was
		if last.Token > c.st.Token { // the caller has named it with another token than it has
			return none, c.st.Conflict(last)
		}
		return none, again{errUnmet}
	}
}

// errUnmet is the cause when a statement has found its condition not met, and it is.
var errUnmet = errors.New("the statement changed nothing, and the record is as it was")
