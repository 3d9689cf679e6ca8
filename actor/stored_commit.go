package actor

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/internal/stored"
	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/state"
)

// The events of Config.States.
const (
	StatesAway         rpc.EventType = "states away"         // the store of stored actors cannot be reached, or takes nothing: requests to them wait, or are refused
	StatesBack         rpc.EventType = "states back"         // it takes records again
	ActivationReplaced rpc.EventType = "activation replaced" // an activation of Actor has ended, because of a commit that has failed with Err: somebody else has committed, or the store has lost records
	StateUnreadable    rpc.EventType = "state not decodable" // Actor cannot be activated, because what is stored of it cannot be decoded
)

// ErrReplaced is why an activation of a stored actor ends when the store has refused its commit for good.
var ErrReplaced error = rpc.NewError("actor.replaced", "the store has refused a commit of the virtual actor, which may be active elsewhere")

const (
	commitWait     = 10 * time.Second      // how long one attempt to commit may take
	minCommitPause = 20 * time.Millisecond // before a commit is made again whose fate is not known
	maxCommitPause = 2 * time.Second
	flushAfter     = time.Second      // how long sent messages stay in the record if nothing else is committed
	forgetAfter    = 10 * time.Minute // how long the outcomes of a caller are kept that is not known to live, and asks for nothing
)

// lasting is what the activation of a stored actor has of its record. Only its run loop uses it, except for
// what says otherwise.
type lasting struct {
	act      *stored.Activation[*transaction]
	pause    time.Duration // before the commit under way was made; 0: it was made at once
	flush    *time.Timer   // nil: nothing is to be removed from the record
	underWay bool          // a goroutine makes a commit
	sorting  bool          // a goroutine asks which reminders have not ended
	over     bool          // it may not go on: its claim has to be taken from it
	restless atomic.Bool   // it may not end now without need; any goroutine may read this
}

// load makes the state of an activation, as it is stored, and what the activation has of its record.
func (v *virtuals) load(ctx context.Context, kind *Kind, key placement.Key, token placement.Token, contested bool) (any, *lasting, error) {
	l := stored.Loaded{Key: state.Key{Kind: key.Kind, ID: key.ID}, Token: uint64(token), Contested: contested, At: time.Now()}
	var err error
	l.Record, l.Revision, err = v.sys.cfg.States.Load(ctx, l.Key)
	v.statesSay(err)
	switch {
	case errors.Is(err, state.ErrNone):
		l.None = true
	case err != nil:
		return nil, nil, err
	}
	of, err := kind.fresh()
	if err != nil {
		return nil, nil, err
	}
	if !l.None {
		if err = kind.keeps.decode(l.Record.TypeVersion, l.Record.State, of); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", state.ErrFormat, err)
		}
	}
	for _, m := range l.Record.Outbox {
		if _, _, err := storedParked(m); err != nil { // a newer program may have written it
			return nil, nil, fmt.Errorf("%w: %w", state.ErrFormat, err)
		}
	}
	if l.State, err = kind.keeps.encode(of); err != nil {
		return nil, nil, err
	}
	act, err := stored.New[*transaction](v.bounds[kind.name], l)
	if err != nil {
		return nil, nil, err
	}
	return of, &lasting{act: act}, nil
}

// notLoaded is the error of messages to an actor whose state could not be loaded.
func (v *virtuals) notLoaded(c *cell, key placement.Key, err error) *rpc.Error {
	if errors.Is(err, state.ErrFormat) {
		v.sys.log.Error("what is stored of a virtual actor cannot be decoded: it is kept, and the actor is not activated", "actor", key.String(), "err", err)
		v.sys.event(Event{Type: StateUnreadable, Actor: c.virtualSelf().addr.String(), Err: err})
		return rpc.Errorf(rpc.Undecodable, rpc.NotRun, "virtual actor %v: %w", key, err)
	}
	return rpc.Errorf(rpc.Unavailable, rpc.NotRun, "virtual actor %v: its state could not be loaded: %w", key, err)
}

// statesSay takes note of what the store has answered, for the operator.
func (v *virtuals) statesSay(err error) {
	away := err != nil && !errors.Is(err, state.ErrNone) && !errors.Is(err, state.ErrConflict) &&
		!errors.Is(err, state.ErrFormat) && !errors.Is(err, state.ErrTooLarge) && !errors.Is(err, state.ErrInvalid) && !errors.Is(err, context.Canceled)
	if away {
		v.statesFail.Store(&fault{err, time.Now()})
	}
	if v.statesAway.Load() == away || !v.statesAway.CompareAndSwap(!away, away) {
		return
	}
	if away {
		v.sys.log.Error("the store of stored actors does not take or give records", "err", err)
		v.sys.event(Event{Type: StatesAway, Err: err})
		return
	}
	v.sys.log.Info("the store of stored actors serves again")
	v.sys.event(Event{Type: StatesBack})
}

