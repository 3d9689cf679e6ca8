package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/internal/jserror"
	"github.com/tandem-go/tandem/internal/natshome"
	"github.com/tandem-go/tandem/state"
)

// deletedHeader marks the message of a Delete, for Walk, which does not read bodies.
const deletedHeader = "Tandem-Deleted"

// Commit implements [state.Store].
func (s *Store) Commit(ctx context.Context, key state.Key, rec state.Record, after state.Revision) (state.Revision, error) {
	c, err := s.begin(state.Next(key, rec, after))
	if err != nil {
		return state.Revision{}, err
	}
	return c.put(ctx)
}

// Delete implements [state.Store].
func (s *Store) Delete(ctx context.Context, key state.Key, token uint64, after state.Revision) (state.Revision, error) {
	c, err := s.begin(state.NextDeleted(key, token, after))
	if err != nil {
		return state.Revision{}, err
	}
	return c.put(ctx)
}

// CommitThen implements [state.Committer]. Only the first attempt has no goroutine: almost always it is acknowledged.
func (s *Store) CommitThen(ctx context.Context, wait time.Duration, key state.Key, rec state.Record, after state.Revision, then func(state.Revision, error)) {
	c, err := s.begin(state.Next(key, rec, after))
	if err != nil {
		then(state.Revision{}, err)
		return
	}
	until := time.Now().Add(wait)
	await := func(try func(context.Context) (state.Revision, error)) {
		ctx, cancel := context.WithDeadline(ctx, until)
		defer cancel()
		then(try(ctx))
	}
	if ctx.Err() != nil || s.home.Lost() != nil || !s.gate.tryEnter(c.size) {
		go await(c.put)
		return
	}
	c.encode()
	s.home.PublishThen(ctx, wait, c.subject, c.data, after.Seq, &c.attempts, func(seq uint64, found jserror.Finding, err error) {
		if err == nil {
			s.gate.leave(c.size)
			then(c.st.Revision(seq), nil)
			return
		}
		go await(func(ctx context.Context) (state.Revision, error) {
			defer s.gate.leave(c.size)
			return c.run(ctx, func(ctx context.Context) (state.Revision, error) { return c.judge(ctx, seq, found, err) })
		})
	})
}

// commit is one Commit or Delete that is under way. It belongs to one goroutine.
type commit struct {
	s        *Store
	st       state.Stored
	size     int // of data
	subject  string
	data     []byte
	attempts jserror.Attempts
	unknown  bool      // an attempt, perhaps one of an earlier call, may be stored, now or later
	missing  time.Time // when the commit before this one was first found missing
}

// begin returns the commit of what Next or NextDeleted has returned.
func (s *Store) begin(st state.Stored, err error) (*commit, error) {
	if err != nil {
		return nil, err
	}
	return &commit{s: s, st: st, size: st.Size(), unknown: !st.Fresh}, nil
}

// put makes a commit. All its attempts publish the same message, of which the server stores at most
// one, because they all expect the same last message. So an attempt of unknown fate is made again
// until one is acknowledged or refused.
func (c *commit) put(ctx context.Context) (state.Revision, error) {
	none := state.Revision{}
	if err := c.s.home.Lost(); err != nil {
		return none, c.st.Err(state.ErrLost, none, err)
	}
	if err := c.s.gate.enter(ctx, c.size); err != nil {
		return none, c.end(state.ErrNotStored, err)
	}
	defer c.s.gate.leave(c.size)
	c.encode()
	return c.run(ctx, c.try)
}

// encode makes what is published.
func (c *commit) encode() {
	c.subject = c.s.home.Subject(c.st.Key.Kind, c.st.Key.ID)
	c.data = c.st.Append(make([]byte, 0, c.size))
}

