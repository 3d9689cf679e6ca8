//go:build unix

package procs

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/state"
	"github.com/tandem-go/tandem/transport"
)

// step is a moment in the work of a host of stored actors at which its process can be killed, from inside.
type step string

// The steps of an activation, and of what follows. The first commit of an activation, which fences the one before, is
// one of its own. "During" is a random moment while the call is under way.
const (
	beforeClaim  step = "before the claim"
	duringClaim  step = "during the claim"
	afterClaim   step = "after the claim, before the load"
	afterLoad    step = "after the load"
	beforeFirst  step = "before the first commit"
	duringFirst  step = "during the first commit"
	afterFirst   step = "after the first commit"
	beforeCommit step = "before a commit"
	duringCommit step = "during a commit"
	afterCommit  step = "after a commit, before the reply"
	beforeReply  step = "before a reply is sent"
	afterReply   step = "after a reply was sent"
	beforeSend   step = "before a kept message is sent"
	afterSend    step = "after a kept message was sent"
	beforeRemind step = "before a reminder is set"
	duringRemind step = "while a reminder is set"
	afterRemind  step = "after a reminder was set"
	beforeFiring step = "before a firing is handed to its actor"
	duringFiring step = "while a firing is handled"
	afterFiring  step = "after a firing was handled, before the answer"
)

var steps = []step{beforeClaim, duringClaim, afterClaim, afterLoad, beforeFirst, duringFirst, afterFirst,
	beforeCommit, duringCommit, afterCommit, beforeReply, afterReply, beforeSend, afterSend,
	beforeRemind, duringRemind, afterRemind, beforeFiring, duringFiring, afterFiring}

// frequent reports whether a host comes to the step with nearly each transfer.
func (s step) frequent() bool {
	switch s {
	case beforeCommit, duringCommit, afterCommit, beforeReply, afterReply, beforeSend, afterSend:
		return true
	}
	return false
}

// during is how long after the begin of a call a process dies at most that is to die during it.
const during = 3 * time.Millisecond

// doom is when a host has to die: when it comes to a step for the n-th time since it was ready.
type doom struct {
	At  step
	Nth int64
}

// fate kills its own process when the time has come. Its methods may be called concurrently; of a process
// that is not doomed, they do nothing.
type fate struct {
	doom
	armed  atomic.Bool
	passed atomic.Int64
}

func newFate(d *doom) *fate {
	if d == nil {
		d = new(doom)
	}
	return &fate{doom: *d}
}

// comes reports whether this is the step, for the n-th time.
func (f *fate) comes(s step) bool {
	return f.At == s && f.armed.Load() && f.passed.Add(1) == f.Nth
}

func (f *fate) pass(s step) {
	if f.comes(s) {
		die()
	}
}

// around makes a call of the inner one.
func (f *fate) around(before, during, after step, call func()) {
	f.begins(before, during)
	call()
	f.pass(after)
}

// begins is what is before a call, and what comes while it goes on.
func (f *fate) begins(before, while step) {
	f.pass(before)
	if f.comes(while) {
		go func() {
			time.Sleep(rand.N(during))
			die()
		}()
	}
}

// die is kill -9 of the process by itself.
func die() {
	_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
	select {}
}

// fatedClaims and fatedStates are a host's way to the stores.
type fatedClaims struct {
	placement.Claims
	fate *fate
}

func (c fatedClaims) Create(ctx context.Context, key placement.Key, claim placement.Claim) (token placement.Token, err error) {
	c.fate.around(beforeClaim, duringClaim, afterClaim, func() { token, err = c.Claims.Create(ctx, key, claim) })
	return token, err
}

func (c fatedClaims) Replace(ctx context.Context, key placement.Key, claim placement.Claim, before placement.Token) (token placement.Token, err error) {
	c.fate.around(beforeClaim, duringClaim, afterClaim, func() { token, err = c.Claims.Replace(ctx, key, claim, before) })
	return token, err
}

type fatedStates struct {
	state.Committer
	fate    *fate
	role    role
	written journal // of commits
}

// commitOf names a commit of an account by its place among all of them.
func commitOf(account int, seq uint64) uint64 { return uint64(account)<<48 | seq }

// note writes down a commit that was made.
func (s fatedStates) note(key state.Key, rev state.Revision, err error) {
	if account, bad := strconv.Atoi(key.ID); err == nil && bad == nil {
		s.written.put(record{sort: wrote, who: s.role.Who, life: s.role.Life, op: commitOf(account, rev.Seq), aux: rev.Token})
	}
}

func (s fatedStates) Load(ctx context.Context, key state.Key) (state.Record, state.Revision, error) {
	rec, rev, err := s.Committer.Load(ctx, key)
	s.fate.pass(afterLoad)
	return rec, rev, err
}

func (s fatedStates) Commit(ctx context.Context, key state.Key, rec state.Record, after state.Revision) (rev state.Revision, err error) {
	at := stepsOf(rec, after)
	s.fate.around(at[0], at[1], at[2], func() { rev, err = s.Committer.Commit(ctx, key, rec, after) })
	s.note(key, rev, err)
	return rev, err
}

func (s fatedStates) CommitThen(ctx context.Context, wait time.Duration, key state.Key, rec state.Record, after state.Revision, then func(state.Revision, error)) {
	at := stepsOf(rec, after)
	s.fate.begins(at[0], at[1])
	s.Committer.CommitThen(ctx, wait, key, rec, after, func(rev state.Revision, err error) {
		s.fate.pass(at[2])
		s.note(key, rev, err)
		then(rev, err)
	})
}

// stepsOf returns the steps of a commit: before it, while it is made, and after it.
func stepsOf(rec state.Record, after state.Revision) [3]step {
	if rec.Token > after.Token {
		return [...]step{beforeFirst, duringFirst, afterFirst}
	}
	return [...]step{beforeCommit, duringCommit, afterCommit}
}

// fatedRoad is a host's direct road.
type fatedRoad struct {
	transport.Transport
	fate *fate
}

func (r fatedRoad) Start(ctx context.Context, local transport.Local, accept func(transport.Link) transport.Receiver) (addr string, err error) {
	return r.Transport.Start(ctx, local, func(l transport.Link) transport.Receiver { return accept(&fatedLink{l, r.fate}) })
}

func (r fatedRoad) Dial(ctx context.Context, to transport.Endpoint, open func(transport.Link) transport.Receiver) (transport.Link, error) {
	var link *fatedLink
	_, err := r.Transport.Dial(ctx, to, func(l transport.Link) transport.Receiver {
		link = &fatedLink{l, r.fate}
		return open(link)
	})
	if err != nil {
		return nil, err
	}
	return link, nil
}

type fatedLink struct {
	transport.Link
	fate *fate
}

func (l *fatedLink) Send(e *transport.Envelope) (at uint64, err error) {
	before, after := step(""), step("")
	switch {
	case e.Verb == transport.VerbReply:
		before, after = beforeReply, afterReply
	case e.Verb == transport.VerbRequest && e.Number > 0:
		before, after = beforeSend, afterSend
	default:
		return l.Link.Send(e)
	}
	l.fate.pass(before)
	at, err = l.Link.Send(e)
	if l.fate.comes(after) {
		go func() { // Send only puts it into a queue
			for !l.Handed(at) {
				time.Sleep(during / 100)
			}
			die()
		}()
	}
	return at, err
}

// RemoteAddr implements transport.Addressed.
func (l *fatedLink) RemoteAddr() (addr netip.Addr) {
	if a, ok := l.Link.(transport.Addressed); ok {
		addr = a.RemoteAddr()
	}
	return addr
}