// admit decides whether the handler of a message is to run.
func (st *lasting) admit(c *cell, t *transaction, it *item) bool {
	now := time.Now()
	name := nameOf(c.self.sys, it, now)
	ad := st.act.Admit(name, t, now)
	if ad.Decision == stored.Full && st.forget(c.self.sys, now) {
		ad = st.act.Admit(name, t, now)
	}
	st.sortReminders(c, name.Caller, now)
	switch ad.Decision {
	case stored.Run:
		t.asked = ad.Request
		return true
	case stored.Replay:
		t.leaveWith(ad.Outcome)
	case stored.Join:
	case stored.Stale:
		if in, ok := it.req.(*server.Inbound); ok && wantsNoReply(in) { // its outbox has sent later ones since, which it does when this one is over
			t.leave()
		} else {
			t.refuse(refusals[ad.Decision])
		}
	default:
		t.refuse(refusals[ad.Decision])
	}
	return false
}

// nameOf is the name of a message at whatever activation of its actor; zero if it has none.
func nameOf(s *System, it *item, now time.Time) stored.Name {
	in, remote := it.req.(*server.Inbound)
	switch {
	case !remote && it.meta != nil && it.meta.once.Number > 0:
		return stored.Name{Caller: s.virtuals.caller, Counter: it.meta.once.Number, Below: it.meta.once.Below}
	case !remote:
		return stored.Name{}
	case in.Number > 0:
		return stored.Name{Caller: in.Outbox(), Counter: in.Number, Below: in.Number}
	case in.Keyed():
		if f, ok := firingOf(in); ok {
			return stored.Name{Caller: reminds + f.Generation.String(), Counter: f.Number, Below: f.Number}
		}
		id, print := in.Key()
		return stored.Name{Caller: hex.EncodeToString(id[:]), Expires: now.Add(s.cfg.RPC.WithDefaults().KeyLife), Print: print}
	case in.Once.Number > 0:
		return stored.Name{Caller: in.Caller(), Counter: in.Once.Number, Below: in.Once.Below}
	}
	return stored.Name{}
}

// forget drops the outcomes of callers that are not known to live, and have asked for nothing for a while. It returns
// false if there are none.
func (st *lasting) forget(s *System, now time.Time) (some bool) {
	for _, caller := range st.act.Silent(now.Add(-forgetAfter)) {
		if !isReminder(caller) && !s.members.lives(caller) {
			st.act.Forget(caller)
			some = true
		}
	}
	return some
}

// lives reports whether a caller is a start of a node that the registry has.
func (m *members) lives(caller string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if caller == server.CallerOf(m.mine.Name, m.mine.Epoch) {
		return true
	}
	for _, n := range m.nodes {
		if caller == server.CallerOf(n.Name, n.Epoch) {
			return true
		}
	}
	return false
}

// withdraw says that a message is not handled, and gives its further copies the same error.
func (st *lasting) withdraw(t *transaction, err *rpc.Error) {
	if t.asked == nil {
		return
	}
	for _, other := range st.act.Withdraw(t.asked) {
		other.refuse(err)
	}
}

// setBack gives the state the value that the next handler has to see.
func (st *lasting) setBack(c *cell) {
	keeps := c.kind.keeps
	from, err := c.kind.fresh()
	if err == nil {
		version, data := st.act.State()
		err = keeps.decode(version, data, from)
	}
	if err != nil { // it was made, and was decoded, before
		c.self.sys.log.Error("the state of a stored actor could not be set back: its activation ends", "actor", c.self.addr.name, "err", err)
		c.giveUp(err)
		return
	}
	keeps.setBack(c.state, from)
}

// next makes the next commit, if there is one to be made now.
func (st *lasting) next(c *cell) {
	if commit, ok := st.act.Next(time.Now()); ok {
		st.underWay = true
		if commit.Again {
			st.pause = min(max(2*st.pause, minCommitPause), maxCommitPause)
		} else {
			st.pause = 0
		}
		c.self.sys.busy.Add(1) // a shutdown waits for it
		st.commit(c, commit)
	}
	st.restless.Store(!st.act.Quiet())
	st.flushLater(c)
}