// run makes attempts until one has a result, or ctx ends. The first one is first.
func (c *commit) run(ctx context.Context, first func(context.Context) (state.Revision, error)) (rev state.Revision, err error) {
	try := first
	err = natshome.Retry(ctx, func() (err error) {
		rev, err = try(ctx)
		try = c.try
		return err
	})
	if again, ok := err.(natshome.Again); ok {
		return state.Revision{}, c.end(state.ErrNotStored, again.Err)
	}
	return rev, err
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
	step, cancel := context.WithTimeout(ctx, natshome.TryFor)
	defer cancel()
	msg := &nats.Msg{Subject: c.subject, Data: c.data}
	if c.st.Deleted {
		msg.Header = nats.Header{deletedHeader: {"1"}}
	}
	seq, found, err := c.s.home.Publish(step, msg, c.st.Before.Seq, &c.attempts)
	return c.judge(ctx, seq, found, err)
}

// judge finds out what follows from an attempt with this result.
func (c *commit) judge(ctx context.Context, seq uint64, found jserror.Finding, err error) (state.Revision, error) {
	var none state.Revision
	c.unknown = c.unknown || found.Proof == jserror.Unknown
	switch {
	case err == nil:
		return c.st.Revision(seq), nil
	case found.Cause == jserror.Conflict:
		return c.settle(ctx, err)
	case ctx.Err() != nil, errors.As(err, new(natshome.Final)):
		return none, c.end(state.ErrNotStored, err)
	case found.Again:
		if found.Cause == jserror.Away && !errors.Is(err, context.DeadlineExceeded) { // nobody listens: is there a stream?
			if lost := c.lost(ctx); lost != nil {
				return none, lost
			}
		}
		return none, natshome.Again{Err: err}
	}
	if c.unknown { // an earlier attempt may be stored, although this one is not
		if rev, e := c.settle(ctx, err); !errors.As(e, new(natshome.Again)) {
			return rev, e
		}
	}
	switch found.Cause {
	case jserror.Full:
		return none, c.end(state.ErrFull, err)
	case jserror.TooLarge:
		return none, c.end(state.ErrTooLarge, fmt.Errorf("%d bytes: %w", len(c.data), err)) // nats.go sends nothing then
	}
	return none, c.end(state.ErrNotStored, err)
}

// lost returns an error if the store is known to have lost records.
func (c *commit) lost(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, natshome.TryFor)
	defer cancel()
	if err := c.s.home.Whole(ctx); errors.Is(err, state.ErrLost) {
		return c.st.Err(state.ErrLost, state.Revision{}, err)
	}
	return nil
}

// settle finds out what became of this commit, after an attempt that was refused with the error
// refused: by the last commit of the key.
func (c *commit) settle(ctx context.Context, refused error) (state.Revision, error) {
	step, cancel := context.WithTimeout(ctx, natshome.TryFor)
	defer cancel()
	var none state.Revision
	found, seq, err := c.s.last(step, c.st.Key, c.subject)
	switch {
	case errors.As(err, new(*state.FormatError)) && !c.unknown:
		return none, c.st.Err(state.ErrConflict, state.Revision{Seq: seq}, err)
	case errors.As(err, new(*state.FormatError)):
		return none, c.st.Err(state.ErrUnknown, state.Revision{Seq: seq}, err)
	case err != nil:
		return none, natshome.Again{Err: err}
	}
	switch last := found.Revision(seq); c.st.Judge(&found, seq) {
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
		return none, c.gone(ctx, seq)
	}
	return none, natshome.Again{Err: refused} // the server that has answered the read is not up to date
}

// gone is what follows when the commit that this one was to replace is not there.
func (c *commit) gone(ctx context.Context, seq uint64) error {
	if lost := c.lost(ctx); lost != nil {
		return lost
	}
	why := fmt.Errorf("there is no commit %d; the last one is %d", c.st.Before.Seq, seq)
	switch {
	case c.missing.IsZero():
		c.missing = time.Now()
	case time.Since(c.missing) > c.s.home.Believed():
		return c.st.Err(state.ErrLost, state.Revision{}, why)
	}
	return natshome.Again{Err: why}
}