// commit has a commit made, after the pause.
func (st *lasting) commit(c *cell, commit stored.Commit) {
	v := &c.self.sys.virtuals
	of, _ := activationOf(c.self.addr.name)
	key, pause := state.Key{Kind: of.Kind, ID: of.ID}, st.pause
	then := func(rev state.Revision, err error) {
		v.statesSay(err)
		c.signal(committed{rev, err})
		v.sys.idle()
	}
	if store, ok := v.sys.cfg.States.(state.Committer); ok && pause == 0 {
		store.CommitThen(v.sys.members.ctx, commitWait, key, commit.Record, commit.After, then)
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(v.sys.members.ctx, pause+commitWait)
		defer cancel()
		sleep(ctx, pause)
		then(v.sys.cfg.States.Commit(ctx, key, commit.Record, commit.After))
	}()
}

// commitRest makes the commit that is due although no handler has run: the first one, if no message has waited.
func (c *cell) commitRest() {
	if st := c.place().store; st != nil && !st.over {
		st.next(c)
	}
}

// flushLater has the record written without the messages that were sent, if nothing else is written.
func (st *lasting) flushLater(c *cell) {
	if st.flush == nil && st.act.Stale() && !st.over {
		st.flush = time.AfterFunc(flushAfter, func() { c.signal(flush{}) })
	}
}

// committed is the signal that a commit has ended.
type committed struct {
	rev state.Revision
	err error
}

func (s committed) arrive(c *cell) any {
	st := c.place().store
	st.underWay = false
	if s.err == nil {
		done := st.act.Committed(s.rev)
		for _, r := range done.Replies {
			if r.Handle.isJoined() {
				r.Handle.leaveWith(r.Outcome)
			} else {
				r.Handle.leave()
			}
		}
		st.send(c, done.Send, false)
		st.next(c)
		return nil
	}
	f := st.act.Failed(s.err)
	st.tell(f, s.err)
	switch f.Consequence {
	case stored.GoBack:
		st.setBack(c)
	case stored.GiveUp:
		c.giveUp(s.err)
		return nil
	}
	st.next(c)
	return nil
}

// isJoined reports whether t is a further copy of a request, whose outcome it gets.
func (t *transaction) isJoined() bool { return t.stage == turnOpen }

// tell tells those who have waited for a commit that it has failed.
func (st *lasting) tell(f stored.Failure[*transaction], why error) {
	code := rpc.Unavailable
	switch {
	case errors.Is(why, state.ErrFull):
		code = rpc.Overloaded
	case errors.Is(why, state.ErrTooLarge):
		code = rpc.TooLarge
	}
	for _, t := range f.NotRun {
		t.refuse(rpc.Errorf(code, rpc.NotRun, "what the handler has changed was not stored: %w", why))
	}
	for _, t := range f.Unknown {
		t.refuse(rpc.Errorf(rpc.OutcomeUnknown, rpc.Unknown, "it is not known whether what the handler has changed is stored: %w", why))
	}
}

// giveUp ends an activation that may not go on.
func (c *cell) giveUp(why error) {
	st := c.place().store
	if st.over {
		return
	}
	st.over = true
	sys := c.self.sys
	sys.log.Error("an activation of a stored actor ends, because the store has refused it: the actor may be active elsewhere", "actor", c.self.addr.name, "err", why)
	sys.event(Event{Type: ActivationReplaced, Actor: c.virtualSelf().addr.String(), Err: why})
	c.place().refusal.CompareAndSwap(nil, errSuperseded)
	c.end(ErrReplaced)
}

// flush is the signal that messages which were sent have to be removed from the record.
type flush struct{}

func (flush) arrive(c *cell) any {
	st := c.place().store
	st.flush = nil
	st.act.Flush()
	st.next(c)
	return nil
}

// outlasts is a signal that is heeded also while the actor ends.
type outlasts interface{ outlasts() }

func (committed) outlasts() {}
func (sent) outlasts()      {}

// settled reports whether an activation that ends waits for no commit any more. Signals that say so are heeded
// here, because all others come to nothing.
func (c *cell) settled() bool {
	st, a := c.place().store, c.annexed()
	for {
		a.mu.Lock()
		signals := a.signals
		a.signals = nil
		c.life.word.And(^signaled)
		a.mu.Unlock()
		for _, s := range signals {
			if _, ok := s.(outlasts); ok {
				s.arrive(c)
			}
		}
		switch {
		case st.underWay && c.self.sys.members.ctx.Err() == nil:
			return false
		case st.underWay || st.over:
			st.tell(st.act.End(), errShutdown)
			st.over = true
		default:
			if st.next(c); st.underWay {
				continue
			}
		}
		if st.flush != nil {
			st.flush.Stop()
		}
		return true
	}
}

// mayRelease reports whether the claim of an activation that has ended may be given back.
func (st *lasting) mayRelease() bool { return st == nil || !st.over && st.act.Quiet() }
